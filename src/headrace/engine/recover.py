"""Rolling forward: every sink takes the revisions it lacks, in order. The only way by which rows reach a sink.

Called before and after each decision, and at start. Running it twice, or after a crash at any instant, changes nothing
that was right already.
"""

from __future__ import annotations

from headrace.engine import log
from headrace.engine.base import base_lost, lost
from headrace.engine.faults import point
from headrace.engine.home import Home
from headrace.engine.shapes import blocked, unlimited
from headrace.model.errors import BaseLost, HeadraceError, InfrastructureError, Outgrown, SinkAhead
from headrace.model.loads import Revision
from headrace.ports import Writer

REFUSED = ("HR517", "HR805")
"""What a sink says of rows that it cannot hold: SQLite of a key that is null, DynamoDB of items and keys."""


def recover(home: Home) -> None:
    """Bring every sink to the head; then its loads stand and messages about them are released.

    A failing sink does not keep the others back, but nothing new is decided until it has caught up: its error is
    raised once the others are done. Raises SinkAhead when a sink knows a revision that the ledger does not; BaseLost or
    Outgrown, if nothing worse, where only a decision brings a sink its rows.
    """
    head = home.ledger.head()
    known = home.ledger.sinks()
    for name in known.keys() - home.writers.keys():
        home.ledger.forget_sink(name)
    failure: HeadraceError | None = None
    for name, writer in home.writers.items():
        try:
            _catch_up(home, name, writer, known.get(name), head)
        except SinkAhead:
            raise
        except HeadraceError as exc:
            if failure is None or isinstance(failure, BaseLost | Outgrown):
                failure = exc
    if failure is not None:
        raise failure
    point("recover.applied")
    release(home, head)


def release(home: Home, number: int) -> None:
    """Every sink is at `number`: its loads stand, and messages about them and about what was settled may go out."""
    home.ledger.stand(number)
    point("recover.standing")


def _catch_up(home: Home, name: str, writer: Writer, known: int | None, head: int) -> None:
    at = writer.number()
    owner = home.ledger.filled_by(name) if known is None and at else None
    if at > head and not (owner and head):
        raise _ahead(home, name, at, head, owner)
    # It lost what it had, or this pipeline never filled it, whatever number it says. The base has everything.
    empty = bool(head) and (known is None or at < known)
    if (empty or at < head) and (error := blocked(home)):
        raise error  # the sink is as the definition is, and what it lacks is not
    if empty or (head > at + 1 and _reshaped(home, at, head)):
        fill(home, writer, head)
    for number in range(writer.number() + 1, head + 1):
        revision = home.ledger.revision(number)
        whole = revision.reason == "reshape" or not _applied(home, writer, revision)
        if whole:
            fill(home, writer, head)
        point(f"recover.applied-{name}")
        if whole:
            break
    if known != head:
        home.ledger.mark(name, head)


def _applied(home: Home, writer: Writer, revision: Revision) -> bool:
    """Bring a sink from one revision to the next; False if what comes with it is lost, so that only all of it helps."""
    told = {"pipeline": home.name, "sink": writer.name, "revision": revision.number, "reason": revision.reason}
    with log.timed("sink.applied", **told):
        try:
            writer.apply(revision)
        except InfrastructureError:
            if not lost(home.files, revision.added):
                raise
            return False
    return True


def _reshaped(home: Home, since: int, head: int) -> bool:
    """Whether what stood then has another shape than the sink, and so what came next."""
    old, new = home.ledger.shape(since) if since else None, home.ledger.shape(head)
    return old is not None and new is not None and not old.admits(new)


def _ahead(home: Home, name: str, at: int, head: int, owner: str | None) -> SinkAhead:
    found = f"it holds revision {at}, but the ledger of {home.name!r} ends at {head}"
    if owner is not None:
        found += f": its rows are those of pipeline {owner!r}"
        return SinkAhead("HR530", f"sink {name!r}", found, f"call the pipeline {owner!r} again, or the sink otherwise")
    return SinkAhead(
        "HR530",
        f"sink {name!r}",
        f"{found}: one of them was restored from a backup, or another pipeline filled it once",
        f"restore the other as well, or refill the sink with `headrace rebuild {name}`",
    )


def fill(home: Home, writer: Writer, number: int) -> None:
    """Fill a sink with everything that stands at a revision, from the base."""
    files = home.ledger.files("data", number)
    shape = (home.ledger.shape(number) if files else None) or home.shape
    told = {"pipeline": home.name, "sink": writer.name, "revision": number, "files": len(files)}
    with log.timed("sink.filled", **told, rows=sum(file.rows for file in files)):
        try:
            writer.rebuild(number, files, shape.columns)
        except InfrastructureError as exc:
            if missing := lost(home.files, files):
                raise base_lost(home.name, missing) from exc
            if exc.code in REFUSED and (error := unlimited(home, writer.name, exc.found)):
                raise error from exc
            raise
