"""Rejected records of one staged group, with their raw text and line, as temporary tables for the quarantine.

Two kinds: rows that failed a cast, check or rule (`_bad <> 0`), and records that never became rows (misfits).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa

from headrace.contract.query import StageQuery
from headrace.engine.sql import scalar
from headrace.formats.rows import Misfit, Rows

RAW_CHUNK = 200_000
"""Rejected records whose raw text is looked up at a time: bounds memory when a whole file is rejected."""

COLUMNS = '_item, _member, _record, _source_line, rule, "column", value, reason, raw'


def gather_rejected(
    db: duckdb.DuckDBPyConnection, n: int, rows: Rows, query: StageQuery, misfits: Sequence[Misfit]
) -> list[str]:
    """Names of tables with `COLUMNS` for group `n`, staged as `s<n>`; none where nothing was rejected."""
    found: list[str] = []
    if scalar(db, f"select count(*) from s{n} where _bad <> 0"):
        db.execute(
            f"create temp table b{n} as select _item, _member, _record, {query.rejected} from s{n} where _bad <> 0"
        )
        _look_up_raw(db, n, rows)
        db.execute(
            f"create temp table r{n} as select b.*, w._source_line, w.raw from b{n} b left join w{n} w"
            " on w._item = b._item and w._member is not distinct from b._member and w._record = b._record"
        )
        found.append(f"r{n}")
    if misfits:
        db.register(f"misfits_{n}", _misfit_table(misfits))
        db.execute(f"create temp table m{n} as select * from misfits_{n}")
        db.unregister(f"misfits_{n}")
        found.append(f"m{n}")
    return found


def _look_up_raw(db: duckdb.DuckDBPyConnection, n: int, rows: Rows) -> None:
    db.execute(
        f"create temp table w{n} (_item integer, _member varchar, _record bigint, _source_line bigint, raw varchar)"
    )
    records = db.execute(f"select _item, _member, _record from b{n} order by all").fetchall()
    for start in range(0, len(records), RAW_CHUNK):
        wanted: dict[tuple[int, str | None], list[int]] = {}
        for item, member, record in records[start : start + RAW_CHUNK]:
            wanted.setdefault((item, member), []).append(record)
        db.register(f"raw_{n}", _raw_table(rows.raw(wanted)))
        db.execute(f"insert into w{n} select * from raw_{n}")
        db.unregister(f"raw_{n}")


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
