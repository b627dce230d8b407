"""Record: the class a user writes to say what a row must look like.

Making one opens nothing and evaluates no SQL; what can be seen to be wrong is raised here, with file and line. What
needs an SQL engine to be seen (`headrace check`) is in `contract.bind`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, dataclass_transform, get_origin, get_type_hints, overload

from headrace.model.contract import Column, Policy
from headrace.model.errors import DefinitionError, raise_all
from headrace.model.fields import LIMITS, MISSING, Mistake, Options, Spec, check_zone, to_column
from headrace.model.where import caller, column_lines, here, meant

T = TypeVar("T")
Bound = float | Decimal | date | datetime
_KEEP: Any = MISSING  # "as in the base class"


@overload
def column(
    *headers: str,
    path: str | None = None,
    default: T,
    default_sql: None = None,
    digits: tuple[int, int] | None = None,
    round: bool = False,
    format: str | None = None,
    zone: str | None = None,
    ge: Bound | None = None,
    gt: Bound | None = None,
    le: Bound | None = None,
    lt: Bound | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
    pattern: str | None = None,
    check: str | None = None,
    checks: Mapping[str, str] | None = None,
    doc: str = "",
) -> T: ...
@overload
def column(
    *headers: str,
    path: str | None = None,
    default_sql: str | None = None,
    digits: tuple[int, int] | None = None,
    round: bool = False,
    format: str | None = None,
    zone: str | None = None,
    ge: Bound | None = None,
    gt: Bound | None = None,
    le: Bound | None = None,
    lt: Bound | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
    pattern: str | None = None,
    check: str | None = None,
    checks: Mapping[str, str] | None = None,
    doc: str = "",
) -> Any: ...
def column(
    *headers: str,
    path: str | None = None,
    default: Any = MISSING,
    default_sql: str | None = None,
    digits: tuple[int, int] | None = None,
    round: bool = False,
    format: str | None = None,
    zone: str | None = None,
    checks: Mapping[str, str] | None = None,
    doc: str = "",
    **limits: Any,
) -> Any:
    """A column that is read from the source, with more to say than its annotation can.

    `headers`: what it may be called in files (letters and digits count, case does not; the first found wins); without,
    its own name. `path`: its JSON Pointer. `default` or `default_sql` stand in for a missing or empty value, and let
    the header be absent. `digits` = (precision, scale) of a Decimal; more are rejected unless `round`. `pattern` is
    searched for, anywhere in the text: anchor it with ^ and $. `check` is SQL over the row: true or null passes;
    `checks` are several, by the names under which their rows are rejected. Raises DefinitionError HR217 for a keyword
    that no column takes.
    """
    for name in limits:
        if name not in LIMITS:
            possible = [*LIMITS, *(n for n in inspect.signature(column).parameters if n not in ("headers", "limits"))]
            raise DefinitionError("HR217", f"{here()} column()", f"it takes no {name!r}", meant(name, possible))
    if checks:
        limits["checks"] = dict(checks)
    return Spec(headers, path, default, default_sql, None, digits, round, format, zone, limits, doc, here())


def derived(
    sql: str,
    *,
    digits: tuple[int, int] | None = None,
    zone: str | None = None,
    doc: str = "",
    init: Literal[False] = False,
) -> Any:
    """A column that is computed from the others: SQL over the columns above it and the lineage columns."""
    return Spec(sql=sql, digits=digits, zone=zone, doc=doc, where=here())


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(column, derived))
class Record:
    """What a row must look like. Subclass it; class keywords and columns are inherited.

    `key`: the columns that identify a row. `on_conflict`: which of several accepted rows with one key stands: the
    `last` or the `first` in order, or `reject`: the first, and the others count as rejected. `dedupe="row"`: without a
    key, equal rows stand once. `extra`: what happens to headers that no column wants. `zone`: makes datetimes
    instants, and tells where texts without an offset were written. `null`: texts that mean no value. `root`: JSON
    Pointer to the list of records in a document. `version` is a label of the user's own.
    """

    __columns__: ClassVar[Mapping[str, Column]] = {}
    __options__: ClassVar[Options] = Options()
    __specs__: ClassVar[Mapping[str, tuple[Any, Spec]]] = {}
    __where__: ClassVar[str] = ""

    def __init_subclass__(
        cls,
        *,
        key: str | tuple[str, ...] = _KEEP,
        on_conflict: Policy = _KEEP,
        dedupe: Literal["none", "row"] = _KEEP,
        extra: Literal["ignore", "keep", "reject"] = _KEEP,
        zone: str | None = _KEEP,
        date_format: str | None = _KEEP,
        time_format: str | None = _KEEP,
        null: tuple[str, ...] = _KEEP,
        root: str = _KEEP,
        version: int = _KEEP,
    ) -> None:
        super().__init_subclass__()
        frame = caller()
        filename, line = (frame.f_code.co_filename, frame.f_lineno) if frame else ("", 0)
        cls.__where__ = f"{Path(filename).name}:{line}" if frame else ""
        given: dict[str, Any] = {
            "key": (key,) if isinstance(key, str) else key,
            "on_conflict": on_conflict,
            "dedupe": dedupe,
            "extra": extra,
            "zone": zone,
            "date_format": date_format,
            "time_format": time_format,
            "null": null if isinstance(null, str) or null is _KEEP else tuple(null),
            "root": root,
            "version": version,
        }
        cls.__options__ = replace(cls.__options__, **{k: v for k, v in given.items() if v is not _KEEP})
        own = _own_specs(cls, frame.f_locals if frame else {}, filename, line)
        cls.__specs__ = {**cls.__specs__, **own}
        raise_all(_mistakes(cls))

    def __init__(self, **values: Any) -> None:
        """A row as a value: for feeds and tests. Derived columns cannot be given."""
        wanted = {n: s for n, (_, s) in self.__specs__.items() if s.sql is None}
        for name in values:
            if name not in wanted:
                raise TypeError(f"{type(self).__name__} has no column {name!r} to give; {meant(name, wanted)}")
        for name, spec in wanted.items():
            value = values.get(name, spec.default)
            if value is MISSING and spec.default_sql is None:
                raise TypeError(f"{type(self).__name__} needs {name!r}")
            self.__dict__[name] = None if value is MISSING else value

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen; make a new one")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *map(str, self.__dict__.items())))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.__dict__.items())})"


def _own_specs(cls: type[Record], names: Mapping[str, Any], filename: str, line: int) -> dict[str, tuple[Any, Spec]]:
    """Annotation and right-hand side of each column in this class's own body."""
    annotated = inspect.get_annotations(cls)
    try:
        hints = get_type_hints(cls, localns=dict(names), include_extras=False) if annotated else {}
    except (NameError, SyntaxError, TypeError) as exc:
        raise _mistake(cls, cls.__where__, "HR201", f"an annotation cannot be read: {exc}", "import the type") from exc
    lines = column_lines(filename, line) if annotated else {}
    specs = {}
    for name in annotated:
        if name.startswith("__") or get_origin(hints[name]) is ClassVar:
            continue
        raw = cls.__dict__.get(name, MISSING)
        spec = raw if isinstance(raw, Spec) else Spec(default=raw)
        if not spec.where:
            spec = replace(spec, where=f"{Path(filename).name}:{lines.get(name, line)}")
        specs[name] = (hints[name], spec)
    return specs


def _mistakes(cls: type[Record]) -> Iterator[DefinitionError]:
    """Everything that is wrong with a class; sets its columns on the way, those that can be."""
    columns: dict[str, Column] = {}
    cls.__columns__ = columns
    yield from _check_options(cls)
    for name, (annotation, spec) in cls.__specs__.items():
        try:
            columns[name] = to_column(name, annotation, spec, cls.__options__)
        except Mistake as exc:
            yield _mistake(cls, spec.where, exc.code, f"column {name!r}: {exc.found}", exc.next)
    yield from _check_columns(cls)


def _check_options(cls: type[Record]) -> Iterator[DefinitionError]:
    """HR205: class keywords whose values mean nothing."""
    options = cls.__options__
    for name, allowed in (
        ("on_conflict", ("last", "first", "reject")),
        ("dedupe", ("none", "row")),
        ("extra", ("ignore", "keep", "reject")),
    ):
        value = getattr(options, name)
        if value not in allowed:
            yield _mistake(cls, cls.__where__, "HR205", f"{name}={value!r}", meant(str(value), allowed))
    if isinstance(options.null, str) or not all(isinstance(n, str) for n in options.null):
        yield _mistake(cls, cls.__where__, "HR205", f"null={options.null!r}", "give a tuple of texts: ('', 'NA')")
    if options.root and not options.root.startswith("/"):
        yield _mistake(cls, cls.__where__, "HR205", f"root={options.root!r} is no JSON Pointer", "write e.g. '/items'")
    if options.zone is not None:
        try:
            check_zone(options.zone)
        except Mistake as exc:
            yield _mistake(cls, cls.__where__, exc.code, exc.found, exc.next)


def _check_columns(cls: type[Record]) -> Iterator[DefinitionError]:
    """HR202 names, HR203 keys, HR215 headers that two columns want."""
    columns, options = cls.__columns__, cls.__options__
    folded: dict[str, str] = {}
    for name in cls.__specs__:
        where = cls.__specs__[name][1].where
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
            found = f"column {name!r} is no name that every engine takes"
            yield _mistake(cls, where, "HR202", found, "begin with a letter; names with _ in front are Headrace's own")
        if name.casefold() in folded:
            found = f"columns {folded[name.casefold()]!r} and {name!r} differ only in case"
            yield _mistake(cls, where, "HR202", found, "rename one: SQL cannot tell them apart")
        folded[name.casefold()] = name
    for part in options.key:
        if part not in cls.__specs__:
            next = meant(part, cls.__specs__)
            yield _mistake(cls, cls.__where__, "HR203", f"key column {part!r} is not a column", next)
        elif part in columns and columns[part].type.kind == "json":
            yield _mistake(cls, cls.__where__, "HR203", f"key column {part!r} is JSON", "key on scalar columns")
    if len(set(options.key)) < len(options.key):
        yield _mistake(cls, cls.__where__, "HR203", f"key {options.key} names a column twice", "name each once")
    if options.key and options.dedupe == "row":
        yield _mistake(cls, cls.__where__, "HR205", "dedupe='row' beside a key", "leave one out: a key dedupes already")
    yield from _check_headers(cls)


def _check_headers(cls: type[Record]) -> Iterator[DefinitionError]:
    wanted: dict[str, str] = {}
    for name, made in cls.__columns__.items():
        if made.sql is not None or made.path is not None:
            continue
        for header in made.headers or (name,):
            folded = squash(header)
            if not folded:
                found = f"header {header!r} of column {name!r} holds no letter or digit"
                yield _mistake(cls, cls.__specs__[name][1].where, "HR215", found, "headers match on those alone")
            elif wanted.setdefault(folded, name) != name:
                found = f"columns {wanted[folded]!r} and {name!r} both want the header {header!r}"
                next = "headers match on letters and digits alone: name different ones with column('…')"
                yield _mistake(cls, cls.__specs__[name][1].where, "HR215", found, next)


def squash(header: str) -> str:
    """Letters and digits of a header, without case: what headers are matched by."""
    return re.sub(r"[\W_]", "", header).casefold()


def _mistake(cls: type[Record], where: str, code: str, found: str, next: str) -> DefinitionError:
    return DefinitionError(code, f"{where} {cls.__name__}".strip(), found, next)
