"""Time as an argument."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Time as an argument: tests advance it, nothing sleeps."""

    def now(self) -> datetime:
        """The present instant, in UTC with microseconds."""
        ...
