"""Plain data as YAML with CloudFormation's short forms, for people to read. Called by `template`.

Only what a template holds: mappings, lists, texts, numbers, booleans. What could be taken for anything else is quoted,
what fits on a line stands on one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

SHORT = {"Ref": "!Ref", "Fn::Sub": "!Sub", "Fn::GetAtt": "!GetAtt", "Fn::Equals": "!Equals"}
"""Functions of CloudFormation that have a tag."""

WIDTH = 100
"""Characters of a list or mapping that stands on one line."""

PLAIN = re.compile(r"[A-Za-z/$][A-Za-z0-9 _./:()$,;'+-]*")
WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def to_yaml(document: Mapping[str, Any]) -> str:
    """The document's text. Reading it again gives the same data, short forms written out."""
    return "".join(line + "\n" for line in _mapping(document))


def _mapping(value: Mapping[str, Any]) -> Iterable[str]:
    for name, one in value.items():
        yield from _entry(f"{_scalar(name)}:", one)


def _entry(lead: str, value: Any) -> Iterable[str]:
    """`lead` with a value behind it where that fits on one line, else below it."""
    tag, block = ("!Sub ", value["Fn::Sub"]) if _is(value, "Fn::Sub") else ("", value)
    inline = _inline(value)
    if isinstance(block, str) and _is_block(block):
        yield f"{lead} {tag}|-"
        yield from (f"  {line}" for line in block.split("\n"))
    elif inline is not None:
        yield f"{lead} {inline}"
    elif isinstance(value, Mapping):
        yield lead
        yield from (f"  {line}" for line in _mapping(value))
    else:
        yield lead
        for one in value:
            yield from _item(one)


def _item(value: Any) -> Iterable[str]:
    """One entry of a list; a mapping begins on the line of its hyphen."""
    if isinstance(value, Mapping) and not (set(value) & set(SHORT)) and _flow(value) is None:
        first, *rest = _mapping(value)
        yield f"  - {first}"
        yield from (f"    {line}" for line in rest)
    elif isinstance(value, Mapping) and (flow := _flow(value)) is not None:
        yield f"  - {flow}"
    else:
        yield from (f"  {line}" for line in _entry("-", value))


def _inline(value: Any) -> str | None:
    """What can stand behind a name. A mapping takes lines of its own: it is what one looks for."""
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return f"{value:g}" if isinstance(value, float) else str(value)
        case str():
            return _scalar(value)
        case Mapping() if len(value) == 1 and (name := next(iter(value))) in SHORT:
            return _function(name, value[name])
        case Mapping() if not value:
            return "{}"
        case list():
            return _flow(value)
        case _:
            return None


def _flow(value: Any) -> str | None:
    """A short list or mapping of plain things, on one line."""
    if isinstance(value, Mapping) and not (len(value) == 1 and set(value) <= set(SHORT)):
        inner = [(f"{_scalar(name, flow=True)}: ", one) for name, one in value.items()]
        left, right = "{", "}"
    elif isinstance(value, list):
        inner, (left, right) = [("", one) for one in value], "[]"
    else:
        return _scalar(value, flow=True) if isinstance(value, str) else _inline(value)
    said = [(name, _flow(one)) for name, one in inner]
    text = left + ", ".join(f"{name}{one}" for name, one in said) + right
    return text if len(text) <= WIDTH and all(one is not None for _, one in said) else None


def _is(value: Any, name: str) -> bool:
    return isinstance(value, Mapping) and set(value) == {name}


def _is_block(value: str) -> bool:
    """Whether a text of several lines can stand as they are: YAML would not keep blanks around them."""
    lines = value.split("\n")
    return len(lines) > 1 and lines[0][:1].strip() != "" and lines[-1] != "" and all(x == x.rstrip() for x in lines)


def _function(name: str, value: Any) -> str:
    match name:
        case "Fn::GetAtt":
            return f"!GetAtt {'.'.join(value)}"
        case "Fn::Equals":
            return f"!Equals {_flow(value)}"
        case _:
            return f"{SHORT[name]} {_scalar(value, flow=True)}"


def _scalar(value: str, flow: bool = False) -> str:
    plain = PLAIN.fullmatch(value) and value.lower() not in WORDS and ": " not in value and value[-1] not in ": "
    if plain and not (flow and "," in value):
        return value
    if '"' in value and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    return json.dumps(value, ensure_ascii=False)
