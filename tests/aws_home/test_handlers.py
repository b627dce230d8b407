"""What a function does around the engine. The way of a datum through it is in the scenarios."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from headrace import Pipeline, Record, files, lake
from headrace.aws.handlers import FOLDER, own_folder
from headrace.aws.options import AwsOptions
from headrace.aws.places import Places
from headrace.aws.session import Session
from headrace.aws.target import LEASE, AwsTarget
from headrace.local.clock import ManualClock
from headrace.model.times import instant_of
from ports.ledgers import make_places


class Row(Record, key="k"):
    k: int


def test_a_function_clears_away_what_an_earlier_process_left_on_its_disk(tmp_path: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    of_the_dead = tmp_path / f"{FOLDER}-{dead.stdout.strip()}-x"
    of_the_same_number = tmp_path / f"{FOLDER}-{os.getpid()}-y"
    of_the_living = tmp_path / f"{FOLDER}-{os.getppid()}-z"
    of_others = tmp_path / "somebody-1-else"
    for folder in (of_the_dead, of_the_same_number, of_the_living, of_others):
        folder.mkdir()
        (folder / "copy").write_text("x")
    mine = own_folder(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([of_the_living, of_others, mine])
    assert not list(mine.iterdir())


def test_a_publisher_that_is_killed_late_in_its_life_is_followed_soon(aws_environment: str, tmp_path: Path) -> None:
    session = Session("eu-west-2")
    table, bucket = make_places(session)
    shared = dict.fromkeys(("account", "landing", "topic", "operations", "database", "workgroup", "artifacts"), "x")
    places = Places(stack="s", region="eu-west-2", lake=bucket, ledger=table, **shared)
    target = AwsTarget(session, places, AwsOptions(stack="s", region="eu-west-2"), tmp_path, clock=ManualClock())
    pipeline = Pipeline("p", source=files("in/"), record=Row, sinks=[lake("t")])
    ledger = target.ledger(pipeline, target.queue)
    target.seconds_left = lambda: 20.0
    with pytest.raises(KeyboardInterrupt), target.home(pipeline).lock():
        told = instant_of(ledger.log.peek().until) - target.clock.now()
        raise KeyboardInterrupt
    assert told == timedelta(seconds=20 + LEASE)
