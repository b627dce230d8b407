"""The bulk work in Polars' streaming engine. It has no MD5: two seeded 64-bit hashes of the row stand in for it.

usage: polars_events.py FILE OUT
"""

import json
import sys
from pathlib import Path

import polars as pl

source, out = Path(sys.argv[1]), Path(sys.argv[2])
INTEGERS, FLOATS = ["customer_id", "quantity"], ["unit_price", "amount", "temperature"]
NAMES = "event_id event_time customer_id device_id site category quantity unit_price amount temperature status note"

text = pl.scan_csv(source, schema=dict.fromkeys(NAMES.split(), pl.String), row_index_name="_source_row")
row = pl.struct(NAMES.split())
numbers = {n: pl.col(n).cast(pl.Int64, strict=False) for n in INTEGERS} | {
    n: pl.col(n).cast(pl.Float64, strict=False) for n in FLOATS
}
time = pl.col("event_time").str.to_datetime("%Y-%m-%dT%H:%M:%S", strict=False)
casts = numbers | {"event_time": time}
bad = pl.any_horizontal([cast.is_null() & pl.col(name).is_not_null() for name, cast in casts.items()])

bad_rows = text.filter(bad)
good = (
    text.with_columns(row_id_a=row.hash(1), row_id_b=row.hash(2), _bad=bad, **casts)
    .filter(~pl.col("_bad"))
    .drop("_bad")
    .unique(subset=["row_id_a", "row_id_b"], keep="any")
    .with_columns(
        _source_file=pl.lit(source.name), year=pl.col("event_time").dt.year(), month=pl.col("event_time").dt.month()
    )
)
sinks = [
    bad_rows.sink_parquet(out / "rejected.parquet", lazy=True),
    good.sink_parquet(pl.PartitionBy(out / "data", key=["year", "month"]), mkdir=True, compression="snappy", lazy=True),
]
pl.collect_all(sinks, engine="streaming")
rows = pl.scan_parquet(out / "data/**/*.parquet").select(pl.len()).collect().item()
rejected = pl.scan_parquet(out / "rejected.parquet").select(pl.len()).collect().item()
print(json.dumps({"rows": rows, "rejected": rejected}))
