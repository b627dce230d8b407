"""F of the law, written down a second time: plain Python over texts, with none of the engine's code.

Given the standing versions with their pinned places in the order, the corrections and the contract of each load, it
says what every sink holds, what was rejected and why every other row is not there. Slow and obvious on purpose.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Identity = Literal["key", "row", "none"]
"""What makes two rows contest each other: equal keys, equal rows (`dedupe="row"`), or nothing."""

Cells = tuple[str, str]
"""k and v of a corrected record, as text."""

Row = tuple[int, int, int | None, str, int]
"""k, v, w, source file, source row."""


@dataclass(frozen=True)
class Stands:
    """One standing version: its text, its place in the order, and what it was read with.

    `most` is the contract's upper bound on `v`; a `wide` contract has a column `w` that a file may lack.
    """

    key: str
    text: str
    arrived_at: datetime
    most: int
    wide: bool = False
    corrections: Mapping[int, Cells] = field(default_factory=dict)


@dataclass
class Outcome:
    """What should be there. `rejected` holds (source file, source row); `counts` are by key."""

    rows: set[Row] = field(default_factory=set)
    losers: set[tuple[int, int, int | None, str, int, str]] = field(default_factory=set)
    rejected: set[tuple[str, int]] = field(default_factory=set)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)


Accepted = tuple[int, int, int, int | None]
"""Record, k, v, w."""


def parse(stands: Stands) -> tuple[list[Accepted], list[int], int]:
    """(accepted rows, rejected records, filtered) of one file with header `k,v` or `k,v,w`."""
    accepted, rejected, filtered = [], [], 0
    header, *lines = stands.text.splitlines()
    width = len(header.split(","))
    for record, line in enumerate(lines, 1):
        cells: list[str] = line.split(",")
        if record in stands.corrections:
            cells = [*stands.corrections[record], ""][:width]
        w = cells[2] if width == 3 and len(cells) == 3 and stands.wide else ""
        if len(cells) != width or not (_is_int(cells[0]) and _is_int(cells[1]) and (w == "" or _is_int(w))):
            rejected.append(record)
        elif int(cells[1]) > stands.most:
            rejected.append(record)
        elif int(cells[1]) < 0:
            filtered += 1
        else:
            accepted.append((record, int(cells[0]), int(cells[1]), int(w) if w else None))
    return accepted, rejected, filtered


def _is_int(text: str) -> bool:
    return text.lstrip("-").isdigit()


def f(
    standing: Sequence[Stands],
    on_conflict: Literal["last", "first", "reject"] = "last",
    same_bytes: Literal["load", "alert", "skip"] = "alert",
    identity: Identity = "key",
) -> Outcome:
    """What one clean run over the standing versions would leave behind."""
    outcome = Outcome()
    contested: dict[Hashable, list[tuple[datetime, str, int, Accepted]]] = {}
    seen: set[str] = set()
    for s in sorted(standing, key=lambda s: (s.arrived_at, s.key)):
        if same_bytes == "skip" and s.text in seen:
            outcome.skipped.add(s.key)
            continue
        seen.add(s.text)
        accepted, rejected, filtered = parse(s)
        for row in accepted:
            record, k, v, w = row
            what: Hashable = {"key": k, "row": (k, v, w), "none": (s.key, record)}[identity]
            contested.setdefault(what, []).append((s.arrived_at, s.key, record, row))
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
    for candidates in contested.values():
        best = max(candidates) if identity == "key" and on_conflict == "last" else min(candidates)
        for candidate in candidates:
            _, key, record, (_, k, v, w) = candidate
            equal = (k, v, w) == best[3][1:]
            verdict = "loaded" if candidate == best else "duplicate" if equal else "conflict"
            outcome.counts[key][verdict] += 1
            if verdict == "loaded":
                outcome.rows.add((k, v, w, key, record))
            else:
                outcome.losers.add((k, v, w, key, record, verdict))
    return outcome
