"""How a record's key becomes the partition key and sort key of a keyed sink: one rule for SQLite and DynamoDB.

The first key column is the partition key, the rest the sort key. Each rule stands here twice, as DuckDB SQL (for whole
files) and as Python (for the arguments of `get`); a property test holds the two together. Knows no home: `local.keyed`
stores what this encodes, `contract.limits` says what a key may hold at most.

A whole number or boolean that stands alone stays a number (DynamoDB type N). Everything else is text whose byte order
is the order of the values: DynamoDB's numbers hold neither every double nor a sign of zero, and have no times.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Context, Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from headrace.model.errors import DefinitionError, InfrastructureError, UsageError

SEPARATOR = "\x01"
"""Ends each part of a joined key: lower than any character that an escaped part can hold, so prefixes sort first."""

AFTER = "\x02"
"""The least text above everything that begins with a finished part."""

ESCAPES = (("\x02", "\x02\x05"), ("\x01", "\x02\x04"), ("\x00", "\x02\x03"))
"""Order-preserving: what sorts at or below `SEPARATOR` is lifted above it. Applied in this order."""

NUMBERS = ("BIGINT", "INTEGER", "BOOLEAN")
BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
EXACT = Context(prec=100)
"""Decimal arithmetic that never rounds what a column can hold (38 digits)."""

_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")


@dataclass(frozen=True, slots=True)
class Part:
    """One key column with its DuckDB type."""

    name: str
    type: str

    @property
    def sql(self) -> str:
        return quoted(self.name)


@dataclass(frozen=True, slots=True)
class Key:
    """The two halves of a record's key."""

    partition: Part
    sort: tuple[Part, ...]

    def partition_sql(self) -> str:
        """DuckDB expression of the partition key over a row."""
        return alone_sql(self.partition)

    def sort_sql(self) -> str | None:
        """DuckDB expression of the sort key over a row; None for a key of one column."""
        if len(self.sort) <= 1:
            return alone_sql(self.sort[0]) if self.sort else None
        ends = f"chr({ord(SEPARATOR)})"
        return f" || {ends} || ".join(_joined_sql(p) for p in self.sort)

    def encode_partition(self, value: Any) -> int | str:
        return alone(self.partition, value)

    def encode_sort(self, values: Sequence[Any]) -> int | str:
        """The sort key of the row with these values of the sort columns, one for each."""
        if len(values) != len(self.sort):
            names = ", ".join(p.name for p in self.sort)
            raise UsageError("HR722", "sort key", f"{len(values)} values given for ({names})", "give one for each")
        if len(self.sort) == 1:
            return alone(self.sort[0], values[0])
        return SEPARATOR.join(_joined(p, v) for p, v in zip(self.sort, values, strict=True))

    def encode_prefix(self, values: Sequence[Any]) -> str:
        """What every sort key with these leading values begins with (only where parts are joined)."""
        return "".join(_joined(p, v) + SEPARATOR for p, v in zip(self.sort, values, strict=False))


def key_of(key: Sequence[str], columns: Sequence[tuple[str, str]]) -> Key:
    """The key with its types looked up in `columns`. Raises DefinitionError (HR203) for none or an unknown column."""
    types = dict(columns)
    if not key:
        raise DefinitionError("HR203", "keyed", "the record has no key", "name one: class R(Record, key=…)")
    for name in key:
        if name not in types:
            raise DefinitionError(
                "HR203", "keyed", f"key column {name!r} is not a column", f"one of {', '.join(types)}"
            )
    first, *rest = (Part(name, types[name]) for name in key)
    return Key(first, tuple(rest))


def alone_sql(part: Part) -> str:
    """DuckDB expression of a key half that is one column."""
    return part.sql if part.type in NUMBERS or part.type == "VARCHAR" else text_sql(part)


def alone(part: Part, value: Any) -> int | str:
    typed = coerced(part, value)
    if isinstance(typed, int):
        return int(typed)
    return typed if isinstance(typed, str) else _text(part, typed)


def text_sql(part: Part) -> str:
    """DuckDB expression of one value as text whose byte order is the order of the values."""
    name = part.sql
    match part.type:
        case "VARCHAR":
            return name
        case "BOOLEAN":
            return f"({name}::INTEGER)::VARCHAR"
        case "DATE":
            return f"strftime({name}, '%Y-%m-%d')"
        case "TIMESTAMP":
            return f"strftime({name}, '%Y-%m-%dT%H:%M:%S.%f')"
        case "TIMESTAMPTZ":  # by microseconds, so that the session's zone has no say
            return f"strftime(make_timestamp(epoch_us({name})), '%Y-%m-%dT%H:%M:%S.%fZ')"
        case "UUID":
            return f"{name}::VARCHAR"
        case "DOUBLE" | "FLOAT":
            bits = f"({name}::DOUBLE + 0.0)::BIT"  # + 0.0: one zero, not two
            ordered = f"CASE WHEN {name} < 0 THEN ~({bits}) ELSE set_bit({bits}, 0, 1) END"
            return f"lower(lpad(to_hex(({ordered})::BIGINT), 16, '0'))"
        case _:
            digits = f"lpad(replace(abs({_wide(part)})::VARCHAR, '.', ''), {_width(part)}, '0')"
            below = f"'-' || translate({digits}, '0123456789', '9876543210')"  # '-' sorts before every digit
            return f"CASE WHEN {name} < 0 THEN {below} ELSE {digits} END"


def _wide(part: Part) -> str:
    return part.sql if part.type.startswith("DECIMAL") else f"{part.sql}::HUGEINT"


def _width(part: Part) -> int:
    found = _DECIMAL.fullmatch(part.type)
    return int(found[1]) + 1 if found else 19


def _text(part: Part, value: Any) -> str:
    """The Python twin of `text_sql`, for a value that `coerced` returned."""
    match value:
        case bool():
            return str(int(value))
        case str() | UUID():
            return str(value)
        case datetime():
            return value.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z" * (value.tzinfo is not None)
        case date():
            return value.isoformat()
        case float():
            (bits,) = struct.unpack(">Q", struct.pack(">d", value + 0.0))
            return f"{bits ^ (2**64 - 1 if value < 0 else 2**63):016x}"
        case int():
            return _signed(value, _width(part))
        case Decimal():
            return _signed(int(value.scaleb(_scale(part), EXACT)), _width(part))
        case _:
            raise UsageError("HR722", f"key column {part.name!r}", f"{value!r} cannot be part of a key")


def _signed(number: int, width: int) -> str:
    digits = str(abs(number)).rjust(width, "0")
    return digits if number >= 0 else "-" + digits.translate(str.maketrans("0123456789", "9876543210"))


def _scale(part: Part) -> int:
    found = _DECIMAL.fullmatch(part.type)
    return int(found[2]) if found else 0


def _joined_sql(part: Part) -> str:
    text = text_sql(part)
    if part.type == "VARCHAR":
        for plain, lifted in ESCAPES:
            text = f"replace({text}, {_chars(plain)}, {_chars(lifted)})"
    return f"({text})"


def _chars(text: str) -> str:
    return " || ".join(f"chr({ord(c)})" for c in text)


def _joined(part: Part, value: Any) -> str:
    typed = coerced(part, value)
    return escaped(typed) if isinstance(typed, str) else _text(part, typed)


def escaped(text: str) -> str:
    """Text as it stands inside a joined key."""
    for plain, lifted in ESCAPES:
        text = text.replace(plain, lifted)
    return text


def coerced(part: Part, value: Any) -> Any:
    """`value` as the column's Python type: from that type, or from text as a person writes it.

    A time without offset is taken as UTC where the column is an instant. Raises UsageError (HR722) for anything that
    no row of the column could hold.
    """
    try:
        typed = _coerced(part, value)
    except (ValueError, TypeError, KeyError, InvalidOperation, OverflowError) as exc:
        found = f"{value!r} is no {part.type.lower()}"
        raise UsageError("HR722", f"key column {part.name!r}", found, "write it as `get` prints it") from exc
    return typed


def _coerced(part: Part, value: Any) -> Any:
    match part.type:
        case "VARCHAR":
            return _exactly(str, value)
        case "BOOLEAN":
            return BOOLEANS[str(value).lower()]
        case "DATE":
            return date.fromisoformat(value) if isinstance(value, str) else _exactly(date, value)
        case "TIMESTAMP" | "TIMESTAMPTZ":
            return _instant(value, zoned=part.type == "TIMESTAMPTZ")
        case "UUID":
            return UUID(str(value))
        case "DOUBLE" | "FLOAT":
            return float(value)
        case kind if kind.startswith("DECIMAL"):
            return _decimal(value, part)
        case _:
            if isinstance(value, float):
                raise ValueError(value)
            return int(value)


def _exactly(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(value)
    return value


def _instant(value: Any, *, zoned: bool) -> datetime:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    if zoned:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    if moment.tzinfo is not None:
        raise ValueError(value)
    return moment


def _decimal(value: Any, part: Part) -> Decimal:
    number = Decimal(str(value))
    scaled = number.scaleb(_scale(part), EXACT)
    if scaled != int(scaled):
        raise ValueError(value)
    return number


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def missing_table(table: str, number: int) -> InfrastructureError:
    """HR533: a keyed table that the ledger knows at `number` holds nothing at all."""
    found = f"is missing or empty, while the ledger is at revision {number}"
    return InfrastructureError("HR533", f"keyed table {table!r}", found, f"headrace rebuild {table}")
