"""The contract as one SQL query: from cells of text to typed, checked rows. The hot path of everything.

The query is a stack of sub-selects, so that each expression is evaluated once: cells and attempts, exact values,
computed columns, flags, the mask of failures, output. It is row-wise: no row sees another. Called by
`engine.stage` in the sandboxed child; a Spark session runs the same text through sqlglot.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from headrace.contract.casts import Cast, cast, constant
from headrace.contract.headers import bind_headers, extra_headers, read_columns
from headrace.contract.mask import Failure, Mask, reasons
from headrace.contract.rowhash import ROW_HASH, expand_row_hash
from headrace.model.contract import LINEAGE, Column, Contract
from headrace.model.fields import cell_name, literal, quoted

WIDE = 1_000
"""Headers beyond which unread cells are packed: each level of the query holds a 32 kB vector per column and thread."""

_PLAIN_CHECKS = frozenset({"ge", "gt", "le", "lt", "min_length", "max_length", "pattern"})

_LIMITS = {
    "key": "a part of the key is null, empty or too long",
    "number": "a number is not finite or too large to be stored in an item",
    "size": "the row is more than 400 KB",
}


@dataclass(frozen=True, slots=True)
class StageQuery:
    """What to run over a relation of text, and how to read what it staged.

    `select` yields `names`: the passed-through columns, `columns`, `_bad` (0: accepted so far; bit i: `failures[i]`, as
    long as there are at most 62 of them), `_filtered` and `_cells` (the cells in header order where `_bad <> 0`).
    `rejected` is a SELECT list over the staged table: rule, "column", value, reason of a row with `_bad <> 0`.
    """

    select: str
    names: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    failures: tuple[Failure, ...]
    rejected: str


@dataclass
class _Build:
    """The query under construction: the innermost select, and what each level above it adds."""

    contract: Contract
    headers: Sequence[str]
    bound: dict[str, int]
    plain: bool
    base: list[str] = field(default_factory=list)
    levels: list[list[str]] = field(default_factory=list)
    mask: Mask = field(default_factory=Mask)

    @property
    def wide(self) -> bool:
        """Whether cells that no column reads travel as one list, `_all`."""
        return len(self.headers) > WIDE

    def text(self, column: Column) -> str:
        """The name under which the text of a bound column is staged."""
        return cell_name(self.bound[column.name])


def columns_of(contract: Contract) -> tuple[tuple[str, str], ...]:
    """(name, DuckDB type) of an accepted row: the columns, the flags, and `_rescued` where extra headers are kept."""
    columns = [(c.name, c.type.sql) for c in contract.columns]
    columns += [(r.name, "BOOLEAN") for r in contract.rules if r.kind == "flag"]
    if contract.extra == "keep":
        columns.append(("_rescued", "VARCHAR"))
    return tuple(columns)


def lineage_read(contract: Contract) -> tuple[str, ...]:
    """The lineage columns that expressions look at: the relation must have them, passed through or not."""
    texts = [t for c in contract.columns for t in (c.sql, c.default_sql, *(sql for _, sql in c.checks)) if t]
    texts += [r.when for r in contract.rules if r.kind != "alert"]
    words = {word for text in texts for word in re.findall(r"\w+", text.lower())}
    return tuple(name for name, _ in LINEAGE if name in words)


def stage_query(
    contract: Contract,
    headers: Sequence[str],
    relation: str,
    passthrough: Sequence[str],
    *,
    plain: bool = False,
    brief: bool = False,
) -> StageQuery:
    """The query for a file with these headers; `relation` goes behind FROM and has a VARCHAR column per header, called
    `cell_name(index)`.

    `passthrough` are other columns of the relation, handed on unchanged and visible to expressions; so are the lineage
    columns that expressions read. `plain` is what `formats.rows.Rows` says of the cells; `brief` is for few rows: a
    query that is planned sooner and runs longer. Raises BadObject (HR451 to HR453) where the headers do not fit the
    contract.
    """
    build = _Build(contract, headers, bind_headers(contract, headers), plain)
    _cells(build, passthrough)
    _values(build)
    _computed(build)
    _checks(build)
    skips = _rules(build)
    _limits(build)
    columns = columns_of(contract)
    sql = f"SELECT {', '.join(build.base)} FROM {relation}"
    for level in [*build.levels, *build.mask.levels(brief)]:
        if level:
            sql = f"SELECT *, {', '.join(level)} FROM ({sql})"
    names = [*passthrough, *(name for name, _ in columns), *build.mask.names(), "_filtered", "_cells"]
    output = [quoted(name) for name in passthrough]
    late = not contract.limits  # which look at it
    output += [_rescued(build) if late and name == "_rescued" else quoted(name) for name, _ in columns]
    output += build.mask.names()
    filtered = f"CASE WHEN _bad = 0 THEN ({' OR '.join(skips)}) ELSE false END" if skips else "false"
    output.append(f"{filtered} AS _filtered")
    cells = "_all" if build.wide else _listed_cells(len(headers))
    output.append(f"CASE WHEN _bad <> 0 THEN {cells} END AS _cells")
    select = f"SELECT {', '.join(output)} FROM ({sql})"
    return StageQuery(select, tuple(names), columns, tuple(build.mask.failures), reasons(build.mask.failures))


def _cells(build: _Build, passthrough: Sequence[str]) -> None:
    """Innermost: every cell. Texts that mean null become NULL here, or, where only '' does, later:
    a cast of '' is NULL anyway, and text columns say it themselves."""
    carried = [name for name in lineage_read(build.contract) if name not in passthrough]
    build.base += [quoted(name) for name in (*passthrough, *carried)]
    tokens = build.contract.null
    kept = _bound_cells(build) if build.wide else range(len(build.headers))
    build.base += map(cell_name, kept)
    if build.wide:
        build.base.append(f"{_listed_cells(len(build.headers))} AS _all")
    if tokens not in ((), ("",)):
        of = ", ".join(literal(t) for t in tokens)
        bound = [(i, cell_name(i)) for i in _bound_cells(build)]
        build.levels.append([f"CASE WHEN {t} IN ({of}) THEN NULL ELSE {t} END AS _n{i}" for i, t in bound])


def _listed_cells(count: int) -> str:
    return f"[{', '.join(map(cell_name, range(count)))}]::VARCHAR[]"


def _bound_cells(build: _Build) -> list[int]:
    return sorted(set(build.bound.values()))


def _cell(build: _Build, column: Column) -> str:
    """The name of the text of a column, with null texts already NULL unless only '' is one."""
    index = build.bound[column.name]
    return cell_name(index) if build.contract.null in ((), ("",)) else f"_n{index}"


def _values(build: _Build) -> None:
    """Two levels: the attempts of all casts, then values that need more than that, with defaults."""
    attempts, values, filled = list[str](), list[str](), list[str]()
    for number, column in enumerate(read_columns(build.contract)):
        name = quoted(column.name)
        default = constant(column.type, column.default) if column.default is not None else None
        if column.name not in build.bound:
            if column.default_sql is None:
                values.append(f"{default or f'CAST(NULL AS {column.type.sql})'} AS {name}")
            continue
        made = cast(column.type, _cell(build, column), f"_v{number}")
        own = default is None and column.default_sql is None
        held = name if own else f"_e{number}"
        if made.value is None:
            made = cast(column.type, _cell(build, column), held)
        attempt = f"nullif({made.attempt}, '')" if _empty_is_null(build, column) else made.attempt
        attempts.append(f"{attempt} AS {held if made.value is None else f'_v{number}'}")
        if made.value is not None:
            values.append(f"{made.value} AS {held}")
        if default is not None:
            filled.append(f"coalesce({held}, {default}) AS {name}")
        _cast_failures(build, column, held, made, required=own and not column.nullable)
    build.levels += [attempts, values, filled]


def _empty_is_null(build: _Build, column: Column) -> bool:
    """A cast of '' is NULL by itself; a text has to be told."""
    return column.type.kind == "str" and build.contract.null == ("",)


def _cast_failures(build: _Build, column: Column, value: str, made: Cast, required: bool) -> None:
    t, cell = _cell(build, column), build.bound[column.name]
    present = f"({t} IS NOT NULL AND {t} <> '')" if build.contract.null == ("",) else f"{t} IS NOT NULL"
    if column.type.kind != "str":
        # the quick test lets '' through: the exact one is only evaluated for rows that fail it
        quick = f"({value} IS NULL AND {t} IS NOT NULL)" + (f" OR {made.lost}" if made.lost else "")
        exact = f"CASE WHEN {value} IS NULL THEN {present} ELSE {made.lost or 'false'} END"
        build.mask.add("cast", column.name, cell, made.reason, quick, exact)
    if required:
        exact = f"{value} IS NULL AND NOT coalesce({present}, false)"
        build.mask.add("required", column.name, cell, "missing", f"{value} IS NULL", exact)
    if column.type.choices and column.default_sql is None:
        _choices(build, column, cell, value)


def _choices(build: _Build, column: Column, cell: int | None, value: str) -> None:
    choices = [c if column.type.kind == "int" else literal(c) for c in column.type.choices]
    test = f"{value} NOT IN ({', '.join(choices)})"
    build.mask.add("choices", column.name, cell, f"none of {', '.join(column.type.choices)}", test)


def _computed(build: _Build) -> None:
    """Derived columns and SQL defaults, in contract order: each sees those above it. Independent ones share a level."""
    level, made = list[str](), set[str]()
    for column in build.contract.columns:
        sql = column.sql or column.default_sql
        if sql is None:
            continue
        if _mentions(sql, made):
            build.levels.append(level)
            level, made = [], set()
        cells = [_cell(build, c) if c.name in build.bound else None for c in read_columns(build.contract)]
        empty_is_null = build.contract.null == ("",)
        computed = expand_row_hash(sql, cells, column.type, empty_is_null=empty_is_null, plain=build.plain)
        level.append(f"{_computed_value(build, column, computed)} AS {quoted(column.name)}")
        made.add(column.name)
        _computed_failures(build, column, computed, fails=not ROW_HASH.fullmatch(sql.strip()))
    build.levels.append(level)


def _computed_value(build: _Build, column: Column, computed: str) -> str:
    if column.sql is None and column.name in build.bound:
        number = [c.name for c in read_columns(build.contract)].index(column.name)
        return f"CASE WHEN _e{number} IS NOT NULL THEN _e{number} ELSE TRY({computed}) END"
    return f"TRY({computed})"


def _computed_failures(build: _Build, column: Column, computed: str, fails: bool) -> None:
    """An expression that raises gives NULL: it is tried again there, to tell that from a NULL that is meant."""
    name = quoted(column.name)
    cell = build.bound.get(column.name) if column.sql is None else None
    if column.type.choices:
        _choices(build, column, cell, name)
    if not fails:
        return
    failed = f"{name} IS NULL AND TRY(({computed}) IS NULL) IS NULL"
    build.mask.add("derived", column.name, cell, "its SQL fails on this row", failed)
    if not column.nullable:
        build.mask.add("required", column.name, cell, "its SQL gives null", f"{name} IS NULL")


def _mentions(sql: str, names: Iterable[str]) -> bool:
    words = {w.casefold() for w in re.findall(r"\w+", sql)}
    return any(n.casefold() in words for n in names)


def _checks(build: _Build) -> None:
    for column in build.contract.columns:
        cell = build.bound.get(column.name) if column.sql is None else None
        for rule, test in column.checks:
            reason = _check_reason(rule, column.name, test)
            if rule in _PLAIN_CHECKS:
                build.mask.add(rule, column.name, cell, reason, f"NOT ({test})")
            else:
                build.mask.add(rule, column.name, cell, reason, f"TRY(({test}) IS NOT FALSE) IS DISTINCT FROM true")


def _check_reason(rule: str, column: str, test: str) -> str:
    """What a person reads: `is not >= 0` for a bound, the expression for anything else."""
    bare = _TYPED.sub(r"\1", test.replace(quoted(column), column))
    if rule in ("ge", "gt", "le", "lt") and bare.startswith(f"{column} "):
        return f"is not {bare.removeprefix(f'{column} ')}"
    return f"fails {bare}" if len(bare) <= 200 else f"fails its {rule}"


_TYPED = re.compile(r"'([^']*)'::[A-Z]+(?:\(\d+, ?\d+\))?")
"""A literal with its type, as checks are compiled to."""


def _rules(build: _Build) -> list[str]:
    """Flags become columns, rejects become failures; returns the columns that tell whether a row is skipped.

    An expression that raises rejects the row: it is never taken for a no.
    """
    skips, level, made = list[str](), list[str](), set[str]()
    for number, rule in enumerate(build.contract.rules):
        if rule.kind == "alert":
            continue
        name = quoted(rule.name) if rule.kind == "flag" else f"_r{number}"
        if _mentions(rule.when, made):
            build.levels.append(level)
            level, made = [], set()
        level.append(f"TRY(coalesce(({rule.when}), false)) AS {name}")
        if rule.kind == "flag":
            made.add(rule.name)
        if rule.kind == "reject":
            shown = rule.when if len(rule.when) <= 200 else rule.name
            build.mask.add(rule.name, None, None, f"rule {rule.name}: {shown}", f"{name} IS DISTINCT FROM false")
            continue
        build.mask.add(rule.name, None, None, f"rule {rule.name}: its SQL fails on this row", f"{name} IS NULL")
        if rule.kind == "skip":
            skips.append(name)
    build.levels.append(level)
    return skips


def _limits(build: _Build) -> None:
    if build.contract.limits and build.contract.extra == "keep":
        build.levels.append([_rescued(build)])  # what a sink can store of a row, it must hold of this as well
    for name, holds in build.contract.limits:
        reason = _LIMITS.get(name, f"does not hold: {holds}")
        build.mask.add(name, None, None, f"{name}: {reason}", f"({holds}) IS DISTINCT FROM true")


def _rescued(build: _Build) -> str:
    """Cells that no column wants, as a JSON object by header; NULL where the file has none."""
    left = extra_headers(build.headers, build.bound)
    if not left:
        return "CAST(NULL AS VARCHAR) AS _rescued"
    pairs = ", ".join(f"{literal(build.headers[i])}, {f'_all[{i + 1}]' if build.wide else cell_name(i)}" for i in left)
    return f"CAST(json_object({pairs}) AS VARCHAR) AS _rescued"
