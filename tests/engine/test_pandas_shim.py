"""A child that parses files has no pandas; that steps have it, as if nothing had been done, `test_steps.py` tries."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from shutil import move
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace import Pipeline, Record, files, lake
from headrace.engine.ingest import ingest
from headrace.engine.reconcile import scan
from headrace.engine.sandbox import Sandbox
from headrace.engine.settings import Settings
from headrace.local.target import LocalTarget
from trials.making import workbook

pytest.importorskip("pandas")


class Row(Record, key="k"):
    k: int
    v: int


PIPELINE = Pipeline("p", source=files("in/"), record=Row, sinks=(lake("t"),))
ROWS = (("1", "1"), ("2", "x"), ("3", "5"))


def write(path: Path) -> None:
    """The same rows in each format."""
    path.parent.mkdir(exist_ok=True)
    text = "k,v\n" + "".join(f"{k},{v}\n" for k, v in ROWS)
    match path.name.partition(".")[2]:
        case "csv":
            path.write_text(text)
        case "csv.gz":
            path.write_bytes(gzip.compress(text.encode()))
        case "json":
            path.write_text(json.dumps([{"k": k, "v": v} for k, v in ROWS]))
        case "xlsx":
            path.write_bytes(workbook([["k", "v"], *map(list, ROWS)]))
        case "parquet":
            pq.write_table(pa.table({"k": [k for k, _ in ROWS], "v": [v for _, v in ROWS]}), path)


@pytest.fixture
def child() -> Iterator[Sandbox]:
    with Sandbox(Settings(), preload=("pandas_handlers",)) as made:
        yield made


def ask(child: Sandbox, what: str) -> dict[str, Any]:
    return child.call(f"pandas_handlers:{what}", {}, 60)


def test_lists_are_converted_without_pandas(child: Sandbox) -> None:
    assert ask(child, "lists") == {"imported": False}


def test_whoever_asks_for_frames_gets_them(child: Sandbox) -> None:
    assert ask(child, "conversions") == {"rows": [2, 1]}


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.xlsx", "a.parquet", "a.csv.gz"])
def test_no_format_is_read_with_pandas(tmp_path: Path, name: str) -> None:
    """A conversion without a type would import it."""
    for other in (name, f"b{name}"):  # two are described to each other
        write(tmp_path / "in" / other)
    target = LocalTarget(tmp_path / "root")
    home = target.home(PIPELINE)
    (target.landing / "in").mkdir()
    for path in list((tmp_path / "in").iterdir()):
        move(path, target.landing / "in" / path.name)
    scan(home)
    with Sandbox(home.settings, preload=("headrace.engine.stage", "pandas_handlers")) as child:
        ingest(home, child, home.queue.lease("p", 10, timedelta(minutes=1)))
        assert ask(child, "imported") == {"imported": False}
    loads = home.ledger.history()
    assert [(x.counts.accepted, x.counts.rejected, x.cause) for x in loads] == [(2, 1, "")] * 2
    target.close()
