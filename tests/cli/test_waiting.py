"""What is asked while another process holds the root: it is done there, or said why it is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_project import DEFINITION, Command, csv

from headrace import open_project
from headrace.local.lock import exclusive
from headrace.model.errors import DefinitionError, InfrastructureError
from headrace.model.loads import Event
from headrace.project.waiting import wait

HEADRACE = [sys.executable, "-c", "import sys; from headrace.cli import main; sys.exit(main())"]


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)


@contextmanager
def up(command: Command, project: Path) -> Iterator[None]:
    process = subprocess.Popen([*HEADRACE, "up"], cwd=project, stderr=subprocess.DEVNULL, env={**os.environ})
    try:
        until(lambda: command("status", "--json").json["running"] == process.pid)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def test_a_confirmed_retraction_is_done_when_the_command_says_so(command: Command, project: Path) -> None:
    (project / "pipelines.py").write_text(DEFINITION.replace("{more}", ', on_delete="retract"'))
    for i in range(30):
        csv(project / "in" / f"{i}.csv", f"s{i},2025-05-01T00:00:00,{i}")
    command("run", "readings", "in")
    with up(command, project):
        for i in range(20):
            (project / f".headrace/landing/raw/readings/{i}.csv").unlink()
        until(lambda: command("status", "--json").json["pipelines"][0]["held"] == 20)
        said = command("retract", "readings", "--confirm")
        assert said.code == 0 and "20 objects retracted" in said.err
        assert command("sql", "SELECT count(*) n FROM readings", "--json").json == [{"n": 10}]


@pytest.mark.parametrize("words", [("compact", "readings"), ("rebuild", "by_sensor", "--yes")])
def test_files_are_not_rewritten_under_the_hands_of_another_process(
    command: Command, project: Path, words: tuple[str, ...]
) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1")
    command("run", "readings", "a.csv")
    with exclusive(project / ".headrace/locks/work.lock"):
        said = command(*words)
    assert said.code == 3 and f"HR521 work.lock: process {os.getpid()} holds this lock" in said.err
    assert command(*words).code == 0


def test_a_process_that_makes_no_progress_is_named(project: Path) -> None:
    with open_project(project) as opened, exclusive(opened.root / "locks" / "work.lock"):
        home = opened.home("readings")
        home.queue.put([Event("readings", "raw/readings/a.csv", "created")])
        with pytest.raises(InfrastructureError, match=rf"HR126 process {os.getpid()}: made no progress"):
            wait([home], lambda: f"process {os.getpid()}", lambda home: 0.0, patience=0.2, poll=0.01)


def test_a_definition_that_waits_for_a_replay_ends_the_wait(command: Command, project: Path) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1")
    command("run", "readings", "a.csv")
    changed = DEFINITION.replace("{more}", "").replace('key=("sensor", "time")', 'key=("sensor",)')
    (project / "pipelines.py").write_text(changed)
    csv(project / "b.csv", "s2,2025-05-01T00:00:00,1")
    assert command("run", "readings", "b.csv").code == 2
    with (
        open_project(project) as opened,
        exclusive(opened.root / "locks" / "work.lock"),
        pytest.raises(DefinitionError, match="HR240"),
    ):
        wait([opened.home("readings")], lambda: "somebody", lambda home: 0.0, patience=0.2, poll=0.01)


def test_up_ends_only_when_its_threads_have(command: Command, project: Path) -> None:
    left: list[str] = []
    with open_project(project) as opened:
        stop = threading.Event()

        def serve() -> None:
            opened.up(stop)
            left.extend(t.name for t in threading.enumerate())

        server = threading.Thread(target=serve)
        server.start()
        until(lambda: {"watcher", "alarms"} <= {t.name for t in threading.enumerate()})
        stop.set()
        server.join(30)
        assert left and not {"watcher", "alarms"} & set(left)


def test_up_says_nothing_after_it_stopped(command: Command, project: Path) -> None:
    process = subprocess.Popen([*HEADRACE, "up"], cwd=project, stderr=subprocess.PIPE, text=True)
    until(lambda: command("status", "--json").json["running"] == process.pid)
    csv(project / ".headrace/landing/raw/readings/a.csv", "s1,2025-05-01T00:00:00,1.5")
    until(lambda: command("status", "--json").json["pipelines"][0]["standing"] == 1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert said.splitlines()[-1] == "stopped; what was committed stands"
