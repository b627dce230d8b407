"""Events on their way to a worker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Protocol

from headrace.model.loads import (
    Event,
    Lease,
)


class Queue(Protocol):
    """Events that wait, delivered at least once, in no promised order."""

    def put(self, events: Iterable[Event], delay: timedelta = timedelta(0)) -> None:
        """Store events durably. An equal event that still waits need not be stored twice."""
        ...

    def lease(self, pipeline: str, n: int, visibility: timedelta) -> list[Lease]:
        """Hide up to `n` events from other workers for `visibility`.

        If the holder dies they reappear: expect to see an event twice. A lease outlived by its visibility can no
        longer acknowledge (raises LeaseLost).
        """
        ...

    def acknowledge(self, leases: Sequence[Lease]) -> None:
        """Remove events for good. Raises LeaseLost if any was leased again by another; the others are removed.

        A home whose queue cannot always tell may let it pass: the ledger takes what comes first.
        """
        ...

    def extend(self, leases: Sequence[Lease], visibility: timedelta) -> None:
        """Hide leased events for `visibility` from now: the work on them takes longer. A lost lease is passed over."""
        ...

    def release(self, leases: Sequence[Lease], delay: timedelta) -> None:
        """Give events back, to be seen again after `delay`."""
        ...

    def recall(self, pipeline: str) -> None:
        """Let every leased event be seen at once: its holder is dead. Only where one process works alone, at first."""
        ...

    def empty(self, pipeline: str) -> bool:
        """Whether no event waits (delayed ones included) and none is leased: cheap, however many there are.

        A home whose queue can only estimate may say so late, never for good.
        """
        ...

    def replaying(self, pipeline: str) -> bool:
        """Whether a replay is under way: an event that asks for one waits or is leased."""
        ...

    def depth(self, pipeline: str) -> tuple[int, int]:
        """How many events wait, and how many are leased. Counts them: for people, not for polling."""
        ...
