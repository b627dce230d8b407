"""The bulk work with dlt into its DuckDB destination, deduplicated by merging on the row's id.

usage: dlt_events.py FILE OUT rows|arrow   (rows: dlt's default CSV reader, record by record; arrow: its Arrow reader)
"""

import hashlib
import json
import os
import sys
from datetime import datetime
from pathlib import Path

os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR", "NORMALIZE__WORKERS": "2"}

import dlt
import duckdb
from dlt.sources.filesystem import filesystem, read_csv, read_csv_duckdb

source, out, reader = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
CASTS = {"customer_id": int, "quantity": int, "unit_price": float, "amount": float, "temperature": float}
SQL = {
    "customer_id": "BIGINT",
    "quantity": "BIGINT",
    "unit_price": "DOUBLE",
    "amount": "DOUBLE",
    "temperature": "DOUBLE",
}
REJECTED = dlt.mark.make_hints(table_name="rejected", write_disposition="append", primary_key="")


@dlt.transformer(name="events", write_disposition="merge", primary_key="row_id")
def typed_rows(page):
    """A page of records: cast in Python, with their ids; those that do not cast go to the table of rejected rows."""
    good, bad = [], []
    for row in page:
        whole = "\x1f".join(row.values())
        row_id = hashlib.md5(whole.encode(), usedforsecurity=False).hexdigest()
        try:
            found = {k: (CASTS[k](v) if k in CASTS else v) if v != "" else None for k, v in row.items()}
            found["event_time"] = datetime.fromisoformat(row["event_time"])
        except ValueError as problem:
            bad.append({"row_id": row_id, "raw": whole, "reason": str(problem)})
            continue
        found["row_id"], found["_source_file"] = row_id, source.name
        good.append(found)
    yield good
    if bad:
        yield dlt.mark.with_hints(bad, REJECTED, create_table_variant=True)


@dlt.transformer(name="events", write_disposition="merge", primary_key="row_id")
def typed_table(table):
    """An Arrow table: the same in DuckDB's SQL, the fastest thing that a transformer could call."""
    connection = duckdb.connect()
    connection.execute("SET threads = 2; SET preserve_insertion_order = false")
    connection.register("t", table)
    names = table.schema.names
    whole = "concat_ws(chr(31), " + ", ".join(f"coalesce({n}, '')" for n in names) + ")"
    casts = {n: f"TRY_CAST({n} AS {kind})" for n, kind in SQL.items()} | {
        "event_time": "TRY_CAST(event_time AS TIMESTAMP)"
    }
    bad = " OR ".join(f"({cast} IS NULL AND {name} IS NOT NULL)" for name, cast in casts.items())
    bad = f"coalesce({bad} OR contains(quantity, '.') OR contains(customer_id, '.'), false)"
    columns = ", ".join(f"{casts[n]} AS {n}" if n in casts else n for n in names)
    kept = f"SELECT {columns}, md5({whole}) AS row_id, '{source.name}' AS _source_file FROM t WHERE NOT {bad}"
    yield connection.sql(kept).to_arrow_table()
    wrong = connection.sql(f"SELECT md5({whole}) AS row_id, {whole} AS raw FROM t WHERE {bad}").to_arrow_table()
    if wrong.num_rows:
        yield dlt.mark.with_hints(wrong, REJECTED, create_table_variant=True)


files = filesystem(bucket_url=source.parent.as_uri(), file_glob=source.name)
if reader == "rows":
    rows = files | read_csv(chunksize=20_000, dtype=str, keep_default_na=False) | typed_rows
else:
    rows = files | read_csv_duckdb(use_pyarrow=True, chunk_size=200_000, all_varchar=True) | typed_table

pipeline = dlt.pipeline(
    "bench",
    destination=dlt.destinations.duckdb(str(out / "events.duckdb")),
    dataset_name="ds",
    pipelines_dir=str(out / "state"),
)
pipeline.run(rows, loader_file_format="parquet")
with duckdb.connect(str(out / "events.duckdb")) as connection:
    loaded = connection.execute("SELECT count(*) FROM ds.events").fetchone()[0]
    rejected = connection.execute("SELECT count(*) FROM ds.rejected").fetchone()[0]
print("\n" + json.dumps({"rows": loaded, "rejected": rejected}))
