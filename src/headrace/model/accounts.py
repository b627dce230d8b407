"""Accounting that adds up: what the counts of a load say, and what its files hold. Every ledger refuses anything else.

The counts are told by whoever staged a load, the rows of a file by whoever wrote it: here they must agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from headrace.model.errors import InfrastructureError
from headrace.model.loads import Counts, DataFile, FileKind, Staged


@dataclass(frozen=True, slots=True)
class Census:
    """How many loads are in each state that is not history, and what is to be said of those that stand."""

    states: Mapping[str, int]
    outdated: int  # of another contract than the present one
    stale: int
    held: int  # retractions that wait for a person

    @property
    def standing(self) -> int:
        """Keys under which something stands, skipped twins included."""
        return sum(self.states.get(state, 0) for state in ("decided", "standing", "skipped"))


def check_load(load: str, counts: Counts, held: Mapping[FileKind, int]) -> None:
    """Raise HR520 unless every row that was read is counted once, and the files hold just the rows that are counted."""
    if not (counts.staged_exactly and counts.decided_exactly):
        raise _wrong(load, str(counts))
    expected: dict[FileKind, int] = {
        "data": counts.loaded,
        "losers": counts.duplicate + counts.conflict,
        "rejected": counts.rejected,
    }
    found = {kind: held.get(kind, 0) for kind in expected}
    if found != expected:
        raise _wrong(load, f"its files hold {found}, its counts say {expected}")


def check_files(files: Iterable[DataFile]) -> None:
    """Raise HR520 unless the rows of each file are those of its loads."""
    for file in files:
        if sum(file.loads.values()) != file.rows:
            raise _wrong(file.path, f"it holds {file.rows} rows, its loads have {sum(file.loads.values())}")


def check_staged(staged: Sequence[Staged], files: Sequence[DataFile]) -> None:
    """Raise HR520 unless a staged batch adds up: the counts, the files, and the one with the other."""
    check_files(files)
    held: dict[str, Counter[FileKind]] = {s.load: Counter() for s in staged}
    for file in files:
        for load, rows in file.loads.items():
            if load not in held:
                raise _wrong(file.path, f"it holds rows of {load}, which was not staged with it")
            held[load][file.kind] += rows
    for s in staged:
        check_load(s.load, s.counts, held[s.load])


def _wrong(which: str, found: str) -> InfrastructureError:
    advice = "report this; `headrace replay` reads its objects anew"
    return InfrastructureError("HR520", which, f"the accounting does not add up: {found}", advice)
