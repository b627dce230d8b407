"""The bulk work in pandas: Arrow strings and Arrow's parser, whole-column casts, one MD5 per row.

usage: pandas_events.py FILE OUT [md5|hash64]   (hash64: pandas' own 64-bit hash in place of MD5)
"""

import hashlib
import json
import sys
from pathlib import Path

import pandas as pd

source, out, digest = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
INTEGERS, FLOATS = ["customer_id", "quantity"], ["unit_price", "amount", "temperature"]

frame = pd.read_csv(source, dtype="string[pyarrow]", engine="pyarrow", keep_default_na=False, na_values=[])
names = list(frame.columns)
if digest == "md5":
    joined = zip(*(frame[name].tolist() for name in names), strict=True)
    frame["row_id"] = [hashlib.md5("\x1f".join(row).encode(), usedforsecurity=False).digest() for row in joined]
else:
    frame["row_id"] = pd.util.hash_pandas_object(frame[names], index=False)
frame["_source_row"] = range(1, len(frame) + 1)

bad = pd.Series(False, index=frame.index)
raw = {}
for name in INTEGERS + FLOATS:
    text = frame[name]
    number = pd.to_numeric(text, errors="coerce")
    wrong = number.isna() & (text != "")
    if name in INTEGERS:
        wrong |= number.notna() & (number % 1 != 0)
        number = number.where(~wrong).astype("Int64")
    raw[name] = text[wrong]
    bad |= wrong
    frame[name] = number
time = pd.to_datetime(frame["event_time"], format="%Y-%m-%dT%H:%M:%S", errors="coerce")
bad |= time.isna()
frame["event_time"] = time
for name in set(names) - set(INTEGERS) - set(FLOATS) - {"event_time"}:
    frame[name] = frame[name].where(frame[name] != "")

rejected = frame[bad].copy()
for name, values in raw.items():
    rejected[f"{name}_raw"] = values
rejected.to_parquet(out / "rejected.parquet", index=False)
frame = frame[~bad].drop_duplicates("row_id")
frame["_source_file"] = pd.Categorical([source.name] * len(frame))
frame["year"], frame["month"] = frame["event_time"].dt.year, frame["event_time"].dt.month
frame.to_parquet(out / "data", partition_cols=["year", "month"], engine="pyarrow", compression="snappy", index=False)
print(json.dumps({"rows": len(frame), "rejected": len(rejected)}))
