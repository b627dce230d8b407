"""F of the law, written down a second time: plain Python over texts, with none of the engine's code.

Given the standing versions with their pinned places in the order, the corrections and the contract of each load, it
says what every sink holds, what was rejected and why every other row is not there. Slow and obvious on purpose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal


@dataclass(frozen=True)
class Stands:
    """One standing version: its text, its place in the order, and what it was read with."""

    key: str
    text: str
    arrived_at: datetime
    most: int  # the contract's upper bound on `v`
    corrections: Mapping[int, tuple[str, str]] = field(default_factory=dict)


Row = tuple[int, int, str, int]
"""k, v, source file, source row."""


@dataclass
class Outcome:
    rows: set[Row] = field(default_factory=set)
    losers: set[tuple[int, int, str, int, str]] = field(default_factory=set)
    rejected: set[tuple[str, int]] = field(default_factory=set)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)


def parse(stands: Stands) -> tuple[list[tuple[int, int, int]], list[int], int]:
    """(accepted as (record, k, v), rejected records, filtered) of one file with header `k,v`."""
    accepted, rejected, filtered = [], [], 0
    for record, line in enumerate(stands.text.splitlines()[1:], 1):
        cells = list(stands.corrections.get(record, line.split(",")))
        if len(cells) != 2 or not all(_is_int(c) for c in cells) or int(cells[1]) > stands.most:
            rejected.append(record)
        elif int(cells[1]) < 0:
            filtered += 1
        else:
            accepted.append((record, int(cells[0]), int(cells[1])))
    return accepted, rejected, filtered


def _is_int(text: str) -> bool:
    return text.lstrip("-").isdigit()


def f(
    standing: Sequence[Stands],
    on_conflict: Literal["last", "first", "reject"],
    same_bytes: Literal["load", "skip"],
) -> Outcome:
    """What one clean run over the standing versions would leave behind."""
    outcome = Outcome()
    contested: dict[int, list[tuple[datetime, str, int, int]]] = {}
    seen: set[str] = set()
    for s in sorted(standing, key=lambda s: (s.arrived_at, s.key)):
        if same_bytes == "skip" and s.text in seen:
            outcome.skipped.add(s.key)
            continue
        seen.add(s.text)
        accepted, rejected, filtered = parse(s)
        for record, k, v in accepted:
            contested.setdefault(k, []).append((s.arrived_at, s.key, record, v))
        outcome.rejected |= {(s.key, record) for record in rejected}
        outcome.counts[s.key] = {
            "read": len(accepted) + len(rejected) + filtered,
            "accepted": len(accepted),
            "rejected": len(rejected),
            "filtered": filtered,
            "loaded": 0,
            "duplicate": 0,
            "conflict": 0,
        }
    for k, candidates in contested.items():
        best = max(candidates) if on_conflict == "last" else min(candidates)
        for candidate in candidates:
            _, key, record, v = candidate
            verdict = "loaded" if candidate == best else "duplicate" if v == best[3] else "conflict"
            outcome.counts[key][verdict] += 1
            if verdict == "loaded":
                outcome.rows.add((k, v, key, record))
            else:
                outcome.losers.add((k, v, key, record, verdict))
    return outcome
