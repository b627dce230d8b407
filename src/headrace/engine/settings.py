"""How much a target may use, and how long it waits and keeps: numbers from `headrace.toml`, never logic.

Nothing here changes a row. Read by the engine and by the targets; `[targets.NAME]` holds keys of these names.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from headrace.model.errors import DefinitionError
from headrace.model.words import UNITS, span_seconds

PLACES = frozenset({"kind", "root"})
"""Keys of `[targets.NAME]` that say where, not how much: read by the project, passed over here."""

OWN_MEMORY = 220 * 10**6
"""Resident bytes of a worker and its child besides DuckDB's, PyIceberg's 100 MB included."""

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def _setting(default: Any, kind: str, low: float = 0) -> Any:
    return field(default=default, metadata={"kind": kind, "low": low})


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits of one target. Sizes are bytes, spans seconds; `from_mapping` also takes "64 MB" and "2 hours".

    `memory_limit` covers one worker and its child together: DuckDB gets what is left of it beside `OWN_MEMORY`, and
    spills to disk beyond that; it overshoots its own share by about a tenth.
    """

    memory_limit: str = _setting("1.3GB", "memory", 64 * 10**6)
    threads: int = _setting(2, "count", 1)
    workers: int = _setting(1, "count", 1)

    batch_files: int = _setting(1000, "count", 1)  # most objects that are staged by one query
    batch_bytes: int = _setting(64 * 10**6, "size", 1)  # and most bytes; a bigger object is a batch of its own

    scratch_bytes: int = _setting(0, "size")  # most that a copy of one object may take, or unpack to; 0: all there is

    revision_bytes: int = _setting(0, "size")  # about as many staged bytes as one revision takes; 0: all that wait

    looks: int = _setting(1, "count", 1)  # objects looked at at once: more where that means waiting for a network

    child_timeout: float = _setting(3600.0, "span", 0.01)  # one call; a child that takes longer is killed
    child_memory: int = _setting(0, "size")  # private memory of a child; 0: memory_limit and 2 GB on top
    child_file_size: int = _setting(64 * 10**9, "size", 10**6)  # largest file that a child may write
    child_calls: int = _setting(10_000, "count", 1)  # then a fresh child takes over
    child_growth: int = _setting(256 * 10**6, "size", 10**6)  # resident growth between calls that makes it be replaced

    visibility: float = _setting(300.0, "span", 0.01)  # besides what its job may take, a lease lives this long
    max_receives: int = _setting(3, "count", 1)  # deliveries before an object that only faults is called dead
    backoff: float = _setting(1.0, "span")  # wait after the first fault; doubles with each
    backoff_limit: float = _setting(300.0, "span")
    scan_every: float = _setting(60.0, "span", 0.01)  # reconciling scan while `up` runs

    keep_retired: float = _setting(7 * 86400.0, "span")  # files that no revision needs, once no snapshot does either
    keep_retired_bytes: int = _setting(20 * 10**9, "size")  # beyond this the oldest go earlier
    keep_rejected: float = _setting(90 * 86400.0, "span")  # quarantine of loads that no longer stand
    keep_rejected_bytes: int = _setting(10 * 10**9, "size")
    keep_logs: int = _setting(5, "count", 1)  # rotated log files
    log_bytes: int = _setting(16 * 10**6, "size", 10**4)  # size at which a log is rotated

    @staticmethod
    def from_mapping(raw: Mapping[str, Any], which: str = "headrace.toml") -> Settings:
        """Settings from a TOML table. Raises DefinitionError HR110 for an unknown key, HR111 for a bad value."""
        known = {f.name: f for f in fields(Settings)}
        values: dict[str, Any] = {}
        for name, value in raw.items():
            if name in PLACES:
                continue
            if name not in known:
                raise _unknown(which, name, known)
            meta = known[name].metadata
            values[name] = _value(which, name, value, meta["kind"], meta["low"])
        return Settings(**values)

    @property
    def memory_bytes(self) -> int:
        """`memory_limit` as a number."""
        return int(parse_size(self.memory_limit))

    @property
    def engine_memory(self) -> str:
        """DuckDB's share of `memory_limit`: the processes themselves, with the libraries they load, need the rest."""
        return f"{max(self.memory_bytes - OWN_MEMORY, self.memory_bytes // 2)}B"

    @property
    def child_memory_bytes(self) -> int:
        """The limit of a child's private memory; above DuckDB's own, so that DuckDB spills or fails first."""
        return self.child_memory or self.memory_bytes + 2 * 10**9

    def delay(self, receives: int) -> float:
        """Seconds to wait after the `receives`-th delivery ended in a fault: doubling, up to `backoff_limit`."""
        return min(self.backoff * float(2 ** min(max(receives - 1, 0), 30)), self.backoff_limit)


def parse_size(text: str | int) -> int:
    """Bytes of "64 MB", "1.5GB", "512MiB" or a plain number. Raises ValueError."""
    if isinstance(text, bool):
        raise ValueError(text)
    if isinstance(text, int):
        return text
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2].upper() not in _UNITS:
        raise ValueError(text)
    return int(float(match[1]) * _UNITS[match[2].upper()])


def _unknown(which: str, name: str, known: Mapping[str, Any]) -> DefinitionError:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"settings are {', '.join(sorted(known))}"
    return DefinitionError("HR110", which, f"{name!r} is not a setting", hint)


_EXPECTED = {
    "memory": 'a size such as "1.3GB"',
    "size": 'a number of bytes or a size such as "64 MB"',
    "span": f'a number of seconds or a span such as "2 hours" ({UNITS})',
    "count": "a whole number",
}


def _value(which: str, name: str, value: Any, kind: str, low: float) -> Any:
    try:
        parsed = _parsed(value, kind)
    except (ValueError, TypeError) as exc:
        raise DefinitionError("HR111", which, f"{name} = {value!r} is not {_EXPECTED[kind]}", "correct it") from exc
    if parsed < low:
        raise DefinitionError("HR111", which, f"{name} = {value!r} is too small", f"the least is {low:g}")
    if kind == "memory":
        return f"{parsed}B" if isinstance(value, int) else value  # DuckDB wants a unit
    return parsed


def _parsed(value: Any, kind: str) -> int | float:
    match kind:
        case "memory" | "size":
            return parse_size(value)
        case "span":
            return span_seconds(value) if isinstance(value, str) else float(_number(value))
        case "count":
            return _number(value, whole=True)
        case _:
            raise AssertionError(kind)


def _number(value: Any, whole: bool = False) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise ValueError(value)
    return value
