"""The substation example: generated files against what plain Python computes, and the real files where they are."""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from headrace.project import Project, open_project

Reading = tuple[str, str, datetime, float]  # substation, asset, time, value

HIGHEST_MEANS = ["JOCKEY RD BRIDGE - BOLDMERE 41F2", "HARBORNE ROAD - EDGBASTON", "MARYLAND AVE - SHARD END 66B1"]
"""Of the real files' month 12, highest first, as the README of the real data names them."""


@pytest.fixture(scope="module")
def copy(example: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("substation") / "example"
    shutil.copytree(example, place, ignore=shutil.ignore_patterns(".headrace", "__pycache__", "input"))
    return place


@pytest.fixture(scope="module")
def generator(copy: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("substation_generate", copy / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def files(copy: Path, generator: ModuleType) -> list[Path]:
    made: list[Path] = generator.generate(copy / "input", substations=5, days=3)
    return made


@pytest.fixture(scope="module")
def readings(files: list[Path]) -> list[Reading]:
    """What the files say, read by the standard library."""
    found = []
    for path in files:
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                asset = f"{row['Substation Number']}/{row['Feeder ID'] or 'busbar'}/{row['Description']}"
                at = datetime.fromisoformat(row["Timestamp"])
                found.append((row["Substation Number"], asset, at, float(row["Value"])))
    return found


@pytest.fixture(scope="module")
def project(copy: Path, files: list[Path]) -> Iterator[Project]:
    with open_project(copy) as opened:
        result = opened.run("lv", files)
        assert result.exit_code == 0, [load.cause for load in result.loads]
        yield opened


def ask(project: Project, name: str) -> list[dict[str, Any]]:
    return project.sql((project.directory / "queries" / f"{name}.sql").read_text(encoding="utf-8")).rows()


def values_by(readings: list[Reading], position: int) -> dict[str, list[float]]:
    found = defaultdict(list)
    for reading in readings:
        found[str(reading[position])].append(reading[3])
    return found


def test_the_generator_writes_the_same_bytes_for_the_same_arguments(generator: ModuleType, tmp_path: Path) -> None:
    one, two = (generator.generate(tmp_path / name, substations=2, days=1) for name in "ab")
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]


def test_every_generated_row_is_loaded_once(project: Project, readings: list[Reading]) -> None:
    counted = project.sql("SELECT count(*) AS n, count(DISTINCT (asset_id, timestamp)) AS keys FROM lv_data").rows()
    assert counted == [{"n": len(readings), "keys": len(readings)}]


def test_running_the_same_files_again_loads_nothing(project: Project, files: list[Path]) -> None:
    again = project.run("lv", files)
    assert again.totals["read"] == 0
    assert {load.state for load in again.loads} == {"unchanged"}


def test_one_asset_between_two_times(project: Project, readings: list[Reading]) -> None:
    earliest, latest = datetime(2025, 5, 2, 6, tzinfo=UTC), datetime(2025, 5, 2, 7, tzinfo=UTC)
    wanted = [r[3] for r in readings if r[1] == "910001/1/L1 Active Power" and earliest <= r[2] <= latest]
    assert [row["value"] for row in ask(project, "one_asset_between_two_times")] == wanted
    assert len(wanted) == 7


def test_one_asset_on_one_day_by_query_and_by_key(project: Project, readings: list[Reading]) -> None:
    asset = "910001/1/L1 Active Power"
    wanted = [r[3] for r in readings if r[1] == asset and f"{r[2]:%Y-%m-%d}" == "2025-05-02"]
    assert [row["value"] for row in ask(project, "one_asset_on_one_day")] == wanted
    assert [row["value"] for row in project.get("asset_data", asset, begins_with="2025-05-02")] == wanted
    assert len(wanted) == 144


def test_average_load_per_substation_is_highest_first(project: Project, readings: list[Reading]) -> None:
    may = values_by([r for r in readings if r[2].month == 5], 0)
    wanted = sorted(((statistics.fmean(v), number) for number, v in may.items()), reverse=True)
    found = ask(project, "average_load_per_substation")
    assert [row["substation_number"] for row in found] == [number for _, number in wanted]
    assert [row["average_load"] for row in found] == pytest.approx([mean for mean, _ in wanted], abs=1e-4)


def test_peak_per_asset(project: Project, readings: list[Reading]) -> None:
    peaks = {asset: max(values) for asset, values in values_by(readings, 1).items()}
    found = ask(project, "peak_per_asset")
    assert {row["asset_id"]: row["peak"] for row in found} == peaks
    first = min(r[2] for r in readings if r[1] == found[0]["asset_id"] and r[3] == found[0]["peak"])
    assert found[0]["reached"] == first


def test_variance_per_asset(project: Project, readings: list[Reading]) -> None:
    by_asset = values_by(readings, 1)
    for row in ask(project, "variance_per_asset"):
        values = by_asset[row["asset_id"]]
        assert row["variance"] == pytest.approx(statistics.variance(values))
        assert row["share_negative"] == pytest.approx(sum(v < 0 for v in values) / len(values))


def test_daily_trend(project: Project, readings: list[Reading]) -> None:
    days = defaultdict(list)
    for _, _, at, value in readings:
        days[at.date()].append(value)
    found = ask(project, "daily_trend")
    assert [row["day"] for row in found] == sorted(days)
    assert [row["average_load"] for row in found] == pytest.approx([statistics.fmean(days[d]) for d in sorted(days)])


def test_every_query_of_the_example_is_tested() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    queries = Path(__file__).parent.parent / "examples" / "substation_load" / "queries"
    assert all(f'ask(project, "{path.stem}")' in here for path in queries.glob("*.sql"))


# -- the real files ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_copy(example: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("real") / "example"
    shutil.copytree(example, place, ignore=shutil.ignore_patterns(".headrace", "__pycache__", "input"))
    return place


@pytest.fixture(scope="module")
def real_files(real_data: Path) -> list[str]:
    found = sorted(map(str, (real_data / "lv_load_monitor").rglob("*.csv")))
    assert len(found) == 30
    return found


def headrace(*words: str, project: Path, code: int = 0) -> str:
    argv = [str(Path(sys.executable).with_name("headrace")), *words, "--project", str(project)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def first_run(real_copy: Path, real_files: list[str]) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(headrace("run", "lv", *real_files, "--json", project=real_copy))
    return answer


def test_the_real_files_load_whole(first_run: dict[str, Any]) -> None:
    totals = {k: first_run["totals"][k] for k in ("read", "loaded", "rejected", "duplicate", "filtered")}
    assert totals == {"read": 413_649, "loaded": 413_649, "rejected": 0, "duplicate": 0, "filtered": 0}
    assert len(first_run["loads"]) == 30


def test_the_real_files_give_the_known_means(first_run: dict[str, Any], real_copy: Path, real_files: list[str]) -> None:
    """Against exact decimals over the files themselves: a mean rounded on paper could hide a row."""
    values = defaultdict(list)
    for path in (p for p in real_files if "/m=12/" in p):
        with open(path, encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                values[row["Substation Name"]].append(Decimal(row["Value"]))
    wanted = sorted(((sum(v) / len(v), name) for name, v in values.items()), reverse=True)[:3]
    means = "SELECT substation_name, avg(value) AS mean FROM lv_data WHERE month = 12 GROUP BY ALL"
    found = json.loads(headrace("sql", f"{means} ORDER BY mean DESC LIMIT 3", "--json", project=real_copy))
    assert [row["substation_name"] for row in found] == [name for _, name in wanted] == HIGHEST_MEANS
    assert [row["mean"] for row in found] == pytest.approx([float(mean) for mean, _ in wanted], rel=1e-12)


def test_loading_the_real_files_again_changes_nothing(
    first_run: dict[str, Any], real_copy: Path, real_files: list[str]
) -> None:
    again = json.loads(headrace("run", "lv", *real_files, "--json", project=real_copy))
    assert again["totals"]["loaded"] == 0
    assert {load["state"] for load in again["loads"]} == {"unchanged"}
    assert json.loads(headrace("sql", "SELECT count(*) AS n FROM lv_data", "--json", project=real_copy)) == [
        {"n": 413_649}
    ]


def test_one_assets_day_is_found_in_milliseconds(first_run: dict[str, Any], real_copy: Path) -> None:
    with open_project(real_copy) as project:
        asset = "724023/1/L1 Active Power"
        project.get("asset_data", asset, begins_with="2022-12-12")  # opens the file
        began = time.perf_counter()
        found = project.get("asset_data", asset, begins_with="2022-12-12")
        taken = time.perf_counter() - began
    assert len(found) == 144
    assert taken < 0.01


@pytest.fixture(scope="module")
def weak_key(example: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example with its key reduced to substation and time."""
    place = tmp_path_factory.mktemp("weak") / "example"
    shutil.copytree(example, place, ignore=shutil.ignore_patterns(".headrace", "__pycache__", "input"))
    text = (place / "pipelines.py").read_text(encoding="utf-8")
    (place / "pipelines.py").write_text(
        text.replace('key=("asset_id", "timestamp")', 'key=("substation_number", "timestamp")')
    )
    return place


def test_check_against_tells_that_a_weak_key_identifies_few_rows(weak_key: Path, real_files: list[str]) -> None:
    argv = [
        str(Path(sys.executable).with_name("headrace")),
        "check",
        "--against",
        *real_files,
        "--project",
        str(weak_key),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    assert "28,778 of 413,649" in done.stdout + done.stderr


def test_a_weak_key_loses_no_row_silently(weak_key: Path, real_files: list[str]) -> None:
    argv = [
        str(Path(sys.executable).with_name("headrace")),
        "run",
        "lv",
        *real_files,
        "--json",
        "--project",
        str(weak_key),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    totals = json.loads(done.stdout)["totals"]
    assert totals["read"] == 413_649 == totals["loaded"] + totals["duplicate"] + totals["rejected"] + totals["filtered"]
    assert totals["loaded"] == 28_778
    query = "SELECT (SELECT count(*) FROM lv_data) AS kept, (SELECT count(*) FROM lv_data__losers) AS lost"
    assert json.loads(headrace("sql", query, "--json", project=weak_key)) == [
        {"kept": 28_778, "lost": 413_649 - 28_778}
    ]
