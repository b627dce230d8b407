"""A year of trading days within a minute: all accounted for, and what it took in time, requests and money."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import pytest

from emulator import ROOT, Judging
from headrace.aws.declare.cost import Sample, cost
from headrace.aws.declare.resources import resources
from headrace.aws.options import AwsOptions

from .deployed import Role, Stack

PROJECT = Path(__file__).parent / "retail"
PREFIX = "raw/retail/"
ROWS, TWICE = 541_909, 5_268
"""Lines of all days, and those that repeat one of their own day (the data's own page)."""


@pytest.fixture
def stack(judging_alone: Judging, tmp_path: Path) -> Iterator[Stack]:
    with Stack.of_copy(judging_alone, PROJECT, tmp_path).standing() as made:
        yield made


def days() -> list[Path]:
    given = os.environ.get("HEADRACE_REAL_DATA")
    folder = Path(given) if given else ROOT.parent / "shared" / "data"
    return sorted((folder / "online_retail" / "by-day").glob("*.csv"))


@pytest.mark.soak
def test_a_year_of_trading_days_that_arrive_within_a_minute_is_accounted_for(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    files = days()
    if not files:
        pytest.skip("no real files here; HEADRACE_REAL_DATA names their folder")
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda path: stack.put(PREFIX + path.name, path.read_bytes()), files))
    uploaded = time.monotonic() - began
    stack.quiet("retail", patience=1500)
    took = time.monotonic() - began
    assert uploaded < 60

    totals = stack.home("retail").ledger.totals()
    assert (totals.read, totals.loaded, totals.duplicate) == (ROWS, ROWS - TWICE, TWICE)
    assert (totals.rejected, totals.filtered, totals.conflict) == (0, 0, 0)
    assert len(stack.home("retail").ledger.in_state("standing")) == len(files)
    assert len(stack.lake("retail")) == totals.loaded == len(stack.partition_keys("retail"))

    sample = used(stack, totals.loaded, files)
    options = AwsOptions.from_mapping(stack.project.place.settings)
    estimate = cost(resources("retail", list(stack.project.pipelines.values()), options, {}, "aws"), options, sample)
    with capsys.disabled():
        print(f"\n{len(files)} files uploaded in {uploaded:.0f} s, all rows stand after {took:.0f} s")
        print(f"invocations {dict(sample.invocations)}, seconds { ({k: round(v) for k, v in sample.seconds.items()}) }")
        requests = Counter({name: n for name, n in sample.calls.items() if ":" not in name[0]})  # the others are units
        print(f"requests {requests.total():,}: {requests.most_common(8)}")
        print(f"this load {estimate.per_million_rows * totals.loaded / 1e6:.2f} USD")
        for line in estimate.loading:
            print(f"  {line.what:32} {line.amount * totals.loaded / 1e6:8.4f}  {line.basis}")


def used(stack: Stack, rows: int, files: list[Path]) -> Sample:
    """What the functions counted and took, as they logged it."""
    calls: Counter[tuple[str, str]] = Counter()
    invocations: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for role in get_args(Role):
        for line in stack.lines("retail", role):
            if line["event"] == "requests":
                for name, n in line["requests"].items():
                    service, _, operation = name.rpartition(":")
                    calls[service, operation] += n
            if line["event"] == "invocation":
                invocations[role] += 1
                seconds[role] += line["seconds"]
    ledger = stack.home("retail").ledger
    base = sum(file.size for kind in ("data", "losers", "rejected") for file in ledger.files(kind))
    landed = sum(path.stat().st_size for path in files)
    return Sample("retail days", rows, len(files), calls, invocations, seconds, landed, base, rows * 400)
