"""Staging: local copies of objects in, typed Parquet with exact accounting out. Runs in the confined child.

`handle` is what the child's loop calls. It reads only the spool, writes only the base, and knows neither ledger nor
sinks, so a crash or a bomb here costs one file. One query stages each group of inputs; all columns arrive as text.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from headrace.contract.query import Failure, StageQuery, columns_of, stage_query
from headrace.engine.base import BaseWriter, key_columns, literal, quoted
from headrace.engine.corrections import corrected
from headrace.engine.faults import point
from headrace.engine.sql import engine_connection
from headrace.engine.steps import run_steps
from headrace.formats.dialect import Dialect
from headrace.formats.open import Item, open_input
from headrace.formats.rows import Misfit, Rows
from headrace.model.contract import Contract
from headrace.model.loads import Counts, DataFile

RAW_CHUNK = 200_000
"""Rejected records whose raw text is looked up at a time: bounds memory when a whole file is rejected."""


@dataclass(frozen=True, slots=True)
class Input:
    """One object version to stage, with its lineage. `dialect` is the pinned one of an earlier reading, if any."""

    load: str
    key: str
    version: str
    path: str
    arrived_at: str
    dialect: Mapping[str, Any] | None = None
    corrections: Sequence[tuple[str, int, Mapping[str, str | None]]] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """What the worker asks of the child: paths are absolute but for `base`, which is below `root`."""

    contract: Contract
    inputs: tuple[Input, ...]
    root: Path
    base: str
    attempt: str
    partitions: tuple[tuple[str, str], ...]
    scratch: Path
    project: str
    memory_limit: str
    threads: int

    @staticmethod
    def from_dict(raw: Mapping[str, Any]) -> Job:
        return Job(
            **{
                **raw,
                "contract": Contract.from_dict(raw["contract"]),
                "inputs": tuple(Input(**i) for i in raw["inputs"]),
                "root": Path(raw["root"]),
                "scratch": Path(raw["scratch"]),
                "partitions": tuple((n, e) for n, e in raw["partitions"]),
            }
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "contract": self.contract.to_dict(),
            "root": str(self.root),
            "scratch": str(self.scratch),
        }


def handle(payload: dict[str, Any]) -> dict[str, Any]:
    """Stage a job: {"loads": [{load, counts, dialect, alerts}], "files": [DataFile as dict]}.

    Raises BadObject (with `index` of the input) when one input can never load; the caller then stages the others alone.
    """
    job = Job.from_dict(payload)
    with (
        engine_connection(job.memory_limit, job.threads, [job.root, job.scratch]) as db,
        tempfile.TemporaryDirectory(dir=job.scratch) as scratch,
    ):
        return Staging(db, job, Path(scratch)).run()


class Staging:
    """One job on one connection. Temporary tables: `s<n>` staged rows of group n, `staged` all of them."""

    def __init__(self, db: duckdb.DuckDBPyConnection, job: Job, scratch: Path) -> None:
        self._db, self._job, self._scratch = db, job, scratch
        self._columns = columns_of(job.contract)
        names = [n for n, _ in self._columns]
        self._key = key_columns(job.contract, names)
        kinds = dict(self._columns)
        ranges = {n: kinds[n] for n in job.contract.key}
        self._writer = BaseWriter(db, job.root, job.base, job.attempt, job.partitions, ranges)
        self._single = len(job.inputs) == 1

    def run(self) -> dict[str, Any]:
        self._describe_inputs()
        items = [Item(i, x.key, Path(x.path)) for i, x in enumerate(self._job.inputs)]
        pinned = {i: Dialect.from_dict(x.dialect) for i, x in enumerate(self._job.inputs) if x.dialect}
        groups = open_input(self._db, self._job.contract, items, self._scratch, pinned)
        rejected: list[str] = []
        tables: list[str] = []
        for n, rows in enumerate(groups):
            query, misfits = self._stage_group(n, rows)
            tables.append(f"s{n}")
            rejected += self._gather_rejected(n, rows, query, misfits)
        point("stage.rows-staged")
        self._unite(tables)
        run_steps(self._db, self._job.contract, self._columns, self._job.project)
        losers = self._find_losers()
        counts = self._count(losers, bool(rejected))
        files = self._write(counts, losers, rejected)
        dialects: dict[int, Any] = {}
        for rows in groups:
            dialects.update({i: d.to_dict() for i, d in rows.dialects.items()})
        alerts = self._alerts()
        return {
            "loads": [
                {
                    "load": x.load,
                    "counts": asdict(counts[i]),
                    "dialect": dialects.get(i, {}),
                    "alerts": alerts.get(i, []),
                }
                for i, x in enumerate(self._job.inputs)
            ],
            "files": [asdict(f) for f in files],
        }

    # -- reading -------------------------------------------------------------------------------------------------

    def _describe_inputs(self) -> None:
        inputs = self._job.inputs
        table = pa.table(
            {
                "_item": pa.array(range(len(inputs)), pa.int32()),
                "_key": [x.key for x in inputs],
                "_source_version": [x.version for x in inputs],
                "_load_id": [x.load for x in inputs],
                "_arrived": [x.arrived_at for x in inputs],
            }
        )
        self._db.register("inputs_", table)
        self._db.execute("create temp table inputs as select *, _arrived::timestamptz as _arrived_at from inputs_")
        self._db.unregister("inputs_")

    def _stage_group(self, n: int, rows: Rows) -> tuple[StageQuery, list[Misfit]]:
        """Stage one group into `s<n>` with columns _item, _member, _record, the row's, _bad, _filtered, _cells."""
        contract, job = self._job.contract, self._job
        wanted = {i: x.corrections for i, x in enumerate(job.inputs) if x.corrections}
        if wanted:
            rows = corrected(self._db, n, rows, wanted)
        select = stage_query(contract, rows.headers, self._with_lineage(rows), ("_item", "_member", "_record")).select
        query = stage_query(contract, rows.headers, self._with_lineage(rows), self._passthrough(rows))
        if rows.numbered:
            self._db.execute(f"create temp table s{n} as {select}")
            return query, list(rows.finish().misfits)
        self._db.execute(f"create temp table t{n} as {query.select}")
        finish = rows.finish()
        self._number(n, rows, finish.skipped_before)
        return query, list(finish.misfits)

    def _passthrough(self, rows: Rows) -> tuple[str, ...]:
        return ("_item", "_member", "_record") if rows.numbered else ()

    def _with_lineage(self, rows: Rows) -> str:
        """The group's relation with lineage columns beside it, for expressions that read them."""
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

    def _number(self, n: int, rows: Rows, skipped_before: Sequence[int]) -> None:
        """Give the rows of one big file their record numbers: the n-th row, plus the misfits before it."""
        record = "t.rowid + 1"
        source = f"t{n} t"
        if skipped_before:
            self._db.register(
                f"gaps_{n}",
                pa.table({"at": pa.array(skipped_before, pa.int64()), "n": range(1, len(skipped_before) + 1)}),
            )
            self._db.execute(f"create temp table gaps{n} as select at, max(n) as n from gaps_{n} group by at")
            source += f" asof left join gaps{n} g on t.rowid >= g.at"
            record += " + coalesce(g.n, 0)"
        member = literal(rows.member) if rows.member else "null"
        # A view: the rows stay where they were staged, and their numbers cost nothing until they are read.
        self._db.execute(
            f"create temp view s{n} as select {rows.item}::integer as _item, {member}::varchar as _member,"
            f" {record} as _record, t.* from {source}"
        )

    def _unite(self, tables: Sequence[str]) -> None:
        names = ", ".join(quoted(n) for n, _ in self._columns)
        parts = [
            f"select {i}::integer as _group, _item, _member, _record, {names}, _bad = 0 as _good, _filtered from {t}"
            for i, t in enumerate(tables)
        ]
        if not parts:
            empty = ", ".join(f"null::{t} as {quoted(n)}" for n, t in self._columns)
            parts = [
                f"select 0::integer as _group, 0::integer as _item, null::varchar as _member, 0::bigint as _record,"
                f" {empty}, true as _good, false as _filtered limit 0"
            ]
        self._db.execute("create temp view staged as " + " union all ".join(parts))
        self._db.execute("create temp view accepted as select * from staged where _good and not _filtered")

    # -- rejected ------------------------------------------------------------------------------------------------

    def _gather_rejected(self, n: int, rows: Rows, query: StageQuery, misfits: Sequence[Misfit]) -> list[str]:
        """Tables of rejected records of one group, with raw text and line; none where nothing was rejected."""
        found: list[str] = []
        bad = self._db.execute(f"select count(*) from s{n} where _bad <> 0").fetchone()
        assert bad is not None
        if bad[0]:
            self._db.execute(
                f"create temp table b{n} as select _item, _member, _record, {query.rejected} from s{n} where _bad <> 0"
            )
            self._raw_of(n, rows)
            self._db.execute(
                f"create temp table r{n} as select b.*, w._source_line, w.raw from b{n} b"
                f" left join w{n} w on w._item = b._item and w._member is not distinct from b._member"
                " and w._record = b._record"
            )
            found.append(f"r{n}")
        if misfits:
            self._db.register(f"misfits_{n}", _misfit_table(misfits))
            self._db.execute(f"create temp table m{n} as select * from misfits_{n}")
            found.append(f"m{n}")
        return found

    def _raw_of(self, n: int, rows: Rows) -> None:
        """Look the raw text of rejected records up, a bounded number at a time, into `w<n>`."""
        self._db.execute(
            f"create temp table w{n} (_item integer, _member varchar, _record bigint, _source_line bigint, raw varchar)"
        )
        reader = self._db.cursor().execute(
            f"select _item, _member, _record from b{n} order by _item, _member, _record"
        ) if False else self._db.execute(f"select _item, _member, _record from b{n} order by all")  # fmt: skip
        records = reader.fetchall()
        for start in range(0, len(records), RAW_CHUNK):
            wanted: dict[tuple[int, str | None], list[int]] = {}
            for item, member, record in records[start : start + RAW_CHUNK]:
                wanted.setdefault((item, member), []).append(record)
            raw = rows.raw(wanted)
            self._db.register(f"raw_{n}", _raw_table(raw))
            self._db.execute(f"insert into w{n} select * from raw_{n}")
            self._db.unregister(f"raw_{n}")

    # -- contested within one load --------------------------------------------------------------------------------

    def _find_losers(self) -> bool:
        """Rows of one load that share a key with a better row of the same load, into `losers`. False if none."""
        if not self._key:
            return False
        names = ", ".join(quoted(n) for n in self._key)
        order = "{'m': coalesce(_member, ''), 'r': _record}"
        best = "arg_max" if self._job.contract.on_conflict == "last" and self._job.contract.key else "arg_min"
        self._db.execute(
            f"create temp table contested as select _item, {names},"
            f" {best}({{'m': coalesce(_member, ''), 'r': _record}}, {order}) as _keep"
            f" from accepted group by all having count(*) > 1"
        )
        found = self._db.execute("select count(*) from contested").fetchone()
        assert found is not None
        if not found[0]:
            return False
        same = " and ".join(f"l.{quoted(n)} is not distinct from c.{quoted(n)}" for n in self._key)
        equal = " and ".join(f"l.{quoted(n)} is not distinct from w.{quoted(n)}" for n, _ in self._columns)
        mark = "{'m': coalesce(%s._member, ''), 'r': %s._record}"
        self._db.execute(
            "create temp table candidates as select l.*, c._keep from accepted l join contested c"
            f" on l._item = c._item and {same}"
        )
        self._db.execute(
            "create temp table losers as select l.* exclude (_keep),"
            f" case when {equal} then 'duplicate' else 'conflict' end as _verdict"
            f" from candidates l join candidates w on w._item = l._item and w._keep = l._keep"
            f" and {mark % ('w', 'w')} = w._keep and {same.replace('c.', 'w.')}"
            f" where {mark % ('l', 'l')} <> l._keep"
        )
        return True

    # -- counting and writing ------------------------------------------------------------------------------------

    def _count(self, losers: bool, rejected: bool) -> dict[int, Counts]:
        counts = {i: [0, 0, 0, 0, 0, 0] for i in range(len(self._job.inputs))}  # read acc rej filt dup conf
        for item, read, accepted, bad, filtered in self._db.execute(
            "select _item, count(*), count(*) filter (_good and not _filtered), count(*) filter (not _good),"
            " count(*) filter (_good and _filtered) from staged group by _item"
        ).fetchall():
            counts[item][:4] = [read, accepted, bad, filtered]
        for (name,) in self._db.execute(
            "select table_name from duckdb_tables() where temporary and regexp_matches(table_name, '^m[0-9]+$')"
        ).fetchall():
            for item, n in self._db.execute(f"select _item, count(*) from {name} group by 1").fetchall():
                counts[item][0] += n
                counts[item][2] += n
        if losers:
            for item, verdict, n in self._db.execute("select _item, _verdict, count(*) from losers group by all").fetchall():
                counts[item][4 if verdict == "duplicate" else 5] += n
        return {
            i: Counts(read, acc, rej, filt, acc - dup - conf, dup, conf)
            for i, (read, acc, rej, filt, dup, conf) in counts.items()
        }

    def _write(self, counts: Mapping[int, Counts], losers: bool, rejected: Sequence[str]) -> list[DataFile]:
        only = {self._job.inputs[0].load: 0} if self._single else None
        files: list[DataFile] = []
        if any(c.loaded for c in counts.values()):
            keep = ""
            if losers:
                keep = (
                    " anti join losers l on a._item = l._item and a._record = l._record"
                    " and a._member is not distinct from l._member"
                )
            files += self._writer.write("data", self._rows(f"accepted a{keep}"), only)
        if losers:
            files += self._writer.write("losers", self._rows("losers a", ", a._verdict"), only)
        if rejected:
            names = '_item, _member, _record, _source_line, rule, "column", value, reason, raw'
            union = " union all ".join(f"select {names} from {t}" for t in rejected)
            files += self._writer.write("rejected", self._rejected(f"({union}) a"), only)
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
        # Constants cost nothing per row; a join with one row would.
        return (
            f"{literal(x.key)} || coalesce('!' || a._member, '') as _source_file, {literal(x.version)} as"
            f" _source_version, a._record as _source_row, {literal(x.load)} as _load_id,"
            f" {literal(x.arrived_at)}::timestamptz as _arrived_at"
        )

    def _inputs_join(self) -> str:
        return "" if self._single else " join inputs i on i._item = a._item"

    def _alerts(self) -> dict[int, list[dict[str, str]]]:
        """Messages of `alert` rules, rendered, one per row that fires."""
        found: dict[int, list[dict[str, str]]] = {}
        for rule in (r for r in self._job.contract.rules if r.kind == "alert"):
            cursor = self._db.execute(f"select * from accepted where {rule.when} order by _item, _record")
            names = [d[0] for d in cursor.description or ()]
            for row in cursor.fetchall():
                values = dict(zip(names, row, strict=True))
                x = self._job.inputs[values["_item"]]
                found.setdefault(values["_item"], []).append(
                    {
                        "name": f"{rule.name}:{x.key}:{x.version}:{values['_member'] or ''}:{values['_record']}",
                        "subject": rule.subject.format_map(values),
                        "body": rule.body.format_map(values),
                    }
                )
        return found


def _misfit_table(misfits: Sequence[Misfit]) -> pa.Table:
    n = len(misfits)
    return pa.table(
        {
            "_item": pa.array([m.item for m in misfits], pa.int32()),
            "_member": pa.array([m.member for m in misfits], pa.string()),
            "_record": pa.array([m.record for m in misfits], pa.int64()),
            "rule": pa.array(["shape"] * n, pa.string()),
            "column": pa.nulls(n, pa.string()),
            "value": pa.nulls(n, pa.string()),
            "reason": pa.array([m.reason for m in misfits], pa.string()),
            "_source_line": pa.array([m.line for m in misfits], pa.int64()),
            "raw": pa.array([m.raw for m in misfits], pa.string()),
        }
    )


def _raw_table(raw: Mapping[tuple[int, str | None, int], tuple[int, str]]) -> pa.Table:
    return pa.table(
        {
            "_item": pa.array([k[0] for k in raw], pa.int32()),
            "_member": pa.array([k[1] for k in raw], pa.string()),
            "_record": pa.array([k[2] for k in raw], pa.int64()),
            "_source_line": pa.array([v[0] for v in raw.values()], pa.int64()),
            "raw": pa.array([v[1] for v in raw.values()], pa.string()),
        }
    )


__all__ = ["Failure", "Input", "Job", "handle", "json"]
