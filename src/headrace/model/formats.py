"""Date and time formats as people write them (`DD/MM/YYYY HH:mm`), turned into strptime patterns.

Called by `model.fields` while a Record is constructed; engines only ever see the pattern.
"""

from __future__ import annotations

import re

# Longest first: MMMM before MM. Months are capital, minutes small.
_TOKENS = {
    "YYYY": "%Y",
    "MMMM": "%B",
    "MMM": "%b",
    "SSSSSS": "%f",
    "SSS": "%g",
    "YY": "%y",
    "MM": "%m",
    "DD": "%d",
    "HH": "%H",
    "hh": "%I",
    "mm": "%M",
    "ss": "%S",
    "A": "%p",
    "Z": "%z",
}
_SPLIT = re.compile("|".join(_TOKENS) + "|T|[A-Za-z]+|.", re.DOTALL)
_TIME = {"%H", "%I", "%M", "%S", "%f", "%g", "%p", "%z"}
_ALLOWED = {*_TOKENS.values(), "%%", "%j", "%e", "%-d", "%-m"}


def strptime_pattern(text: str, *, time: bool) -> str:
    """The strptime pattern for `text`; one that holds `%` already is checked and kept.

    Raises ValueError saying what is wrong: an unknown token, a part given twice, no year, month or day, or a time of
    day in a pure date (`time=False`): it would be cut off.
    """
    pattern = text if "%" in text else "".join(_token(t, text) for t in _SPLIT.findall(text))
    parts = re.findall(r"%-?.", pattern)
    for part in parts:
        if part not in _ALLOWED:
            raise ValueError(f"{part!r} is not a part of a date or time that is known")
        if parts.count(part) > 1 and part != "%%":
            hint = "; minutes are 'mm', months 'MM'" if part in ("%m", "%M") else ""
            raise ValueError(f"{part} comes twice in {text!r}{hint}")
    years, months, days = {"%Y", "%y"}, {"%m", "%b", "%B", "%-m"}, {"%d", "%e", "%-d"}
    whole = years & set(parts) and ("%j" in parts or (months & set(parts) and days & set(parts)))
    if not whole:
        raise ValueError(f"{text!r} does not name a whole date: a year, a month and a day")
    if not time and _TIME & set(parts):
        raise ValueError(f"{text!r} holds a time of day, which a date would lose")
    return pattern


def _token(token: str, text: str) -> str:
    if token in _TOKENS:
        return _TOKENS[token]
    if token.isalpha() and token != "T":
        raise ValueError(f"{token!r} in {text!r} is not known")
    return token
