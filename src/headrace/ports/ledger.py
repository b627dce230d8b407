"""What is known, staged and decided of one pipeline: for people to read, for workers and the publisher to write."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from headrace.model.accounts import Census
from headrace.model.contract import Contract
from headrace.model.loads import (
    Arrival,
    Correction,
    Counts,
    DataFile,
    Decision,
    Hint,
    Lease,
    Load,
    Outline,
    Revision,
    Settlement,
    Shape,
    Staged,
)


class History(Protocol):
    """What a ledger tells, to people, to queries and to whoever decides. Corrections are all that is written here."""

    pipeline: str

    # loads

    def load(self, id: str) -> Load | None:
        """The load of that id, live or history; None if there never was one."""
        ...

    def keys_of(self, loads: Iterable[str]) -> dict[str, str]:
        """The key of each of the loads, given by id, that there ever was."""
        ...

    def find_load(self, id: str) -> Load:
        """Raises UsageError HR130 if there is none."""
        ...

    def history(
        self, key: str | None = None, since: datetime | None = None, limit: int | None = None, after: int = 0
    ) -> list[Load]:
        """Loads as they were first seen, newest last; with `limit` the newest so many, all later than `after`."""
        ...

    def last_seq(self) -> int:
        """What `after` of `history` takes to tell of nothing that was seen until now."""
        ...

    def in_state(self, *states: str) -> list[Load]:
        """Loads in any of the live states, oldest first."""
        ...

    def any_in_state(self, *states: str) -> bool:
        """Whether there is a load in any of these live states."""
        ...

    def retired(self, keys: Iterable[str]) -> list[Load]:
        """What stood under these keys once and does no more, as far as it is remembered."""
        ...

    def outline(self, after: str = "") -> Iterator[Outline]:
        """Every load of a key beyond `after` that is not history, by key and oldest first, without holding them all."""
        ...

    def standing(self) -> dict[str, Load]:
        """What stands under each key, skipped twins included."""
        ...

    def standing_among(self, loads: Iterable[str]) -> set[str]:
        """Those of the loads, given by id, that stand."""
        ...

    def dead(self) -> list[Load]:
        """Objects that cannot load as they are."""
        ...

    def outdated(self, digest: str) -> list[Load]:
        """Standing loads of another contract than this."""
        ...

    def twins(self, version: str) -> list[Load]:
        """Live loads of these bytes under any key, in order."""
        ...

    def census(self, digest: str) -> Census:
        """The numbers that health is told by: no load is read for them. `digest`: the present contract."""
        ...

    def totals(self) -> Counts:
        """The accounting of everything that stands."""
        ...

    def contract(self, digest: str) -> Contract:
        """A contract that loads refer to. Raises InfrastructureError HR528 if the ledger lacks it."""
        ...

    def known_since(self) -> datetime | None:
        """When the pipeline was first opened here, under whichever contract."""
        ...

    def last_arrival(self) -> datetime | None:
        """When a version that was not there already was last seen under any key; no replay, redrive or correction."""
        ...

    # files and revisions

    def files(self, kind: str, at: int | None = None) -> list[DataFile]:
        """Files that stand after revision `at` (None: the newest)."""
        ...

    def standing_paths(self) -> list[str]:
        """Where the files are that stand now, of every kind."""
        ...

    def files_of(self, loads: Iterable[str], *, staged: bool) -> list[DataFile]:
        """Files that hold rows of these loads: the staged ones, or the standing ones."""
        ...

    def sinks(self) -> dict[str, int]:
        """The number each sink was last seen at."""
        ...

    def standing_number(self) -> int:
        """The newest revision that every known sink has."""
        ...

    def revisions(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Each revision's `number`, `at`, `reason`, and how many loads it `decided` and `retired`; newest last."""
        ...

    def held(self) -> list[str]:
        """Keys whose retraction waits for a person."""
        ...

    # corrections

    def corrections(self, key: str, version: str) -> list[tuple[str, int, dict[str, str | None]]]:
        """(member, record, header → text) of every correction that is bound to this version."""
        ...

    def corrections_digest(self, key: str, version: str) -> str:
        """A name for the set of corrections of a version; empty when there are none."""
        ...

    def corrected(self) -> set[tuple[str, str]]:
        """Key and version of everything that people corrected."""
        ...

    def stored_corrections(self, key: str | None = None) -> list[Correction]:
        """Every correction of the pipeline, or of one key, whichever version it is bound to."""
        ...

    def correct(
        self, key: str, version: str, member: str, rows: Mapping[int, Mapping[str, str | None]], now: datetime
    ) -> None:
        """Store corrected records of one version: for each record its whole row, header → text."""
        ...

    def drop_corrections(self, corrections: Iterable[Correction]) -> None:
        """Forget corrections: the object's own record counts again once it is read again."""
        ...


class Ledger(History, Protocol):
    """The durable truth about one pipeline: what was seen, staged, decided. Only the publisher decides.

    Each writing method is one transaction. Loads go `seen` → `staged` → `decided` → `standing` → `retired`, or end as
    `dead`, `skipped` or `abandoned`; see `LoadState`.
    """

    # arriving

    def keep_contract(self, contract: Contract) -> None:
        """Store what loads will refer to by its digest."""
        ...

    def pin(self, arrivals: Sequence[Arrival]) -> list[Load]:
        """The load that each arrival is or becomes, in order; new ones are recorded as `seen` with their order pinned.

        An arrival whose version stands already, is staged already or is known to be dead gets that load back.
        """
        ...

    def earlier_twin(self, load: Load) -> Load | None:
        """A live load of another key with the same bytes and an earlier place in the order."""
        ...

    def skip(self, load: str) -> None:
        """Leave a seen load unread because of its twin."""
        ...

    def take_up(self, load: str) -> Load:
        """A new load in place of a skipped one, whose twin has gone. What is live, if another worker was faster."""
        ...

    def stage(self, staged: Sequence[Staged], files: Sequence[DataFile], leases: Sequence[Lease]) -> None:
        """Own staged loads and their files, and acknowledge their events.

        Refuses counts that do not add up (HR520). What another worker staged meanwhile is left as it is and these files
        become trash; raises LeaseLost where that is true of only some loads of a file.
        """
        ...

    def bury(self, load: str, cause: str, leases: Sequence[Lease]) -> None:
        """Mark a load dead with its cause, and acknowledge its event."""
        ...

    def hint(self, keys: Iterable[str], leases: Sequence[Lease] = ()) -> None:
        """Ask the publisher to look at keys whose object is gone or in doubt, and acknowledge their events."""
        ...

    # deciding

    def pending(self, most: float = math.inf, beside: Iterable[str] = ()) -> set[str]:
        """Keys with staged loads that wait for the publisher: of the oldest jobs with `most` bytes of staged files.

        At least of one job, and always of whole ones; also of those with a key in `beside`.
        """
        ...

    def hints(self) -> dict[str, Hint]:
        """Keys to look at. What is asked for meanwhile is another hint, which settling this one leaves."""
        ...

    def live(self, keys: Sequence[str]) -> dict[str, list[Load]]:
        """Every load of those keys that is not history yet, oldest first."""
        ...

    def repeated(self, versions: Iterable[str]) -> set[str]:
        """Those of the versions that more than one live load has."""
        ...

    def hold(self, keys: Iterable[str]) -> None:
        """Keep retractions waiting for a person."""
        ...

    def confirm(self) -> int:
        """A person says that the held retractions are meant; returns how many."""
        ...

    def let_go(self, keys: Iterable[str]) -> None:
        """A person says of these keys that what stands shall do so no more, if their objects are gone."""
        ...

    def retracted_since(self, instant: datetime) -> int:
        """How many loads were retracted since then."""
        ...

    def record(self, decision: Decision) -> None:
        """Make a decision durable. Raises RevisionRefused unless its number is exactly head + 1."""
        ...

    def settle(self, settlement: Settlement) -> None:
        """Record what a look settled without changing any row."""
        ...

    # what stands

    def head(self) -> int:
        """The newest revision, 0 if none."""
        ...

    def shape(self, number: int | None = None) -> Shape | None:
        """The tables' shape after that revision (None: the newest); None before the first."""
        ...

    def revision(self, number: int) -> Revision:
        """What sinks apply for that number."""
        ...

    def overlapping(self, kind: str, lo: Any, hi: Any) -> list[DataFile]:
        """Standing files whose first key column may hold a value in [lo, hi], or of unknown range."""
        ...

    def wanted(self, loads: Iterable[str]) -> set[str]:
        """Those of the loads, given by id, that stand or may come to stand without being read again."""
        ...

    def count_standing(self) -> int:
        """Under how many keys something stands, skipped twins included."""
        ...

    # sinks, messages, housekeeping

    def filled_by(self, sink: str) -> str | None:
        """Another pipeline that this root last saw fill a sink of that name."""
        ...

    def mark(self, sink: str, number: int) -> None:
        """Remember what a sink said of itself. It holds this pipeline's rows now, whosever they were before."""
        ...

    def forget_sink(self, sink: str) -> None:
        """A sink that the definition no longer has holds nothing back."""
        ...

    def stand(self, number: int) -> None:
        """Every sink is at `number` or beyond: its loads stand, and messages about them may go out."""
        ...

    def messages(self, state: str = "ready", limit: int = 100) -> list[dict[str, Any]]:
        """Messages with `id`, `name`, `subject` and `body`, oldest first."""
        ...

    def sent(self, ids: Sequence[int]) -> None:
        """These messages went out."""
        ...

    def trash(self) -> list[str]:
        """Paths that nothing ever referred to, or will: of abandoned loads, and of staged files written anew."""
        ...

    def retired_files(self, upto: int) -> list[tuple[DataFile, datetime]]:
        """Files that a revision up to that one removed, and when; the oldest first."""
        ...

    def forget_files(self, paths: Iterable[str]) -> None:
        """Drop rows of files that were deleted."""
        ...

    def known_paths(self, below: str) -> set[str]:
        """Every path below a folder that any pipeline of this root knows, whatever its state."""
        ...

    def strangers(self, below: str) -> list[str]:
        """Other pipelines whose standing rows are in files below a folder."""
        ...
