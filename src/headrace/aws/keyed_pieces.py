"""Files of a revision cut into pieces that are sent one after the other, so that work can be taken up where it ended.

A place in the files is a number of rows, counted through them in the order given: it means the same to whoever comes
next. Used by `aws.keyed` alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from headrace.model.loads import DataFile
from headrace.sinks.delta import Span

FIRST_ROWS, PIECE_ROWS = 500, 50_000
"""Rows between two marks, at first and at most."""

PIECE_SECONDS = 10.0
"""How long a piece should take. A table takes units and not rows: of 400 KB each, one partition key takes two or three
rows a second (1,000 units; Developer Guide, "Partition key design"), a new table of small ones 4,000."""

GROUP_BYTES = 512 * 1024 * 1024
"""Bytes of files that a rebuild has on the disk at once."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole files, or a span of one; `end` is the place behind it."""

    files: tuple[DataFile, ...]
    span: Span | None
    end: int


class Pace:
    """How many rows the next piece should have, by how long the last whole one took; `seconds` is what that was."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._began = clock, clock()
        self.rows, self.seconds = min(FIRST_ROWS, PIECE_ROWS), 0.0

    def begin(self) -> None:
        """A piece is about to be sent."""
        self._began = self._clock()

    def end(self, rows: int) -> None:
        """It is through. Of a smaller one most is the beginning: it tells nothing of the next."""
        self.seconds = self._clock() - self._began
        if rows >= self.rows:
            wanted = int(rows * PIECE_SECONDS / max(self.seconds, 0.001))
            self.rows = max(min(wanted, 10 * self.rows, PIECE_ROWS), min(FIRST_ROWS, PIECE_ROWS))


def pieces(files: Sequence[DataFile], pace: Pace, done: int = 0) -> Iterator[Piece]:
    """The pieces from the place `done` on, each as the pace is when it is asked for. Files without rows are in none."""
    begin = held = 0
    whole: list[DataFile] = []
    for file in files:
        end = begin + file.rows
        if end > max(done, begin):
            first = max(done - begin, 0)
            if first or file.rows > pace.rows:
                if whole:
                    yield Piece(tuple(whole), None, begin)
                    whole, held = [], 0
                while first < file.rows:
                    beyond = min(first + pace.rows, file.rows)
                    yield Piece((file,), (first, beyond), begin + beyond)
                    first = beyond
            else:
                whole.append(file)
                held += file.rows
                if held >= pace.rows:
                    yield Piece(tuple(whole), None, end)
                    whole, held = [], 0
        begin = end
    if whole:
        yield Piece(tuple(whole), None, begin)


def groups(files: Sequence[DataFile]) -> Iterator[list[DataFile]]:
    """The files in their order, as many at a time as may be on the disk together, one at least."""
    group: list[DataFile] = []
    size = 0
    for file in files:
        if group and size + file.size > GROUP_BYTES:
            yield group
            group, size = [], 0
        group.append(file)
        size += file.size
    if group:
        yield group


def related(files: Sequence[DataFile], others: Sequence[DataFile]) -> list[DataFile]:
    """Those of the others that may hold the same rows: they hold rows of the same loads."""
    loads = {load for file in files for load in file.loads}
    return [file for file in others if not loads.isdisjoint(file.loads)]
