"""How long work may still be begun, for who is killed when the time is up: what has no time goes on another time."""

from __future__ import annotations

import math
from collections.abc import Callable

SecondsLeft = Callable[[], float]
"""From zero on nothing more is begun; what was begun before has time to end, which is not counted here."""


def forever() -> float:
    """On a machine of one's own."""
    return math.inf
