"""Exact casts: SQL that turns the text of a cell into a typed value, or into NULL where something would be lost.

DuckDB's TRY_CAST rounds, truncates and drops offsets without a word. Each cast here is in two halves, so that the
engine does the work once: `attempt` (a TRY_CAST over the text) is staged as a column `v`, `exact` keeps it only where
its text says just that. The first branch of `exact` is the cheap one that nearly every cell takes; a regular
expression only sees the others. Called by `contract.query`; docs/reference has the table of what is accepted.
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
_TIMES = "BETWEEN TIMESTAMP '0001-01-01' AND TIMESTAMP '9999-12-31 23:59:59.999999'"


@dataclass(frozen=True, slots=True)
class Cast:
    """`attempt` is SQL over the text, `exact` over the text and the staged attempt; both NULL for a NULL text."""

    attempt: str | None
    exact: str
    reason: str  # why a text was refused, for people


def cast(of: Type, t: str, v: str) -> Cast:
    """The exact cast to `of` of the text `t` (an SQL name), whose attempt is staged under the SQL name `v`."""
    match of.kind:
        case "str":
            return Cast(None, t, "")
        case "int":
            return _guarded(of, t, v, r"\s*[+-]?\d+(\.0*)?\s*", "not a whole number of 64 bits")
        case "float":
            return _float(t, v)
        case "decimal":
            return _decimal(of, t, v)
        case "bool":
            exact = f"CASE WHEN lower({t}) IN ('true', '1') THEN true WHEN lower({t}) IN ('false', '0') THEN false END"
            return Cast(None, exact, "not true, false, 1 or 0")
        case "date":
            return _date(of, t, v)
        case "datetime":
            return _instant(of, t, v) if of.zone else _wall_clock(of, t, v)
        case "uuid":
            hexes = r"[0-9A-Fa-f]{32}|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
            return _guarded(of, t, v, hexes, "not a UUID")
        case "json":
            return _json(t)


def constant(of: Type, text: str) -> str:
    """A default (as `model.fields.default_text` wrote it) as a typed SQL constant."""
    if of.kind == "datetime" and of.zone and not _has_offset(text):
        return f"timezone({literal(of.zone)}, TIMESTAMP {literal(text)})"
    return f"CAST({literal(text)} AS {of.sql})"


def _has_offset(text: str) -> bool:
    return "+" in text or "-" in text[10:]


def _guarded(of: Type, t: str, v: str, pattern: str, reason: str) -> Cast:
    """Kept where the value's own text is the text, or else where the whole text has a harmless form."""
    exact = f"CASE WHEN {v}::VARCHAR = {t} THEN {v} WHEN regexp_full_match({t}, {literal(pattern)}) THEN {v} END"
    return Cast(f"TRY_CAST({t} AS {of.sql})", exact, reason)


def _float(t: str, v: str) -> Cast:
    """The nearest double, as everywhere. What is too large for one is no infinity; only the word is."""
    exact = (
        f"CASE WHEN isfinite({v}) AND NOT contains({t}, '_') THEN {v}"
        rf" WHEN regexp_full_match({t}, '\s*[+-]?(nan|inf|infinity)\s*', 'i') THEN {v} END"
    )
    return Cast(f"TRY_CAST({t} AS DOUBLE)", exact, "not a number that a double holds")


def _decimal(of: Type, t: str, v: str) -> Cast:
    precision, scale = of.digits or (18, 4)
    if of.round:
        reason = f"not a decimal number of at most {precision - scale} digits before the point"
        return _guarded(of, t, v, r"\s*[+-]?\d*(\.\d*)?\s*", reason)
    fraction = rf"(\.\d{{0,{scale}}}0*)?"
    reason = f"not a decimal number of at most {precision - scale} digits before and {scale} after the point"
    return _guarded(of, t, v, rf"\s*[+-]?\d*{fraction}\s*", reason)


def _date(of: Type, t: str, v: str) -> Cast:
    iso = rf"\s*{_DAY}([ T]{_MIDNIGHT})?\s*"
    if of.format is None:
        exact = (
            f"CASE WHEN {v} NOT {_DATES} THEN NULL WHEN {v}::VARCHAR = {t} THEN {v}"
            f" WHEN regexp_full_match({t}, {literal(iso)}) THEN {v} END"
        )
        return Cast(f"TRY_CAST({t} AS DATE)", exact, "not a date like 2024-12-31")
    exact = (
        f"CASE WHEN {v} {_formatted('DATE', of.format)} THEN {v}"
        f"{_iso_fallback(of.format, t, iso, f'TRY_CAST({t} AS DATE)')} END"
    )
    return Cast(f"TRY_CAST(try_strptime({t}, {literal(of.format)}) AS DATE)", exact, f"not a date as {of.format}")


def _formatted(kind: str, pattern: str) -> str:
    """A four-digit year has four digits: strptime reads '01/02/24' as the year 24."""
    first = "1000" if "%Y" in pattern else "0001"
    last = "9999-12-31" if kind == "DATE" else "9999-12-31 23:59:59.999999"
    return f"BETWEEN {kind} '{first}-01-01' AND {kind} '{last}'"


def _iso_fallback(pattern: str, t: str, iso: str, value: str) -> str:
    """Workbooks and Parquet hold typed dates, whose text is ISO: taken too, where no format could mean it otherwise."""
    if pattern.startswith("%Y"):
        return ""
    return f" WHEN regexp_full_match({t}, {literal(iso)}) THEN {value}"


def _wall_clock(of: Type, t: str, v: str) -> Cast:
    iso = rf"\s*{_DAY}([ T]{_CLOCK})?\s*"
    if of.format is None:
        exact = (
            f"CASE WHEN {v} NOT {_TIMES} THEN NULL WHEN {v}::VARCHAR = {t} THEN {v}"
            f" WHEN regexp_full_match({t}, {literal(iso)}) THEN {v} END"
        )
        return Cast(f"TRY_CAST({t} AS TIMESTAMP)", exact, "not a time like 2024-12-31 23:59:59 without an offset")
    exact = (
        f"CASE WHEN {v} {_formatted('TIMESTAMP', of.format)} THEN {v}"
        f"{_iso_fallback(of.format, t, iso, f'TRY_CAST({t} AS TIMESTAMP)')} END"
    )
    return Cast(f"try_strptime({t}, {literal(of.format)})", exact, f"not a time as {of.format}")


def _instant(of: Type, t: str, v: str) -> Cast:
    """The attempt reads the wall clock alone; the offset, or the zone where the text has none, makes it an instant."""
    zone = of.zone or "UTC"
    local = _in_zone(zone, v)
    bare, utc = rf"\s*{_DAY}([ T]{_CLOCK})?\s*", rf"\s*{_DAY}[ T]{_CLOCK} ?Z\s*"
    offset = rf"\s*{_DAY}[ T]{_CLOCK} ?{_OFFSET}\s*"
    reason = "not an instant like 2024-12-31T23:59:59Z"
    if zone != "UTC":
        reason += f" (or a time without an offset that exists in {zone})"
    if of.format is None:
        exact = (
            f"CASE WHEN {v} NOT {_TIMES} THEN NULL WHEN {v}::VARCHAR = {t} THEN {local}"
            f" WHEN regexp_full_match({t}, {literal(utc)}) THEN {_in_zone('UTC', v)}"
            f" WHEN regexp_full_match({t}, {literal(bare)}) THEN {local}"
            f" WHEN regexp_full_match({t}, {literal(offset)}) THEN TRY_CAST({t} AS TIMESTAMPTZ) END"
        )
        return Cast(f"TRY_CAST({t} AS TIMESTAMP)", exact, reason)
    value = _in_zone("UTC", v) if "%z" in of.format else local
    exact = (
        f"CASE WHEN {v} {_formatted('TIMESTAMP', of.format)} THEN {value}"
        f"{_iso_fallback(of.format, t, offset, f'TRY_CAST({t} AS TIMESTAMPTZ)')} END"
    )
    attempt = f"try_strptime({t}, {literal(of.format)})"
    if "%z" in of.format:
        attempt = f"timezone('UTC', {attempt}::TIMESTAMPTZ)"
    return Cast(attempt, exact, f"not an instant as {of.format}")


def _in_zone(zone: str, v: str) -> str:
    """The instant at which a clock in `zone` shows `v`; NULL for an hour that a change of clocks leaves out."""
    if zone in ("UTC", "Etc/UTC", "GMT"):
        return f"make_timestamptz(epoch_us({v}))"
    instant = f"timezone({literal(zone)}, {v})"
    return f"CASE WHEN timezone({literal(zone)}, {instant}) = {v} THEN {instant} END"


def _json(t: str) -> Cast:
    """DuckDB's parser also takes NaN, comments and trailing commas: RFC 8259 does not. Kept as the text it is."""
    strings = r'"(\\.|[^"\\])*"'
    lax = r"(?i)nan|inf|/|,\s*[\]}]"
    bare = f"regexp_replace({t}, {literal(strings)}, '0', 'g')"
    opens = f"ltrim({t})[1] IN ('{{', '[')"
    exact = f"CASE WHEN {opens} AND json_valid({t}) AND NOT regexp_matches({bare}, {literal(lax)}) THEN {t} END"
    return Cast(None, exact, "not a JSON object or array")
