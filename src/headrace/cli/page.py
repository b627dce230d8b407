"""Lines for a person's eyes: wrapped to a width, with what matters in red and reasons dimmed where colours show."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

RED, DIM, STRONG, PLAIN = "\033[31m", "\033[2m", "\033[1m", "\033[0m"

NARROW = 36
"""Columns that text beside other text needs to be read; with fewer it stands below."""


@dataclass(frozen=True, slots=True)
class Page:
    """How wide it is, and whether it has colours."""

    width: int
    colours: bool = False

    @staticmethod
    def of(stream: TextIO) -> Page:
        """As wide as the terminal; 160 where there is none."""
        plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
        return Page(max(40, shutil.get_terminal_size((160, 24)).columns), stream.isatty() and not plain)

    def red(self, text: str) -> str:
        return self._in(RED, text)

    def dim(self, text: str) -> str:
        return self._in(DIM, text)

    def strong(self, text: str) -> str:
        return self._in(STRONG, text)

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{PLAIN}" if self.colours and text else text

    def wrapped(self, first: str, text: str, below: int | None = None) -> list[str]:
        """`text` behind `first`, going on `below` that many columns (by default where it began)."""
        hang = " " * (len(first) if below is None else below)
        # Names are looked up and copied, so they are never broken: better a line that is too long.
        whole = textwrap.TextWrapper(
            self.width, initial_indent=first, subsequent_indent=hang, break_long_words=False, break_on_hyphens=False
        )
        return whole.wrap(text) or [first.rstrip()]

    def beside(self, left: str, text: str, column: int, below: int) -> Iterator[str]:
        """`left`, and dimmed `text` from `column` on; where that is too narrow, under it, `below` columns in."""
        if text and len(left) <= column and self.width - column >= NARROW:
            first, *more = self.wrapped(" " * column, text)
            yield left.ljust(column) + self.dim(first[column:])
            yield from map(self.dim, more)
            return
        yield left.rstrip()
        if text:
            yield from map(self.dim, self.wrapped(" " * below, text))
