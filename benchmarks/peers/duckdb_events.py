"""The bulk work as a bare DuckDB query (duckdb_events.sql): the floor that Headrace is measured against.

usage: duckdb_events.py FILE OUT [MEMORY]
"""

import json
import sys
from pathlib import Path

import duckdb

source, out = Path(sys.argv[1]), Path(sys.argv[2])
memory = sys.argv[3] if len(sys.argv) > 3 else "1.3GB"
names = {"$source": source, "$rejected": out / "rejected.parquet", "$data": out / "data"}
text = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
for name, path in names.items():
    text = text.replace(name, f"'{path}'")

settings = {
    "threads": "2",
    "memory_limit": memory,
    "temp_directory": str(out / "spill"),
    "partitioned_write_max_open_files": "200",
    "partitioned_write_flush_threshold": "16384",
}
with duckdb.connect(config=settings) as connection:
    connection.execute("SET timezone = 'UTC'")
    counts = []
    for statement in text.split("\n----\n"):
        connection.execute(statement)
        counts.append(connection.fetchone())
print(json.dumps({"rows": counts[3][0], "rejected": counts[2][0]}))
