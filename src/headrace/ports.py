"""What a home must supply. A Target opens these for a pipeline; the engine knows nothing else of where it runs.

`local/` implements each with folders and SQLite. One contract suite per port holds every implementation to its words.
Methods raise only the errors of `headrace.model.errors`; anything foreign is wrapped where it enters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from headrace.model.loads import Arrival, DataFile, Decision, Event, Lease, Load, Revision, Staged, Stat


class Clock(Protocol):
    """Time as an argument: tests advance it, nothing sleeps."""

    def now(self) -> datetime:
        """The present instant, in UTC with microseconds."""
        ...


class Store(Protocol):
    """Where objects land. Keys are relative, with `/`; one that would leave the root is refused (HR311)."""

    def stat(self, key: str) -> Stat | None:
        """What stands under `key` now, or None if it is gone.

        Raises StoreUnavailable when the place itself cannot be read: absence is only ever claimed of a key.
        """
        ...

    def list(self, prefix: str) -> Iterator[Stat]:
        """Every object under `prefix`, in key order. Raises StoreUnavailable like `stat`; never a short list."""
        ...

    def fetch(self, key: str, into: Path) -> tuple[Stat, str]:
        """Copy the object to the file `into` while hashing it; returns its stat and its version.

        Raises ObjectMoving when it changed meanwhile or vanished; the copy is then worthless.
        """
        ...

    def digest(self, key: str) -> tuple[Stat, str]:
        """Like `fetch`, without a copy: for telling whether a changed fingerprint is a changed object."""
        ...

    def put(self, key: str, source: Path) -> Stat:
        """Store a copy of a local file under `key`, whole or not at all, with the present time as creation time."""
        ...

    def archive(self, key: str, version: str) -> None:
        """Move the object out of the prefix, if it still is that version."""
        ...


class Queue(Protocol):
    """Events that wait, delivered at least once, in no promised order."""

    def put(self, events: Iterable[Event], delay: timedelta = timedelta(0)) -> None:
        """Store events durably. An equal event that still waits is not stored twice."""
        ...

    def lease(self, pipeline: str, n: int, visibility: timedelta) -> list[Lease]:
        """Hide up to `n` events from other workers for `visibility`.

        If the holder dies they reappear: expect to see an event twice. A lease outlived by its visibility can no
        longer acknowledge (raises LeaseLost).
        """
        ...

    def acknowledge(self, leases: Sequence[Lease]) -> None:
        """Remove events for good. Raises LeaseLost if any was leased again by another; the others are removed."""
        ...

    def release(self, leases: Sequence[Lease], delay: timedelta) -> None:
        """Give events back, to be seen again after `delay`."""
        ...

    def depth(self, pipeline: str) -> tuple[int, int]:
        """How many events wait, and how many are leased."""
        ...


class Ledger(Protocol):
    """The durable truth about one pipeline: what was seen, staged, decided. Only the publisher decides."""

    def pin(self, arrivals: Sequence[Arrival]) -> list[Load]:
        """The load that each arrival is or becomes, in order; new ones are recorded as `seen` with their order pinned.

        An arrival whose version stands already, is staged already or is known to be dead gets that load back.
        """
        ...

    def stage(self, staged: Sequence[Staged], files: Sequence[DataFile], leases: Sequence[Lease]) -> None:
        """Own staged loads and their files, and acknowledge their events, in one transaction.

        Refuses counts that do not add up (HR503). A load that is not `seen` any more is left alone and its rows are
        not counted: its files are trash.
        """
        ...

    def bury(self, load: str, cause: str, leases: Sequence[Lease]) -> None:
        """Mark a load dead with its cause, and acknowledge its event."""
        ...

    def record(self, decision: Decision, now: datetime) -> None:
        """Make a decision durable. Raises RevisionRefused unless its number is exactly head + 1."""
        ...

    def head(self) -> int:
        """The newest revision, 0 if none."""
        ...

    def revision(self, number: int) -> Revision:
        """What sinks apply for that number."""
        ...

    def files(self, kind: str, at: int | None = None) -> list[DataFile]:
        """Files that stand after revision `at` (None: the newest)."""
        ...


class Writer(Protocol):
    """An opened sink. It keeps the number of the last revision it applied itself, in the same transaction as the rows."""

    name: str

    def number(self) -> int:
        """The last revision applied; 0 for a new sink."""
        ...

    def apply(self, revision: Revision) -> None:
        """Take `removed` out and put `added` in, with the revision's number, all at once.

        Applying a number that is already there changes nothing; one that is not the next raises InfrastructureError
        (HR512). After a crash at any instant the sink is at the old number or at the new one, whole.
        """
        ...

    def rebuild(self, number: int, files: Sequence[DataFile], columns: Sequence[tuple[str, str]]) -> None:
        """Replace everything by the rows of `files`, at `number`. Also how a new sink is filled."""
        ...

    def maintain(self) -> None:
        """Housekeeping that changes no row: expire snapshots, checkpoint. Called now and then, never needed."""
        ...

    def close(self) -> None: ...


class Lookup(Protocol):
    """What `headrace get` asks of a keyed sink."""

    def get(
        self,
        table: str,
        key: Any,
        *,
        at: Any = None,
        begins_with: str | None = None,
        start: Any = None,
        end: Any = None,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """Items of one partition key in sort order; `start` and `end` are inclusive bounds of the sort key."""
        ...


class Notifier(Protocol):
    """Tells people. A failure here never fails data: the outbox keeps the message and tries again."""

    def send(self, subject: str, body: str, attributes: Mapping[str, str]) -> None: ...
