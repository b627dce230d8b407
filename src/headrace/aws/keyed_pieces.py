"""Files of a revision cut into pieces that are sent one after the other, so that work can be taken up where it ended.

A place in the files is a number of rows, counted through them in the order given: it means the same to whoever comes
next. Used by `aws.keyed` alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from headrace.model.loads import DataFile
from headrace.sinks.delta import Span

PIECE_ROWS = 50_000
"""Rows between two marks: about ten seconds at the 4,000 items/s that a new on-demand table takes."""

GROUP_BYTES = 512 * 1024 * 1024
"""Bytes of files that a rebuild has on the disk at once."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole files, or a span of one; `end` is the place behind it."""

    files: tuple[DataFile, ...]
    span: Span | None
    end: int


def pieces(files: Sequence[DataFile], done: int = 0) -> Iterator[Piece]:
    """The pieces from the place `done` on. Files without rows are in none."""
    begin = held = 0
    whole: list[DataFile] = []
    for file in files:
        end = begin + file.rows
        if end > max(done, begin):
            lo = max(done - begin, 0)
            if lo or file.rows > PIECE_ROWS:
                if whole:
                    yield Piece(tuple(whole), None, begin)
                    whole, held = [], 0
                for first in range(lo, file.rows, PIECE_ROWS):
                    beyond = min(first + PIECE_ROWS, file.rows)
                    yield Piece((file,), (first, beyond), begin + beyond)
            else:
                whole.append(file)
                held += file.rows
                if held >= PIECE_ROWS:
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
