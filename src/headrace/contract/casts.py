"""Exact casts: SQL that turns the text of a cell into a typed value and tells whether anything would be lost.

DuckDB's TRY_CAST rounds, truncates and drops offsets without a word. So every cast comes with a test of its text:
first something cheap that nearly every cell passes (the value's own text is the text again), and a regular expression
only for the others. Called by `contract.query`; docs/reference has the table of what is accepted.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.model.contract import Type
from headrace.model.fields import literal

_DAY = r"\d{4}-\d\d-\d\d"
_CLOCK = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6}0*)?)?"
_MIDNIGHT = r"00:00(:00(\.0+)?)?"
_OFFSET = r"(Z|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)"
_DATES = "BETWEEN DATE '0001-01-01' AND DATE '9999-12-31'"
_FOUR_DIGITS = "BETWEEN DATE '1000-01-01' AND DATE '9999-12-31'"  # in a text of ten: no blank, sign or BC
_TIMES = "BETWEEN TIMESTAMP '0001-01-01' AND TIMESTAMP '9999-12-31 23:59:59.999999'"
_INSTANTS = "BETWEEN TIMESTAMPTZ '0001-01-01 00:00:00+00' AND TIMESTAMPTZ '9999-12-31 23:59:59.999999+00'"


@dataclass(frozen=True, slots=True)
class Cast:
    """`attempt` is SQL over the text `t`; `value`, over `t` and the staged attempt `v`, is the typed value.

    A text is refused where `value` is NULL, or, where there is `lost`, where that is true (or the value NULL). Both are
    kept apart because a test costs less than a CASE that hands on values, and AND and OR less than CASE: within a
    condition they look only at the rows that are still open. Every part is NULL for a NULL text.
    """

    attempt: str
    value: str | None  # None: the attempt is the value
    lost: str | None
    reason: str  # why a text was refused, for people


def cast(of: Type, t: str, v: str) -> Cast:
    """The exact cast to `of` of the text `t` (an SQL name), whose attempt is staged under the SQL name `v`."""
    match of.kind:
        case "str":
            return Cast(t, None, None, "")
        case "int":
            return _tested(of, t, v, r"\s*[+-]?\d+(\.0*)?\s*", "not a whole number of 64 bits")
        case "float":
            return _float(t, v)
        case "decimal":
            return _decimal(of, t, v)
        case "bool":
            value = f"CASE WHEN lower({t}) IN ('true', '1') THEN true WHEN lower({t}) IN ('false', '0') THEN false END"
            return Cast(value, None, None, "not true, false, 1 or 0")
        case "date":
            return _date(of, t, v) if of.format is None else _formatted_date(of.format, t, v)
        case "datetime" if of.format is not None:
            return _formatted_time(of, of.format, t, v)
        case "datetime":
            return _instant(of.zone, t, v) if of.zone else _wall_clock(t, v)
        case "uuid":
            hexes = r"[0-9A-Fa-f]{32}|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
            return _tested(of, t, v, hexes, "not a UUID")
        case "json":
            return _json(t)


def constant(of: Type, text: str) -> str:
    """A default (as `model.fields.default_text` wrote it) as a typed SQL constant."""
    if of.kind == "datetime" and of.zone and not ("+" in text or "-" in text[10:]):
        return f"timezone({literal(of.zone)}, TIMESTAMP {literal(text)})"
    return f"CAST({literal(text)} AS {of.sql})"


def _tested(of: Type, t: str, v: str, pattern: str, reason: str) -> Cast:
    """Exact where the value's own text is the text, or else where the whole text has a harmless form."""
    lost = f"({v}::VARCHAR <> {t} AND NOT {_matches(t, pattern)})"
    return Cast(f"TRY_CAST({t} AS {of.sql})", None, lost, reason)


def _float(t: str, v: str) -> Cast:
    """The nearest double, as everywhere; but what is too large for one is no infinity: only the word is."""
    number = _matches(t, r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*")
    word = _matches(t, r"(?i)\s*[+-]?(nan|inf|infinity)\s*")
    # blanks and '+' sort before '-': DuckDB reads '+-1' as -1
    odd = f"(isfinite({v}) AND {t} < '-' AND NOT {number})"
    lost = f"(contains({t}, '_') OR {odd} OR (NOT isfinite({v}) AND NOT {word}))"
    return Cast(f"TRY_CAST({t} AS DOUBLE)", None, lost, "not a number that a double holds")


def _decimal(of: Type, t: str, v: str) -> Cast:
    precision, scale = of.digits or (18, 4)
    if of.round:
        reason = f"not a decimal number of at most {precision - scale} digits before the point"
        return _tested(of, t, v, r"\s*[+-]?\d*(\.\d*)?\s*", reason)
    reason = f"not a decimal number of at most {precision - scale} digits before and {scale} after the point"
    return _tested(of, t, v, rf"\s*[+-]?\d*(\.\d{{0,{scale}}}0*)?\s*", reason)


def _date(of: Type, t: str, v: str) -> Cast:
    iso = _matches(t, rf"\s*{_DAY}([ T]{_MIDNIGHT})?\s*")
    plain = f"{v} {_FOUR_DIGITS} AND {t} LIKE '____-__-__' AND NOT contains({t}, ' ')"
    lost = f"(NOT ({plain}) AND NOT ({v} {_DATES} AND {iso}))"
    return Cast(f"TRY_CAST({t} AS DATE)", None, lost, "not a date like 2024-12-31")


def _wall_clock(t: str, v: str) -> Cast:
    iso = _matches(t, rf"\s*{_DAY}([ T]{_CLOCK})?\s*")
    shaped = f"{t} LIKE '____-__-__T__:__:__' AND {_plain(t)} AND {t} NOT LIKE '%Z'"
    lost = f"({v} NOT {_TIMES} OR (NOT ({shaped}) AND {v}::VARCHAR <> {t} AND NOT {iso}))"
    return Cast(f"TRY_CAST({t} AS TIMESTAMP)", None, lost, "not a time like 2024-12-31 23:59:59 without an offset")


def _instant(zone: str, t: str, v: str) -> Cast:
    """The attempt reads the wall clock alone; the offset, or the zone where the text has none, makes it an instant."""
    local = _in_zone(zone, v)
    shaped = f"{t} LIKE '____-__-__T__:__:__Z' AND {_plain(t)}"
    utc = _matches(t, rf"\s*{_DAY}[ T]{_CLOCK} ?Z\s*")
    bare = _matches(t, rf"\s*{_DAY}([ T]{_CLOCK})?\s*")
    offset = _matches(t, rf"\s*{_DAY}[ T]{_CLOCK}{_OFFSET}\s*")
    value = (
        f"CASE WHEN {v} NOT {_TIMES} THEN NULL WHEN {shaped} THEN {_in_zone('UTC', v)}"
        f" WHEN {v}::VARCHAR = {t} THEN {local}"
        f" WHEN {utc} THEN {_in_zone('UTC', v)} WHEN {bare} THEN {local}"
        f" WHEN {offset} AND TRY_CAST({t} AS TIMESTAMPTZ) {_INSTANTS} THEN TRY_CAST({t} AS TIMESTAMPTZ) END"
    )
    reason = "not an instant like 2024-12-31T23:59:59Z"
    if zone != "UTC":
        reason += f" (or a time without an offset that exists in {zone})"
    return Cast(f"TRY_CAST({t} AS TIMESTAMP)", value, None, reason)


def _plain(t: str) -> str:
    """What a shape leaves open: DuckDB reads '10: Z:00' as 10:00, '10:00:5.' as 10:00:05 and 24:00 as the next day."""
    return f"NOT contains({t}, ' ') AND NOT contains({t}, '.') AND {t} NOT LIKE '___________24%'"


def _formatted_date(pattern: str, t: str, v: str) -> Cast:
    iso = _matches(t, rf"\s*{_DAY}([ T]{_MIDNIGHT})?\s*")
    value = f"CASE WHEN {v} {_since(pattern, 'DATE')} THEN {v}{_or_iso(pattern, iso, f'TRY_CAST({t} AS DATE)')} END"
    return Cast(f"CAST(try_strptime({t}, {literal(pattern)}) AS DATE)", value, None, f"not a date as {pattern}")


def _formatted_time(of: Type, pattern: str, t: str, v: str) -> Cast:
    attempt = f"try_strptime({t}, {literal(pattern)})"
    value, typed, offset = v, f"TRY_CAST({t} AS TIMESTAMP)", ""
    if of.zone:
        value = _in_zone("UTC" if "%z" in pattern else of.zone, v)
        typed = f"TRY_CAST({t} AS TIMESTAMPTZ)"
        typed, offset = f"CASE WHEN {typed} {_INSTANTS} THEN {typed} END", _OFFSET
    if "%z" in pattern:
        attempt = f"timezone('UTC', {attempt})"
    iso = _matches(t, rf"\s*{_DAY}[ T]{_CLOCK}{offset}\s*")
    value = f"CASE WHEN {v} {_since(pattern, 'TIMESTAMP')} THEN {value}{_or_iso(pattern, iso, typed)} END"
    return Cast(attempt, value, None, f"not a time as {pattern}")


def _since(pattern: str, kind: str) -> str:
    """A four-digit year has four digits: strptime reads '01/02/24' as the year 24."""
    last = "9999-12-31" if kind == "DATE" else "9999-12-31 23:59:59.999999"
    return f"BETWEEN {kind} '{'1000' if '%Y' in pattern else '0001'}-01-01' AND {kind} '{last}'"


def _or_iso(pattern: str, matches: str, value: str) -> str:
    """Workbooks and Parquet hold typed dates, whose text is ISO: taken too, where no format could mean it otherwise."""
    return "" if pattern.startswith("%Y") else f" WHEN {matches} THEN {value}"


def _in_zone(zone: str, v: str) -> str:
    """The instant at which a clock in `zone` shows `v`; NULL for an hour that a change of clocks leaves out.

    NULL, too, for the first and last hours of all that are no year of four digits in UTC: few readers know such a one.

    Of an hour that comes twice, the second is meant (ICU's choice, as in DuckDB).
    """
    if zone in ("UTC", "Etc/UTC", "GMT"):
        return f"make_timestamptz(epoch_us({v}))"
    instant = f"timezone({literal(zone)}, {v})"
    return f"CASE WHEN timezone({literal(zone)}, {instant}) = {v} AND {instant} {_INSTANTS} THEN {instant} END"


def _json(t: str) -> Cast:
    """DuckDB's parser also takes NaN, comments and trailing commas: RFC 8259 does not. Kept as the text it is."""
    strings = r'"(\\.|[^"\\])*"'
    lax = r"(?i)nan|inf|/|,\s*[\]}]"
    bare = f"regexp_replace({t}, {literal(strings)}, '0', 'g')"
    opens = f"ltrim({t})[1] IN ('{{', '[')"
    value = f"CASE WHEN {opens} AND json_valid({t}) AND NOT regexp_matches({bare}, {literal(lax)}) THEN {t} END"
    return Cast(value, None, None, "not a JSON object or array")


def _matches(t: str, pattern: str) -> str:
    return f"regexp_full_match({t}, {literal(pattern)})"
