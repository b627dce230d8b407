"""Words for numbers of things, and spans of time as people write them."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "ms": 0.001}
_SECONDS |= {"sec": 1.0, "min": 60.0, "second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0, "week": 604800.0}
UNITS = "ms, s, min, hours, days and weeks"


def count(n: int, noun: str) -> str:
    """`1 file`, `1,200 files`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def some(names: Sequence[str], most: int = 5) -> str:
    """`'a.bin', 'b.bin' and 7 more`"""
    told = ", ".join(map(repr, names[:most]))
    return told if len(names) <= most else f"{told} and {len(names) - most:,} more"


def span_seconds(text: str) -> float:
    """Seconds of "2 hours", "15 min", "90s", "500 ms", or of a bare number. Raises ValueError, naming the units."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text.lower())
    unit = (match[2] or "s") if match else ""
    unit = unit if unit in _SECONDS else unit.removesuffix("s")
    if match is None or unit not in _SECONDS:
        raise ValueError(f"{text!r} is no span of time; units are {UNITS}")
    return float(match[1]) * _SECONDS[unit]
