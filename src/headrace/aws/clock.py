"""Time as an argument, for the parts of this home: tests give them a clock that stands still instead."""

from __future__ import annotations

from datetime import UTC, datetime


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present instant, in UTC with microseconds."""
        return datetime.now(UTC)
