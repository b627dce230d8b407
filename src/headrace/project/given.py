"""What a caller may give instead of a list or an instant: one file, a time as text. For the verbs of Project."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from headrace.engine.home import Home
from headrace.model.errors import UsageError
from headrace.model.times import since_of

T = TypeVar("T", str, str | Path)

Paths = str | Path | Iterable[str | Path]
"""Local files or folders: one, or several."""

Since = datetime | timedelta | str | None
"""An instant, a span back from now, or either as text: "2025-05-01", "2 hours"."""


def listed(given: T | Iterable[T]) -> list[T]:
    """One name is a list of one: a text is never taken for its letters."""
    return [given] if isinstance(given, str | Path) else list(given)


def instant(home: Home, since: Since) -> datetime | None:
    """When `since` was. Raises UsageError HR100 for a text that is no time."""
    if isinstance(since, str):
        try:
            since = since_of(since)
        except ValueError as exc:
            raise UsageError("HR100", "since", str(exc)) from None
    return home.clock.now() - since if isinstance(since, timedelta) else since
