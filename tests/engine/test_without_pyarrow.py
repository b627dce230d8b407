"""The publisher does without PyArrow (170 MB), so that it fits where programs must be small. Only staging needs it."""

from __future__ import annotations

import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from headrace.aws.session import Session
from sinks.homes import public_catalog

HERE = Path(__file__).resolve().parent
REGION = "eu-west-2"
AWS = """
import sys, pkgutil, importlib
from without_pyarrow import NoPyArrow
sys.meta_path.insert(0, NoPyArrow())
import headrace.aws
for module in pkgutil.walk_packages(headrace.aws.__path__, "headrace.aws."):
    if module.name != "headrace.aws.athena":  # hands tables to people, in no function
        importlib.import_module(module.name)
"""
STAND = [("x", "2025-01-01", 10), ("y", "2025-01-02", 2), ("z", "2026-01-03", 3), ("z", "never", 4)]


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=HERE, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(table: Table) -> list[tuple[Any, ...]]:
    return sorted((r["asset"], r["day"], r["value"]) for r in table.scan().to_arrow().to_pylist())


def test_revisions_are_decided_contested_recorded_and_applied_without_pyarrow(tmp_path: Path) -> None:
    made = int(run("without_pyarrow.py", "local", str(tmp_path / "root")))
    assert made >= 4
    assert rows(SqlCatalog("headrace", uri=f"sqlite:///{tmp_path}/root/catalog.db").load_table("lake.t")) == STAND
    losers = sorted((tmp_path / "root/lake/t/losers").rglob("*.parquet"))
    found = "select distinct asset, value, _verdict from read_parquet($1)"
    assert duckdb.execute(found, [[str(path) for path in losers]]).fetchall() == [("x", 1, "conflict")]


def test_the_other_home_s_publisher_does_without_it_in_every_sink(tmp_path: Path, aws_environment: str) -> None:
    name = f"bare{secrets.token_hex(5)}"
    made = int(run("without_pyarrow.py", "aws", str(tmp_path / name)))
    assert made >= 4
    assert rows(public_catalog(aws_environment).load_table((name, "t"))) == STAND
    items = Session(REGION).client("dynamodb").scan(TableName=f"{name}-k", ConsistentRead=True)["Items"]
    assert sorted((i["asset"]["S"], i["day"]["S"], int(i["value"]["N"])) for i in items if "value" in i) == STAND


def test_no_module_that_a_function_on_aws_loads_imports_pyarrow() -> None:
    run("-c", AWS)
