"""What `test_pandas_shim.py` asks of a child."""

from __future__ import annotations

import math
import sys
from typing import Any

import pyarrow as pa

from headrace.engine import pandas_shim


def lists(payload: dict[str, Any]) -> dict[str, Any]:
    pa.table({"a": [1, 2]})
    return {"imported": "pandas" in sys.modules}


def frames(payload: dict[str, Any]) -> dict[str, Any]:
    """What a step may do that knows pandas."""
    pandas_shim.find()
    import pandas

    frame = pandas.DataFrame({"a": [1.0, math.nan]})
    back = pa.table({"a": [1, 2]}).to_pandas()
    return {"nulls": [pa.array(frame["a"]).null_count, pa.Table.from_pandas(frame)["a"].null_count], "rows": len(back)}


def conversions(payload: dict[str, Any]) -> dict[str, Any]:
    """What PyArrow and DuckDB do of themselves when they are asked for pandas."""
    import duckdb

    return {"rows": [len(pa.table({"a": [1, 2]}).to_pandas()), len(duckdb.sql("select 1").df())]}
