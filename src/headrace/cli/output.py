"""What commands print: data on stdout, words on stderr, the same facts as text or as JSON.

Text is for people and may change; `--json` has the shapes of docs/reference/commands.md and may not.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from headrace.model.errors import HeadraceError
from headrace.model.words import count

_ABOUT = (
    "sql get explain check run up status history show logs doctor quarantine dlq replay retract rebuild compact "
    "plan deploy verify invoke destroy"
)
_HINT = re.compile(rf"(?<![\w/.-])headrace (?=(?:{'|'.join(_ABOUT.split())})\b(?!:))")
"""A command in a text, up to its name, if it is there to be typed: `headrace deploy: …` tells of this one."""


class Output:
    """The two streams of one command. `as_json` turns `emit` and `table` into JSON, and leaves words alone."""

    def __init__(self, as_json: bool = False, place: Sequence[str] = ()) -> None:
        self.as_json = as_json
        self._place = shlex.join(place)  # --project, if the command was given one

    def say(self, text: str) -> None:
        """Words for a person: progress, hints, warnings. Never data."""
        sys.stdout.flush()
        sys.stderr.write(self.placed(text) + "\n")
        sys.stderr.flush()

    def placed(self, text: str) -> str:
        """The commands that a text names, about the project that this one was given."""
        if not self._place or "--project" in text:
            return text
        return _HINT.sub(lambda match: f"{match[0]}{self._place} ", text)

    def data(self, text: str) -> None:
        """One line of data as it is."""
        sys.stdout.write(text + "\n")

    def error(self, exc: HeadraceError) -> None:
        for one in (exc, *exc.others):
            self.say(str(one))

    def emit(self, value: Any) -> None:
        """A value as JSON, whatever the mode."""
        sys.stdout.write(to_json(value) + "\n")

    def table(
        self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None, *, plain: bool = False
    ) -> None:
        """Rows as a JSON list of objects, or as aligned text with a header (nothing at all without rows).

        `plain` rows are a table's: numbers are no counts and get no separators, and no number or time loses a digit.
        """
        if self.as_json:
            self.emit(list(rows))
        elif rows:
            width = shutil.get_terminal_size((160, 24)).columns if sys.stdout.isatty() else None
            for line in aligned(rows, columns or list(rows[0]), width, plain):
                self.data(line)

    @property
    def on_terminal(self) -> bool:
        """Whether bars may be drawn: words go to a person's terminal."""
        return sys.stderr.isatty() and not self.as_json and os.environ.get("TERM") != "dumb"


def to_json(value: Any) -> str:
    """Exact JSON: decimals keep their digits, times are RFC 3339, what is no number in JSON becomes null."""
    import msgspec

    return msgspec.json.Encoder(decimal_format="number", enc_hook=str).encode(value).decode("utf-8")


def aligned(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], width: int | None, plain: bool = False
) -> list[str]:
    """Text lines of a table: numbers to the right, the rest to the left, cut to `width` where one is given."""
    cells = [[_cell(row.get(c), plain) for c in columns] for row in rows]
    right = [all(isinstance(r.get(c), int | float | Decimal | None) for r in rows) for c in columns]
    sizes = [max(len(c), *(len(line[i]) for line in cells)) for i, c in enumerate(columns)]
    made = []
    for line in [list(columns), *cells]:
        parts = [t.rjust(n) if r else t.ljust(n) for t, n, r in zip(line, sizes, right, strict=True)]
        text = "  ".join(parts).rstrip()
        made.append(text if width is None or len(text) <= width else text[: width - 1] + "…")
    return made


def _cell(value: Any, plain: bool) -> str:
    match value:
        case None:
            return ""
        case int() if not plain and not isinstance(value, bool):
            return f"{value:,}"
        case datetime():
            instant = value.astimezone(UTC) if value.tzinfo else value
            return _fraction(instant.isoformat(" ", "auto" if plain else "seconds").replace("+00:00", "Z"))
        case _:
            return written(value).replace("\n", "⏎")


def _fraction(time: str) -> str:
    """`12:00:00.100000Z` as `12:00:00.1Z`."""
    whole, dot, rest = time.partition(".")
    zone = "Z" * rest.endswith("Z")
    return whole + dot + rest.removesuffix("Z").rstrip("0") + zone


def written(value: Any) -> str:
    """A value as text of its own language, never as Python's: lists and structs as JSON, bytes as base64."""
    match value:
        case bool():
            return "true" if value else "false"
        case list() | tuple() | dict():
            return to_json(value)
        case bytes():
            return b64encode(value).decode("ascii")
        case Decimal():
            return f"{value:f}"
        case _:
            return str(value)


def size(n: int) -> str:
    """Bytes for people: `512 B`, `1.4 MB`."""
    value = float(n)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


__all__ = ["Output", "aligned", "count", "size", "to_json", "written"]
