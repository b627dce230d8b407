"""What `test_pandas_shim.py` asks of a child."""

from __future__ import annotations

import sys
from typing import Any

import pyarrow as pa


def lists(payload: dict[str, Any]) -> dict[str, Any]:
    """What our own code does: conversions that name their type."""
    pa.table({"a": pa.array([1, 2], pa.int64()), "b": pa.array(["x", None], pa.string())}).to_pylist()
    return {"imported": "pandas" in sys.modules}


def conversions(payload: dict[str, Any]) -> dict[str, Any]:
    """What PyArrow and DuckDB do of themselves when they are asked for pandas."""
    import duckdb

    return {"rows": [len(pa.table({"a": [1, 2]}).to_pandas()), len(duckdb.sql("select 1").df())]}


def imported(payload: dict[str, Any]) -> dict[str, Any]:
    return {"imported": "pandas" in sys.modules}
