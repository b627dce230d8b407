"""Rough weather: events up to three times and in no order, throttling, functions killed on the way. Nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from emulator import Judging

from .deployed import Stack, shuffled
from .embedded import Embedded
from .lv import PREFIX, example, made_files, real_files
from .rough import rough

FAULTS = (
    ("ingest", "ingest.staged"),
    ("publish", "publish.recorded"),
    ("publish", "recover.applied"),
    ("ingest", "ingest.owned"),
    ("publish", "lake.after-commit"),
)


@pytest.fixture
def stack(judging_alone: Judging, tmp_path: Path) -> Iterator[Stack]:
    with example(judging_alone, tmp_path).standing() as made:
        yield made


def test_nothing_is_lost_and_nothing_is_there_twice_in_rough_weather(stack: Stack, tmp_path: Path) -> None:
    weather(stack, real_files(5) or made_files(tmp_path / "input", 5), tmp_path, seed=7, patience=240)


@pytest.mark.soak
def test_all_real_files_in_rough_weather(stack: Stack, tmp_path: Path) -> None:
    files = real_files(30)
    if not files:
        pytest.skip("no real files here; HEADRACE_REAL_DATA names their folder")
    weather(stack, files, tmp_path, seed=11, patience=1800)


def weather(stack: Stack, files: dict[str, Path], tmp_path: Path, seed: int, patience: float) -> None:
    random = Random(seed)
    twin = Embedded(tmp_path / "twin", stack.project.pipelines["lv"])
    place = stack.of("lv")
    with rough(stack.aws.endpoint, stack.aws.trust(), seed=seed) as (endpoint, told):
        for function in (place.ingest, place.publish):
            stack.configure(function, AWS_ENDPOINT_URL_DYNAMODB=endpoint)
        with stack.paused("lv"):
            for key, path in files.items():
                body = path.read_bytes()
                twin.put(key, body, stack.put(key, body))
            events = shuffled(stack.taken("lv", at_least=len(files)), random)
        crashes = 0
        for n, (role, fault) in enumerate(FAULTS):
            function = getattr(place, role)
            before, until = stack.failures(function), time.monotonic() + 15
            with stack.crashing("lv", role, fault):
                stack.tell("lv", events[n :: len(FAULTS)])
                while stack.failures(function) == before and time.monotonic() < until:
                    time.sleep(0.1)  # it may be that nothing is left to do which would pass the point
            crashes += stack.failures(function) - before
            stack.let_leases_end("lv")
        stack.quiet("lv", patience=patience)
    twin.quiet()
    assert crashes >= 3, f"{crashes} crashes"
    assert told.undone and told.throttled, "the weather was not rough"
    aws, here = stack.facts("lv", PREFIX), twin.facts(PREFIX)
    assert aws == here, f"AWS (here) and embedded (there) differ:\n{aws.differences(here)}"
    assert len(aws.lake) == len(aws.items) > 0
    twin.close()
