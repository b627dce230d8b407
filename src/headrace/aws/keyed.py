"""A keyed sink on AWS: one DynamoDB table, one item per row, a control item with the revision's number.

Opened by `aws.target`; fed by the publisher one revision at a time. It decides nothing about rows: which stand was
decided when the revision was recorded. Looking up is `keyed_lookup`, the items' shape `keyed_layout`, who may write
`keyed_control`. Mirrors `local.keyed`.

DynamoDB cannot take a revision at once, so it comes in order: deletes, puts, and the number last. Sending any of it
again changes nothing: a put replaces the item whole, and a delete of what is gone is none. So batches need no
conditions as long as only one writer sends them, which `keyed_control` sees to. How far it has come is marked in the
control item after each piece: a function that dies is followed by one that goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import duckdb

from headrace.aws.keyed_control import LEASE, Control, ControlItem, Work
from headrace.aws.keyed_items import RowReader, deletes, keys, puts
from headrace.aws.keyed_layout import Layout
from headrace.aws.keyed_lookup import DynamoLookup
from headrace.aws.keyed_pieces import Pace, Piece, groups, pieces, related
from headrace.aws.keyed_sweep import SEGMENTS, Sweeper
from headrace.aws.keyed_taken import SAMPLE, Taken
from headrace.aws.session import Session
from headrace.aws.wire import Wire
from headrace.engine.faults import point
from headrace.model.errors import HeadraceError, InfrastructureError, OutOfTime
from headrace.model.loads import DataFile, Revision
from headrace.ports import Base
from headrace.sinks.delta import come, gone, rows_of

RESERVE = 20.0
"""Seconds that must be left for another piece to be sent, or for another part of the table to be swept."""


class DynamoWriter:
    """`ports.Writer` and `ports.Lookup` over the table `physical`. `root` is where `base` brings the files to.

    `lease` is how long a writer that died keeps others out: see `keyed_control` before making it shorter. With less of
    `seconds_left` than `RESERVE`, or than the last piece took twice, it stops at a mark and raises OutOfTime (HR857):
    whoever comes next goes on there.
    """

    def __init__(
        self,
        session: Session,
        base: Base,
        root: Path,
        physical: str,
        table: str,
        key: Sequence[str],
        index: Sequence[str] = (),
        memory_limit: str = "512MB",
        threads: int = 2,
        *,
        lease: float = LEASE,
        clock: Callable[[], float] = time.time,
        seconds_left: Callable[[], float] = lambda: math.inf,
        wire: Callable[..., Wire] = Wire,
    ) -> None:
        self.name = table
        self.root, self.physical, self.table = root, physical, table
        self.key, self.index = tuple(key), tuple(index)
        self._base = base
        self._seconds_left = seconds_left
        self._pace = Pace()
        self._rows = RowReader(root / f".{table}.spill", memory_limit, threads)
        self._control = ControlItem(session, physical, table, lease, clock)
        self._wire = wire(session, physical, self._control.allowed, clock=clock)
        self._sweeper = Sweeper(session, physical, table, self._control, self._wire)
        self._taken = Taken(session, physical, table, self._control)
        self._lookup = DynamoLookup(session, physical, table, index, control=self._control)
        self.get, self.find = self._lookup.get, self._lookup.find

    def number(self) -> int:
        """The last revision applied; 0 before the first, and while the table is being filled.

        Also 0 while a new index lacks rows: then recovery fills the table once more, and each item comes to be in it.
        """
        control = self._control.read()
        return 0 if control.lacks(self.index) else control.number

    def apply(self, revision: Revision) -> None:
        """Delete the rows that `removed` held and `added` does not, put the rest of `added`; the number last.

        Whoever died on the way is followed from the last mark on. Raises InfrastructureError: HR512 not the next
        revision, HR514 a column changed its type, HR517 two rows with one key (those of the table by sample), HR518
        the files hold other rows than the ledger says, HR850 another writer may be alive, HR851 another took over,
        HR852 throttled, HR853 the table is not as defined, HR855 DuckDB or the disk failed. OutOfTime: HR857.
        """
        before = self._control.read()
        if revision.number <= before.number:
            return
        if revision.number != before.number + 1:
            found = f"revision {revision.number} does not follow {before.number}"
            raise self._fault("HR512", found, "let the publisher apply the recorded revisions in order")
        if before.work is not None and before.work.kind == "rebuild":
            found = f"it is being filled at revision {before.work.number}, which is not done"
            raise self._fault("HR512", found, f"run `headrace rebuild {self.table}`")
        if lacking := before.lacks(self.index):
            found = f"the index of {lacking[0]!r} is new and does not have the rows that stand"
            raise self._fault("HR512", found, f"run `headrace rebuild {self.table}`")
        with self._held() as control:
            if control.number != before.number:
                found = "another writer has just applied a revision"
                raise self._fault("HR851", found, "it is tried again")
            self._change(revision, control)

    def rebuild(self, number: int, files: Sequence[DataFile], columns: Sequence[tuple[str, str]]) -> None:
        """Put the rows of all files, then delete every item that is not of them. Raises like `apply`.

        Until it is done the table's number is 0, so that whoever comes next begins with this.
        """
        with self._held() as control:
            layout = Layout.of(self.key, columns).indexed_by(self.index)
            self._control.suits(layout)
            work = self._resumed(control, "rebuild", number, _digest(layout, files), layout)
            rows = self._fill(layout, files, work, begun=work == control.work)
            self._commit(layout, number, work.generation, rows)

    def oldest(self) -> int:
        """Readers see the items alone; only this writer reads the base, and only for the next revision."""
        return self.number()

    def warm(self) -> None:
        """Make the client, and ask for the table's keys."""
        self._control.schema()

    def maintain(self) -> None:
        """DynamoDB keeps its own house."""

    def close(self) -> None:
        self._lookup.close()
        self._wire.close()
        self._rows.close()

    def _change(self, revision: Revision, control: Control) -> None:
        layout = self._evolved(control, revision.columns)
        self._control.suits(layout)
        removed = self._brought(revision)
        work = self._resumed(control, "apply", revision.number, _digest(layout, revision.added, removed), layout)
        coming, left = (sum(f.rows for f in files) for files in (revision.added, removed))
        if work != control.work:
            self._check(layout, revision.added, removed)
        marked = coming + left > self._pace.rows
        if marked:
            self._control.begin(work)
        work = self._without_lost(revision, removed, work)
        for piece in pieces(removed, self._pace, work.done):
            self._pace.begin()
            same = related(piece.files, revision.added)
            going = gone(self.root, same, piece.files, layout.columns, piece.span)
            kept = rows_of(self.root, revision.added, layout.columns) if revision.added else None
            self._wire.send(self._rows.texts(deletes(layout, going, kept)))
            work = self._sent(work, piece.end, marked)
            self._pause(more=marked and work.done < left + coming)
        for piece in pieces(revision.added, self._pace, max(work.done - left, 0)):
            self._pace.begin()
            self._refuse_taken(layout, revision, piece, work)
            same = related(piece.files, removed)
            rows = come(self.root, piece.files, same, layout.columns, piece.span)
            self._wire.send(self._rows.texts(puts(layout, rows, revision.number, work.generation)))
            work = self._sent(work, left + piece.end, marked)
            self._pause(more=marked and work.done < left + coming)
        total = control.rows + coming - sum(f.rows for f in revision.removed)
        self._commit(layout, revision.number, work.generation, total)

    def _fill(self, layout: Layout, files: Sequence[DataFile], work: Work, *, begun: bool) -> int:
        """Put the rows of the files, some files at a time; then sweep what is older. Returns how many rows."""
        before, whole = 0, sum(f.rows for f in files)
        for group in groups(files):
            beyond = before + sum(f.rows for f in group)
            if beyond > work.done or not begun:
                self._refuse_lost(self._base.bring(group))
                if work.done <= before:
                    self._check(layout, group, ())
                if not begun:
                    self._control.begin(work)
                    begun = True
                for piece in pieces(group, self._pace, work.done - before):
                    self._pace.begin()
                    rows = rows_of(self.root, piece.files, layout.columns, piece.span)
                    self._wire.send(self._rows.texts(puts(layout, rows, work.number, work.generation)))
                    work = self._sent(work, before + piece.end, True)
                    self._pause(more=work.done < whole or not work.clean)
            before = beyond
        if not begun:
            self._control.begin(work)
        if not work.clean:
            self._wire.settle()
            self._sweeper.older(work.generation, work.swept, lambda swept: self._swept(work, swept))
        return before

    def _resumed(self, control: Control, kind: str, number: int, files: str, layout: Layout) -> Work:
        """The work as it was left, or from its beginning. A rebuild begins a generation of its own."""
        known = control.work
        if known is not None and (known.kind, known.number, known.files) == (kind, number, files):
            return known
        generation = max(control.generation, known.generation if known else 0)
        if kind == "apply":
            return Work(kind, number, files, generation, clean=control.new)
        return Work(kind, number, files, generation + 1, clean=control.new, columns=layout.meta[0])

    def _sent(self, work: Work, done: int, marked: bool) -> Work:
        """A piece is through."""
        point("keyed.sent")
        self._pace.end(done - work.done)
        work = replace(work, done=done)
        if marked:
            self._control.mark(work)
        return work

    def _swept(self, work: Work, swept: int) -> None:
        """A part of the table is looked through."""
        point("keyed.swept")
        self._control.mark(replace(work, swept=swept))
        self._pause(more=swept < SEGMENTS)

    def _pause(self, *, more: bool) -> None:
        """Stop where it is marked, if there is more to be done than there is time for."""
        if more and self._seconds_left() < max(RESERVE, 2 * self._pace.seconds):
            raise OutOfTime(
                "HR857", f"keyed {self.table!r}", "the function's time is nearly up", "it goes on by itself"
            )

    def _commit(self, layout: Layout, number: int, generation: int, rows: int) -> None:
        self._wire.settle()
        point("keyed.before-commit")
        self._control.commit(layout, number, generation, rows)
        point("keyed.after-commit")

    def _brought(self, revision: Revision) -> list[DataFile]:
        """Bring the revision's files; returns the removed ones that are there.

        Of a removed file that is lost, every load must retire as a whole in this revision, as the publisher sees to.
        """
        lost = {f.path for f in self._base.bring([*revision.added, *revision.removed])}
        self._refuse_lost([f for f in revision.added if f.path in lost])
        missing = [f for f in revision.removed if f.path in lost]
        if not {load for f in missing for load in f.loads}.issubset(revision.retired):
            self._refuse_lost(missing)
        return [f for f in revision.removed if f.path not in lost]

    def _without_lost(self, revision: Revision, there: Sequence[DataFile], work: Work) -> Work:
        """Delete the rows of removed files that cannot be read any more, load by load."""
        missing = [f for f in revision.removed if f not in there]
        if missing and work.swept < SEGMENTS:
            loads = sorted({load for f in missing for load in f.loads})
            self._sweeper.of_loads(loads, work.swept, lambda swept: self._swept(work, swept))
            self._wire.settle()  # some of the keys may be put again
            return replace(work, swept=SEGMENTS)
        return work

    def _refuse_lost(self, files: Sequence[DataFile]) -> None:
        if files:
            raise self._fault("HR518", f"{files[0].path} is missing", f"run `headrace rebuild {self.table}`")

    def _check(self, layout: Layout, added: Sequence[DataFile], removed: Sequence[DataFile]) -> None:
        """Before anything is written: as many rows as the ledger says, and no key twice."""
        between = (self.root, added, removed, layout.columns)
        coming = come(*between)
        came = self._rows.count(coming) if added else 0
        went = self._rows.count(gone(*between)) if removed else 0
        expected = sum(f.rows for f in added) - sum(f.rows for f in removed)
        if came - went != expected:
            found = f"{came} rows came and {went} went, the ledger says {expected:+} in all"
            raise self._fault("HR518", found, f"nothing was written; run `headrace rebuild {self.table}`")
        twice = self._rows.doubled(layout, coming) if added else None
        if twice:
            found = f"{twice[0]} rows have the key {twice[1]}"
            raise self._fault("HR517", found, f"nothing was written; run `headrace rebuild {self.table}`")

    def _refuse_taken(self, layout: Layout, revision: Revision, piece: Piece, work: Work) -> None:
        """Some of the keys: no item of them may be a load's that this revision does not take away."""
        rows = rows_of(self.root, piece.files, layout.columns, piece.span)
        leaving = {load for f in revision.removed for load in f.loads}
        if taken := self._taken.by_others(self._rows.texts(keys(layout, rows, SAMPLE)), work, leaving):
            key, load = taken
            found = f"the key ({', '.join(key)}) is held by load {load}, which revision {revision.number} lets stand"
            raise self._fault("HR517", found, f"run `headrace rebuild {self.table}`")

    def _evolved(self, control: Control, columns: Sequence[tuple[str, str]]) -> Layout:
        """The table's shape with new columns added at the end. Raises HR514 for another key or type."""
        if control.key is None or control.columns is None:
            return Layout.of(self.key, columns).indexed_by(self.index)
        if control.key != json.dumps(self.key):
            found = f"its key was {control.key} until revision {control.number} and is {json.dumps(self.key)} now"
            raise self._fault("HR514", found, f"run `headrace replay`, then `headrace rebuild {self.table}`")
        before = [(name, kind) for name, kind in json.loads(control.columns)]
        types = dict(before)
        for name, kind in columns:
            if types.get(name, kind) != kind:
                found = f"column {name!r} was {types[name]} until revision {control.number} and is {kind} now"
                raise self._fault("HR514", found, f"run `headrace replay`, then `headrace rebuild {self.table}`")
        both = [*before, *(c for c in columns if c[0] not in types)]
        return Layout.of(self.key, both).indexed_by(self.index)

    @contextmanager
    def _held(self) -> Iterator[Control]:
        """Be the writer. Given back when the work fails, so that another may go on; a lease ends by itself, too."""
        control = self._control.take()
        self._pace = Pace()  # of each work: a table that could not take as much is asked to take less
        try:
            yield control
        except (duckdb.Error, OSError) as exc:
            self._give_back()
            found = f"rows of the base could not be read: {exc}"
            raise self._fault("HR855", found, "it is tried again, from the last mark on") from exc
        except BaseException:
            self._give_back()
            raise

    def _give_back(self) -> None:
        with suppress(HeadraceError):  # what stopped the work may stop this: then the lease has to run out
            self._wire.settle()
            self._control.release()

    def _fault(self, code: str, found: str, next: str) -> InfrastructureError:
        return InfrastructureError(code, f"keyed {self.table!r}", found, next)


def _digest(layout: Layout, *files: Sequence[DataFile]) -> str:
    """A name for what comes and goes, and as what: work is only taken up where it is the same."""
    told = [*layout.meta, *layout.index, *([f.path for f in each] for each in files)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
