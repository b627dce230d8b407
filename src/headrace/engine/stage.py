"""Staging: local copies of objects in, typed Parquet with exact accounting out. Runs in the confined child.

`handle` is what the child's loop calls. It reads only the spool, writes only the base, and knows neither ledger nor
sinks, so a crash or a bomb here costs one file. One query stages each group of inputs; all columns arrive as text.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from string import Formatter
from typing import Any

import duckdb
import pyarrow as pa

from headrace.contract.query import StageQuery, columns_of, lineage_read, stage_query
from headrace.engine.base import BaseWriter, key_columns, literal, quoted
from headrace.engine.corrections import corrected
from headrace.engine.faults import point
from headrace.engine.job import Input, Job
from headrace.engine.rejects import COLUMNS, gather_rejected
from headrace.engine.sql import engine_connection
from headrace.engine.steps import run_steps
from headrace.formats.archive import LIMITS
from headrace.formats.dialect import Dialect
from headrace.formats.open import blame, open_input
from headrace.formats.rows import PLACE, BadItem, Blame, Item, Misfit, Rows
from headrace.model.errors import BadObject
from headrace.model.loads import Alert, Counts, DataFile

UNREADABLE = (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.OutOfRangeException, duckdb.IOException)
"""What DuckDB raises about bytes; anything else is a fault of ours or of the machine: no reason to call a file bad."""

SMALL = 1 << 20
"""Bytes of a file below which planning its query takes longer than running it."""

MOST_ALERTS = 100
"""Rows of a load that one rule tells of: what nobody reads is not sent. One more message says how many others fire."""


def handle(payload: dict[str, Any]) -> dict[str, Any]:
    """Stage a job: {"loads": [{load, counts, dialect, alerts}], "files": [DataFile as dict], "bad": [{load, error}]}.

    `bad` are inputs that can never load, however often they are tried; all others are in `loads`.
    """
    job = Job.from_dict(payload)
    bad: list[dict[str, str]] = []
    while job.inputs:
        try:
            return {**_stage(job), "bad": bad}
        except BadItem as exc:
            if exc.again is not None:  # once per input: that dialect never asks again
                inputs = list(job.inputs)
                inputs[exc.index] = replace(inputs[exc.index], dialect=exc.again.to_dict())
                job = replace(job, inputs=tuple(inputs))
                continue
            found = {each.index: str(each) for each in (exc, *exc.also)}
        except BadObject as exc:  # a step's, which has one input
            found = {0: str(exc)}
        bad += [{"load": job.inputs[i].load, "error": error} for i, error in found.items()]
        job = replace(job, inputs=tuple(x for i, x in enumerate(job.inputs) if i not in found))
    return {"loads": [], "files": [], "bad": bad}


def _stage(job: Job) -> dict[str, Any]:
    with (
        engine_connection(job.memory_limit, job.threads, [job.root, job.spool], job.scratch) as db,
        tempfile.TemporaryDirectory(dir=job.scratch) as scratch,
    ):
        return Staging(db, job, Path(scratch)).run()


class Staging:
    """One job on one connection. Temporary: `s<n>` rows of group n; views `staged` and `accepted`; `losers`."""

    def __init__(self, db: duckdb.DuckDBPyConnection, job: Job, scratch: Path) -> None:
        self._db, self._job, self._scratch = db, job, scratch
        self._columns = columns_of(job.contract)
        self._key = key_columns(job.contract, [n for n, _ in self._columns])
        kinds = dict(self._columns)
        ranges = {n: kinds[n] for n in job.contract.key}
        self._writer = BaseWriter(db, job.root, job.base, job.attempt, job.partitions, ranges)
        self._single = len(job.inputs) == 1
        self._small = self._single and Path(job.inputs[0].path).stat().st_size < SMALL
        self._flat = False
        self._items = [Item(i, x.key, Path(x.path)) for i, x in enumerate(job.inputs)]

    def run(self) -> dict[str, Any]:
        self._describe_inputs()
        pinned = {i: Dialect.from_dict(x.dialect) for i, x in enumerate(self._job.inputs) if x.dialect}
        limits = replace(LIMITS, total=self._job.scratch_bytes or LIMITS.total)
        groups = open_input(self._db, self._job.contract, self._items, self._scratch, pinned, limits)
        rejected: list[str] = []
        misfits: list[Misfit] = []
        for n, rows in enumerate(groups):
            query, misfit = self._stage_group(n, rows)
            rejected += gather_rejected(self._db, n, rows, query, misfit)
            misfits += misfit
        point("stage.rows-staged")
        # Then a record number alone tells a row, and finding duplicates costs no more than it must.
        self._flat = self._single and all(rows.member is None and not rows.numbered for rows in groups)
        self._unite([f"s{n}" for n in range(len(groups))])
        run_steps(self._db, self._job.contract, self._columns, self._job.project)
        losers = self._find_losers()
        counts = self._count(losers, misfits)
        files = self._write(counts, losers, rejected)
        dialects = {i: d.to_dict() for rows in groups for i, d in rows.dialects.items()}
        alerts = self._alerts()
        loads = [
            {
                "load": x.load,
                "counts": counts[i].to_dict(),
                "dialect": dialects.get(i, {}),
                "alerts": alerts.get(i, []),
            }
            for i, x in enumerate(self._job.inputs)
        ]
        return {"loads": loads, "files": [asdict(f) for f in files]}

    # -- reading -------------------------------------------------------------------------------------------------

    def _describe_inputs(self) -> None:
        inputs = self._job.inputs
        if self._single and not lineage_read(self._job.contract):
            return  # nobody asks: the lineage of one input is written as constants
        table = pa.table(
            {
                "_item": pa.array(range(len(inputs)), pa.int32()),
                "_key": pa.array([x.key for x in inputs], pa.string()),
                "_source_version": pa.array([x.version for x in inputs], pa.string()),
                "_load_id": pa.array([x.load for x in inputs], pa.string()),
                "_arrived": pa.array([x.arrived_at for x in inputs], pa.string()),
            }
        )
        self._db.register("inputs_", table)
        self._db.execute("create temp table inputs as select *, _arrived::timestamptz as _arrived_at from inputs_")
        self._db.unregister("inputs_")

    def _stage_group(self, n: int, rows: Rows) -> tuple[StageQuery, list[Misfit]]:
        """Stage one group into `s<n>`: place, row columns, _bad, _filtered, _cells."""
        contract = self._job.contract
        wanted = {i: x.corrections for i, x in enumerate(self._job.inputs) if x.corrections and i in rows.dialects}
        if wanted or ("_source_row" in lineage_read(contract) and not rows.numbered):
            rows = corrected(self._db, n, rows, wanted)  # numbers the records while it is at it
        passthrough = PLACE if rows.numbered else ()
        try:
            query = stage_query(
                contract, rows.headers, self._with_lineage(rows), passthrough, plain=rows.plain, brief=self._small
            )
        except BadObject as exc:
            faults = Blame()
            for item in rows.dialects:  # whoever is in this group has these headers
                with faults.of(item):
                    raise BadObject(exc.code, self._job.inputs[item].key, exc.found, exc.next) from exc
            faults.tell()
            raise
        slots = ", ".join(f"_{i}" for i in range(len(query.names)))
        table = f"s{n}" if rows.numbered else f"t{n} ({slots})"
        try:
            created = self._db.execute(f"create temp table {table} as {query.select}").fetchone()
        except UNREADABLE as exc:
            if not self._single or "No space left" in str(exc):
                raise
            raise blame(rows, self._items, exc) from exc
        finish = rows.finish(created[0] if created else None)
        if not rows.numbered:
            self._number(n, rows, query.names, finish.skipped_before)
        return query, list(finish.misfits)

    def _with_lineage(self, rows: Rows) -> str:
        """The group's relation, with lineage columns beside it where an expression reads them."""
        if not lineage_read(self._job.contract):
            return rows.relation
        if rows.numbered:
            return (
                "(select r.*, i._key || coalesce('!' || r._member, '') as _source_file, i._source_version,"
                " r._record as _source_row, i._load_id, i._arrived_at"
                f" from {rows.relation} r join inputs i using (_item))"
            )
        x = self._job.inputs[rows.item]
        member = f"!{rows.member}" if rows.member else ""
        return (
            f"(select *, {literal(x.key + member)} as _source_file, {literal(x.version)} as _source_version,"
            f" {literal(x.load)} as _load_id, {literal(x.arrived_at)}::timestamptz as _arrived_at from {rows.relation})"
        )

    def _number(self, n: int, rows: Rows, columns: Sequence[str], skipped_before: Sequence[int]) -> None:
        """Give the rows of one big file their record numbers: the n-th row, plus the misfits before it.

        `rowid` is the row's place as long as no column is called so, which is why those of `t<n>` have no names.
        """
        record, source = "t.rowid + 1", f"t{n} t"
        if skipped_before:
            counted = pa.array(range(1, len(skipped_before) + 1), pa.int64())
            self._db.register(f"gaps_{n}", pa.table({"place": pa.array(skipped_before, pa.int64()), "n": counted}))
            self._db.execute(f"create temp table gaps{n} as select place, max(n) as n from gaps_{n} group by place")
            source += f" asof left join gaps{n} g on t.rowid >= g.place"
            record += " + coalesce(g.n, 0)"
        member = literal(rows.member) if rows.member else "null"
        names = ", ".join(map(quoted, (*PLACE, *columns)))
        # A view: the rows stay where they were staged, and their numbers cost nothing until they are read.
        self._db.execute(
            f"create temp view s{n} ({names}) as select {rows.item}::integer as _item, {member}::varchar as _member,"
            f" {record} as _record, t.* from {source}"
        )

    def _unite(self, tables: Sequence[str]) -> None:
        names = ", ".join(quoted(n) for n, _ in self._columns)
        empty = ", ".join(f"null::{kind} as {quoted(n)}" for n, kind in self._columns)
        parts = [f"select {', '.join(PLACE)}, {names}, _bad = 0 as _good, _filtered from {t}" for t in tables] or [
            f"select 0::integer as _item, null::varchar as _member, 0::bigint as _record, {empty}, true as _good,"
            " false as _filtered limit 0"
        ]
        self._db.execute("create temp view staged as " + " union all ".join(parts))
        self._db.execute("create temp view accepted as select * from staged where _good and not _filtered")

    # -- contested within one load --------------------------------------------------------------------------------

    def _find_losers(self) -> bool:
        """Rows of one load that share a key with a better row of the same load, into `losers`. False if none."""
        if not self._key:
            return False
        names = ", ".join(map(quoted, self._key))
        last = self._job.contract.key and self._job.contract.on_conflict == "last"
        at = "_record" if self._flat else "{'member': coalesce(_member, ''), 'record': _record}"
        contested = self._db.execute(
            f"create temp table contested as select _item, {names}, {'max' if last else 'min'}({at}) as _keep"
            " from accepted group by all having count(*) > 1"
        ).fetchone()
        if contested is None or not contested[0]:
            return False
        same = " and ".join(f"a.{quoted(n)} is not distinct from c.{quoted(n)}" for n in self._key)
        self._db.execute(
            f"create temp table candidates as select a.*, {at} = c._keep as _wins"
            f" from accepted a join contested c on a._item = c._item and {same}"
        )
        equal = " and ".join(f"a.{quoted(n)} is not distinct from c.{quoted(n)}" for n, _ in self._columns)
        self._db.execute(
            "create temp table losers as select a.* exclude (_wins),"
            f" case when {equal} then 'duplicate' else 'conflict' end as _verdict"
            f" from candidates a join candidates c on c._wins and a._item = c._item and {same} where not a._wins"
        )
        return True

    # -- counting and writing ------------------------------------------------------------------------------------

    def _count(self, losers: bool, misfits: Sequence[Misfit]) -> dict[int, Counts]:
        counts = {i: Counts() for i in range(len(self._job.inputs))}
        for item, read, accepted, bad, filtered in self._db.execute(
            "select _item, count(*), count(*) filter (_good and not _filtered), count(*) filter (not _good),"
            " count(*) filter (_good and _filtered) from staged group by _item"
        ).fetchall():
            counts[item] += Counts(read=read, accepted=accepted, rejected=bad, filtered=filtered, loaded=accepted)
        for misfit in misfits:
            counts[misfit.item] += Counts(read=1, rejected=1)
        if losers:
            query = "select _item, _verdict, count(*) from losers group by all"
            for item, verdict, n in self._db.execute(query).fetchall():
                counts[item] += Counts(loaded=-n, **{verdict: n})
        return counts

    def _write(self, counts: Mapping[int, Counts], losers: bool, rejected: Sequence[str]) -> list[DataFile]:
        def of(rows: Callable[[Counts], int]) -> dict[str, int]:
            return {self._job.inputs[i].load: rows(c) for i, c in counts.items() if rows(c)}

        files: list[DataFile] = []
        if any(c.loaded for c in counts.values()):
            keep = " anti join losers l on a._record = l._record"
            if not self._flat:
                keep += " and a._item = l._item and a._member is not distinct from l._member"
            files += self._writer.write("data", self._rows(f"accepted a{keep if losers else ''}"), of(_loaded))
        if losers:
            files += self._writer.write("losers", self._rows("losers a", ", a._verdict"), of(_lost))
        if rejected:
            union = " union all ".join(f"select {COLUMNS} from {t}" for t in rejected)
            files += self._writer.write("rejected", self._rejected(f"({union}) a"), of(_rejected))
        return files

    def _rows(self, source: str, more: str = "") -> str:
        names = ", ".join(f"a.{quoted(n)}" for n, _ in self._columns)
        return f"select {names}, {self._lineage()}{more} from {source}{self._inputs_join()}"

    def _rejected(self, source: str) -> str:
        more = 'a._source_line, a.rule, a."column", a.value, a.reason, a.raw'
        return f"select {self._lineage()}, {more} from {source}{self._inputs_join()}"

    def _lineage(self) -> str:
        if not self._single:
            return (
                "i._key || coalesce('!' || a._member, '') as _source_file, i._source_version,"
                " a._record as _source_row, i._load_id, i._arrived_at"
            )
        x = self._job.inputs[0]
        file = constant(x.key) if self._flat else f"{literal(x.key)} || coalesce('!' || a._member, '')"
        return (
            f"{file} as _source_file, {constant(x.version)} as _source_version, a._record as _source_row,"
            f" {constant(x.load)} as _load_id, {literal(x.arrived_at)}::timestamptz as _arrived_at"
        )

    def _inputs_join(self) -> str:
        return "" if self._single else " join inputs i on i._item = a._item"

    def _alerts(self) -> dict[int, list[dict[str, str]]]:
        """Messages of `alert` rules, rendered: one per row that fires, up to `MOST_ALERTS` of a rule and load."""
        found: dict[int, list[dict[str, str]]] = {}
        for rule in (r for r in self._job.contract.rules if r.kind == "alert"):
            named = {name for text in (rule.subject, rule.body) for _, name, _, _ in Formatter().parse(text) if name}
            columns = ", ".join([*PLACE, *(quoted(name) for name in sorted(named - set(PLACE)))])
            query = (
                f"select {columns}, count(*) over (partition by _item) as _fired from accepted where {rule.when}"
                f" qualify row_number() over (partition by _item order by {', '.join(PLACE)}) <= {MOST_ALERTS}"
                f" order by {', '.join(PLACE)}"
            )
            fired: dict[int, int] = {}
            # By way of Arrow: DuckDB's own Python values of a TIMESTAMPTZ need a library that is not ours.
            for values in self._db.sql(query).to_arrow_table().to_pylist():
                x = self._job.inputs[values["_item"]]
                fired[values["_item"]] = values["_fired"]
                name = f"{rule.name}:{x.key}:{x.version}:{values['_member'] or ''}:{values['_record']}"
                alert = Alert(name, x.load, rule.subject.format_map(values), rule.body.format_map(values))
                found.setdefault(values["_item"], []).append(_told(alert))
            for item, count in fired.items():
                if count > MOST_ALERTS:
                    found[item].append(_told(self._more(rule.name, self._job.inputs[item], count - MOST_ALERTS)))
        return found

    def _more(self, rule: str, x: Input, count: int) -> Alert:
        body = f"{count:,} more rows of {x.key} fire the rule {rule!r}; the first {MOST_ALERTS} were told one by one."
        return Alert(f"{rule}:{x.key}:{x.version}:more", x.load, f"{rule}: and {count:,} more", body)


def _told(alert: Alert) -> dict[str, str]:
    return {"name": alert.name, "subject": alert.subject, "body": alert.body}


def _loaded(counts: Counts) -> int:
    return counts.loaded


def _lost(counts: Counts) -> int:
    return counts.duplicate + counts.conflict


def _rejected(counts: Counts) -> int:
    return counts.rejected


def constant(text: str) -> str:
    """A text that is the same in every row: as an ENUM of one value it is written to Parquet without hashing it anew
    for each (the file is the same; a fifth of the time of writing is saved)."""
    return f"{literal(text)}::enum({literal(text)})"
