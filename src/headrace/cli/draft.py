"""A Record and a Pipeline as Python source, from evidence: what `headrace init --from` writes for a person to review.

Pure text; reads nothing. Each guess carries its evidence as a comment, so that a reviewer need not open the file.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from headrace.model.words import count
from headrace.project.evidence import Evidence

_TYPES = {"uuid": "UUID"}
_TAKEN = {"str", "int", "float", "bool", "date", "datetime", "UUID", "Decimal", "dict", "list"}
_TAKEN |= {"key", "column", "derived"}
_MONEY = {"amount", "price", "cost", "fee", "charge", "balance", "total", "subtotal", "tax", "vat", "paid", "revenue"}
_WIDE = 100
"""Characters of a line beyond which it is broken."""


def column_name(header: str) -> str:
    """A Python name for a header: snake case, matching the header by letters and digits where that is possible."""
    words = re.sub(r"[\W_]+", "_", header.strip())
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", words)
    name = re.sub(r"_+", "_", words).strip("_").lower() or "blank"
    if not name[0].isalpha():
        name = f"c_{name}"
    return f"{name}_" if keyword.iskeyword(name) or name in _TAKEN else name


def squash(text: str) -> str:
    """What headers and names are compared by: letters and digits alone, without case."""
    return re.sub(r"[\W_]", "", text).casefold()


def class_name(pipeline: str) -> str:
    """A name for the Record of a pipeline that no import or keyword has."""
    name = "".join(part.capitalize() for part in re.split(r"[\W_]+", pipeline) if part) or "Row"
    return f"{name}Row" if keyword.iskeyword(name) or name in ("Record", "Pipeline") else name


def identifier(text: str) -> str:
    """A pipeline or table name: lower case letters, digits and underscores, not beginning with a digit."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "rows"
    name = name if name[0].isalpha() else f"t_{name}"
    return f"{name}_" if keyword.iskeyword(name) else name


def render(
    name: str,
    suffixes: Sequence[str],
    columns: Sequence[Evidence],
    key: tuple[str, ...] | None,
    *,
    optional: frozenset[str] = frozenset(),
    repeated: int = 0,
    scanned: str = "",
    left_out: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The source of a definition module with one Record and one Pipeline over `columns`.

    `left_out` are headers that no column can have, each with the one it collides with, or "". `key` names headers.
    Columns of it that may be empty cannot be a key yet: the comment says how to make one.
    """
    names = _names(columns)
    usable = bool(key) and not any(c.header in (key or ()) and (c.empty or c.header in optional) for c in columns)
    zoned = {c.header for c in columns if c.kind == "datetime" and c.zoned}
    plain = {c.header for c in columns if c.kind == "datetime" and not c.zoned}
    class_zone = bool(zoned) and not plain
    ordered = _key_order(key or (), columns)
    words = []
    if usable:
        words.append(f"key={_tuple([names[h] for h in ordered])}")
    if class_zone:
        words.append('zone="UTC"')
    head = f"class {class_name(name)}(Record{''.join(', ' + w for w in words)}):"
    shared = frozenset(left_out.values())
    body = [
        _field(names[c.header], c, c.header in optional, c.zoned and not class_zone, c.header in shared)
        for c in columns
    ]
    body += [f"# left out: {_left_out(header, other)}" for header, other in left_out.items()]
    lines = [_docstring(scanned), "", *_imports(columns, " ".join(body), usable), "", "", head]
    lines += [f"    # {line}" for line in _key_words(usable, ordered, names, columns, optional, repeated)]
    lines += [f"    {line}" for line in body]
    lines += ["", "", *_pipeline(name, suffixes, columns, names, usable)]
    return "\n".join(lines) + "\n"


def _names(columns: Sequence[Evidence]) -> dict[str, str]:
    names: dict[str, str] = {}
    for c in columns:
        name = base = column_name(c.header)
        n = 2
        while name in names.values():
            name, n = f"{base}_{n}", n + 1
        names[c.header] = name
    return names


def _docstring(scanned: str) -> str:
    source = re.sub(r'["\\\s]+', " ", scanned)  # a file's name must not end the text
    return f'"""Drafted from {source} by `headrace init --from`: review the guesses."""'


def _imports(columns: Sequence[Evidence], body: str, usable: bool) -> list[str]:
    kinds = {c.kind for c in columns}
    lines = []
    if times := [k for k in ("date", "datetime") if k in kinds]:
        lines.append(f"from datetime import {', '.join(times)}")
    if "Decimal" in body:
        lines.append("from decimal import Decimal")
    if "uuid" in kinds:
        lines.append("from uuid import UUID")
    words = ["Pipeline", "Record", *(["column"] if "column(" in body else []), "files"]
    words += [*(["keyed"] if usable else []), "lake"]
    return [*lines, *([""] if lines else []), f"from headrace import {', '.join(words)}"]


def _left_out(header: str, other: str) -> str:
    if not other:
        return f"{_text(header)} holds no letter or digit to be matched by"
    return f"{_text(header)} is the same as {_text(other)} by letters and digits: rename one in the file to have both"


def _field(name: str, c: Evidence, optional: bool, zone: bool, exact: bool = False) -> str:
    money = c.kind == "float" and 0 < c.decimals <= 4 and not _MONEY.isdisjoint(column_name(c.header).split("_"))
    kind = "Decimal" if money else _TYPES.get(c.kind, c.kind)
    kind += " | None" if c.empty or optional or not c.rows else ""
    words = [_text(c.header)] if exact or squash(name) != squash(c.header) else []
    if optional:
        words.append("default=None")
    if money:
        words.append(f"digits=(18, {c.decimals})")
    if c.format:
        words.append(f"format={_text(c.format)}")
    if zone:
        words.append('zone="UTC"')
    value = f" = column({', '.join(words)})" if words else ""
    if words == ["default=None"]:
        value = " = None"
    return f"{name}: {kind}{value}  # {_comment(c)}"


def _comment(c: Evidence) -> str:
    if not c.rows:
        return "no row was seen: say its type"
    if c.empty == c.rows:
        return "always empty"
    words = [f"{c.distinct:,} distinct", f"{_short(c.low)} to {_short(c.high)}" if c.distinct > 1 else _short(c.low)]
    if c.empty:
        words.append(f"{c.empty:,} of {c.rows:,} empty")
    if c.decimals:
        words.append(f"at most {c.decimals} decimals")
    if c.doubt:
        words.append(c.doubt)
    return re.sub(r"\s+", " ", "; ".join(words))


def _short(value: str) -> str:
    text = value if len(value) <= 32 else value[:31] + "…"
    return text if text.isprintable() and text.strip() == text else repr(text)


def _key_order(key: tuple[str, ...], columns: Sequence[Evidence]) -> list[str]:
    """Times last: the first column of a key is what rows are looked up by, the rest is what they are ranged over."""
    times = {c.header for c in columns if c.kind in ("date", "datetime")}
    return sorted(key, key=lambda h: h in times)


def _key_words(
    usable: bool,
    ordered: list[str],
    names: dict[str, str],
    columns: Sequence[Evidence],
    optional: frozenset[str],
    repeated: int,
) -> list[str]:
    rows = columns[0].rows if columns else 0
    if usable:
        return [f"key: the smallest set of columns that tells all {rows:,} rows apart"]
    if ordered:
        empty = [names[c.header] for c in columns if c.header in ordered and (c.empty or c.header in optional)]
        return [
            f"{', '.join(names[h] for h in ordered)} tell all {rows:,} rows apart,",
            f"but {', '.join(empty)} may be empty and a key may not. Derive one, such as",
            f"{empty[0]}_key: str = derived(\"coalesce({empty[0]}::VARCHAR, '-')\")",
        ]
    if rows < 2:
        return [f"no key: {count(rows, 'row')} cannot show one; without a key all rows stay"]
    if repeated:
        return [f"no key: {repeated:,} of {rows:,} rows repeat an earlier one whole; without a key all of them stay"]
    return ["no key: no few columns tell all rows apart; without a key all rows stay"]


def _pipeline(
    name: str, suffixes: Sequence[str], columns: Sequence[Evidence], names: dict[str, str], usable: bool
) -> list[str]:
    times = [c for c in columns if c.kind in ("date", "datetime") and not c.empty]
    table = f"lake({_text(name)}"
    if times and not times[0].format and times[0].low[:7] != times[0].high[:7]:
        when = names[times[0].header]
        table += f', partition_by=["year({when})", "month({when})"]'
    made = [f"{table})", *([f"keyed({_text(name + '_by_key')})"] if usable else [])]
    sinks = f"[{', '.join(made)}]"
    if len(sinks) > _WIDE - 12:
        sinks = "[\n" + "".join(f"        {sink},\n" for sink in made) + "    ]"
    suffix = _text(suffixes[0]) if len(suffixes) == 1 else _tuple(list(suffixes))
    return [
        f"{name} = Pipeline(",
        f"    {_text(name)},",
        f"    source=files({_text(f'raw/{name}/')}, suffix={suffix}),",
        f"    record={class_name(name)},",
        f"    sinks={sinks},",
        ")",
    ]


def _tuple(values: list[str]) -> str:
    texts = [_text(v) for v in values]
    return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"


def _text(value: str) -> str:
    """A Python text literal in double quotes."""
    return '"' + repr("'" + value)[2:-1].replace('\\"', '"').replace('"', '\\"') + '"'
