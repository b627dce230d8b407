"""One declared column: from an annotation and its right-hand side to an inert `contract.Column`.

Called by `model.record` while a class is made. Nothing here knows SQL's meaning; `contract.bind` tries expressions.
"""

from __future__ import annotations

import json
import re
import types
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Literal, Union, get_args, get_origin
from zoneinfo import ZoneInfo

from headrace.model.contract import Column, Kind, Type
from headrace.model.formats import strptime_pattern
from headrace.model.where import meant


class Missing:
    """The absence of a value, where None is one."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()

_KINDS: Mapping[Any, Kind] = {
    str: "str",
    int: "int",
    float: "float",
    Decimal: "decimal",
    bool: "bool",
    date: "date",
    datetime: "datetime",
    uuid.UUID: "uuid",
    dict: "json",
    list: "json",
}


@dataclass(frozen=True)
class Spec:
    """What stands right of a column's annotation. `where` is `file:line` of the call; `derived` tells which call."""

    headers: tuple[str, ...] = ()
    path: str | None = None
    default: Any = MISSING
    default_sql: str | None = None
    sql: str | None = None
    digits: tuple[int, int] | None = None
    round: bool = False
    format: str | None = None
    zone: str | None = None
    limits: Mapping[str, Any] = field(default_factory=dict)
    doc: str = ""
    where: str = ""


@dataclass(frozen=True)
class Options:
    """Class keywords of a Record, inherited one by one."""

    key: tuple[str, ...] = ()
    on_conflict: Literal["last", "first", "reject"] = "last"
    dedupe: Literal["none", "row"] = "none"
    extra: Literal["ignore", "keep", "reject"] = "ignore"
    zone: str | None = None
    date_format: str | None = None
    time_format: str | None = None
    null: tuple[str, ...] = ("",)
    root: str = ""
    version: int = 1


class Mistake(Exception):
    """A code, what was found and what to do next; the caller knows which column it was."""

    def __init__(self, code: str, found: str, next: str = "") -> None:
        self.code, self.found, self.next = code, found, next
        super().__init__(found)


def to_column(name: str, annotation: Any, spec: Spec, options: Options) -> Column:
    """The column that the contract will hold. Raises Mistake (HR201, HR204, HR206)."""
    kind, choices, nullable = read_annotation(annotation)
    _refuse_misfits(kind, spec)
    of = Type(
        kind,
        digits=_digits(spec) if kind == "decimal" else None,
        zone=(spec.zone or options.zone) if kind == "datetime" else None,
        choices=choices,
        format=_format(kind, spec, options) if spec.sql is None else None,
        round=spec.round,
    )
    has_default = not isinstance(spec.default, Missing)
    default = None if not has_default or spec.default is None else default_text(of, spec.default)
    if has_default and spec.default is None and not nullable:
        raise Mistake("HR206", "the default is None but the annotation does not allow it", "annotate it as 'T | None'")
    return Column(
        name,
        of,
        nullable=nullable,
        optional=spec.sql is None and (has_default or spec.default_sql is not None),
        headers=spec.headers,
        path=spec.path,
        default=default,
        default_sql=spec.default_sql,
        sql=spec.sql,
        checks=_checks(name, of, spec.limits),
    )


def read_annotation(annotation: Any) -> tuple[Kind, tuple[str, ...], bool]:
    """Kind, choices and whether None is allowed. Raises Mistake HR201 for what no column can be."""
    nullable = False
    if get_origin(annotation) in (Union, types.UnionType):
        members = [a for a in get_args(annotation) if a is not type(None)]
        nullable = len(members) < len(get_args(annotation))
        if len(members) != 1:
            raise Mistake("HR201", f"type {_shown(annotation)} is a choice of types", "give one type, or 'T | None'")
        annotation = members[0]
    if get_origin(annotation) is Literal:
        return *_literal(get_args(annotation)), nullable
    plain = get_origin(annotation) or annotation
    if plain not in _KINDS:
        next = "types are str, int, float, Decimal, bool, date, datetime, UUID, Literal, dict and list"
        raise Mistake("HR201", f"type {_shown(annotation)} cannot be a column", next)
    return _KINDS[plain], (), nullable


def _literal(values: tuple[Any, ...]) -> tuple[Kind, tuple[str, ...]]:
    of = {type(v) for v in values}
    if of == {str} or of == {int}:
        return ("str" if of == {str} else "int"), tuple(str(v) for v in values)
    raise Mistake("HR201", f"Literal{list(values)} mixes types", "use only texts or only integers")


def _shown(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def _refuse_misfits(kind: Kind, spec: Spec) -> None:
    """HR204 for settings that mean nothing together."""
    if spec.digits is not None and kind != "decimal":
        raise Mistake("HR204", "'digits' belongs to Decimal", "annotate the column as Decimal, or leave 'digits' out")
    if kind == "decimal" and spec.digits is None:
        raise Mistake("HR204", "a Decimal needs its digits", "write column(digits=(precision, scale))")
    if spec.round and kind != "decimal":
        raise Mistake("HR204", "'round' belongs to Decimal", "leave it out")
    if spec.format is not None and kind not in ("date", "datetime"):
        raise Mistake("HR204", "'format' belongs to date and datetime", "leave it out")
    if spec.zone is not None and kind != "datetime":
        raise Mistake("HR204", "'zone' belongs to datetime", "leave it out")
    if spec.zone is not None:
        check_zone(spec.zone)
    if not isinstance(spec.default, Missing) and spec.default_sql is not None:
        raise Mistake("HR204", "both 'default' and 'default_sql' are given", "keep one")
    if spec.path is not None and not spec.path.startswith("/"):
        raise Mistake("HR204", f"path {spec.path!r} is no JSON Pointer", "write e.g. path='/readings/temperature'")
    if {"pattern", "min_length", "max_length"} & set(spec.limits) and kind not in ("str", "json"):
        raise Mistake("HR204", "'pattern' and lengths belong to str", "use ge, gt, le, lt or check")


def check_zone(zone: str) -> None:
    """Mistake HR205 unless `zone` is a name of the IANA database."""
    from zoneinfo import available_timezones

    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise Mistake("HR205", f"zone {zone!r} is not known", meant(zone, available_timezones())) from None


def _digits(spec: Spec) -> tuple[int, int]:
    precision, scale = spec.digits or (18, 4)
    if not 1 <= precision <= 38 or not 0 <= scale <= precision:
        raise Mistake("HR204", f"digits={spec.digits}", "precision is 1 to 38 and scale 0 to precision")
    return precision, scale


def _format(kind: Kind, spec: Spec, options: Options) -> str | None:
    text = spec.format
    if text is None and kind in ("date", "datetime"):
        text = options.date_format if kind == "date" else options.time_format
    if text is None:
        return None
    try:
        pattern = strptime_pattern(text, time=kind == "datetime")
    except ValueError as exc:
        raise Mistake("HR204", f"format: {exc}", "write e.g. 'DD/MM/YYYY' or 'DD/MM/YYYY HH:mm:ss'") from None
    if "%z" in pattern and not (spec.zone or options.zone):
        raise Mistake("HR204", f"format {text!r} reads an offset that a zone-less datetime would lose", "give a zone")
    return pattern


def default_text(of: Type, value: Any) -> str:
    """The default as text that the column's own cast accepts. Raises Mistake HR206 where it does not fit the type."""
    wanted = {v: k for k, v in reversed(list(_KINDS.items()))}[of.kind]
    fits = type(value) is wanted or (of.kind in ("float", "decimal") and type(value) is int)
    if of.kind == "json":
        fits = isinstance(value, dict | list)
    if not fits:
        raise Mistake("HR206", f"default {value!r} is not a {of.kind}", f"give a {wanted.__name__}")
    if of.kind == "json":
        return json.dumps(value, separators=(",", ":"))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        if value.tzinfo and not of.zone:
            raise Mistake("HR206", f"default {value} has an offset", "leave the offset out, or give the column a zone")
        return value.isoformat(sep=" ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal | int) and of.digits:
        scaled = Decimal(value)
        if scaled != round(scaled, of.digits[1]) or abs(scaled) >= 10 ** (of.digits[0] - of.digits[1]):
            raise Mistake("HR206", f"default {value} does not fit digits {of.digits}", "round it, or widen 'digits'")
        return f"{scaled:f}"
    if of.choices and str(value) not in of.choices:
        raise Mistake("HR206", f"default {value!r} is none of the choices", meant(str(value), of.choices))
    return str(value)


def literal(text: str) -> str:
    """`text` as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """`name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def cell_name(index: int) -> str:
    """The SQL name of the cells under a file's header of that index, wherever rows are still text.

    Never the header itself: SQL cannot tell headers apart that differ in case, and one like `rowid` or `_record` would
    stand before what the engine or Headrace mean by it. Columns of a Record cannot begin with `_`.
    """
    return f"_t{index}"


_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
_LENGTHS = {"min_length": ">=", "max_length": "<="}
LIMITS = (*_BOUNDS, *_LENGTHS, "pattern", "check")
"""Keywords of a column that are checks, under these names."""


def _checks(name: str, of: Type, limits: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Checks as (name, boolean SQL), in the order in which they were written."""
    made = []
    for rule, value in limits.items():
        if value is None:
            continue
        if rule in _BOUNDS:
            made.append((rule, f"{quoted(name)} {_BOUNDS[rule]} {_bound(rule, of, value)}"))
        elif rule in _LENGTHS:
            if type(value) is not int or value < 0:
                raise Mistake("HR204", f"{rule}={value!r}", "give a whole number from 0")
            made.append((rule, f"length({quoted(name)}) {_LENGTHS[rule]} {value}"))
        elif rule == "pattern":
            made.append((rule, f"regexp_matches({quoted(name)}, {literal(value)})"))
        elif rule == "check":
            made.append((rule, str(value)))
        else:
            made += [_named(given, value[given]) for given in value]
    return tuple(made)


def _named(name: Any, condition: Any) -> tuple[str, str]:
    """One of `checks`. Its name is that of a rule, and not one which another check of the column could have."""
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in LIMITS:
        raise Mistake("HR204", f"{name!r} is no name for a check", f"use small letters, digits and _, not {name!r}")
    if not isinstance(condition, str):
        raise Mistake("HR204", f"check {name!r} is {condition!r}", "give SQL that is true for good rows, as text")
    return name, condition


def _bound(rule: str, of: Type, value: Any) -> str:
    """A bound as SQL. Numbers for numbers (a float is written as its shortest decimal), dates for dates."""
    if of.kind in ("int", "float", "decimal") and type(value) in (int, float, Decimal):
        return f"{Decimal(str(value)):f}" if of.kind != "float" else f"{literal(str(value))}::DOUBLE"
    if of.kind == "date" and type(value) is date:
        return f"DATE {literal(value.isoformat())}"
    if of.kind == "datetime" and type(value) is datetime and bool(value.tzinfo) == bool(of.zone):
        return f"{of.sql} {literal(value.isoformat(sep=' '))}"
    raise Mistake("HR204", f"{rule}={value!r} cannot bound a {of.kind}", "give a value of the column's own type")


__all__ = [
    "MISSING",
    "Mistake",
    "Options",
    "Spec",
    "cell_name",
    "check_zone",
    "literal",
    "quoted",
    "read_annotation",
    "to_column",
]
