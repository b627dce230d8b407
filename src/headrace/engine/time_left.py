"""How much time whoever calls has left: for work that is given back, or put off, before its function is killed."""

from __future__ import annotations

import math
from collections.abc import Callable

SecondsLeft = Callable[[], float]
RESERVE = 30.0
"""Seconds that must be left for a piece of work to be begun: another time it goes on where it was."""


def forever() -> float:
    """On a machine of one's own."""
    return math.inf
