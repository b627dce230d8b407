"""What holds for every command: words, streams, exit codes, and a quick start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_project import Command, csv

HEADRACE = [sys.executable, "-c", "import sys; from headrace.cli import main; sys.exit(main())"]


def test_help_starts_without_engines() -> None:
    code = "import sys; from headrace.cli.app import parser; parser(); print(*sorted(sys.modules))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {"duckdb", "pyarrow", "numpy", "sqlglot", "pyiceberg", "rich", "msgspec", "sqlite3"}


COMMANDS = (
    "demo init check run up status sql get history show explain"
    " quarantine dlq replay retract rebuild compact doctor logs"
)


@pytest.mark.parametrize("name", COMMANDS.split())
def test_every_command_explains_itself(command: Command, name: str) -> None:
    said = command(name, "--help")
    assert said.code == 0 and f"headrace {name}" in said.out


def test_words_that_do_not_fit_end_in_exit_2_with_a_code(command: Command) -> None:
    for words in (("rnu",), ("run",), ("sql",), ("quarantine",), ("get", "t", "k", "--limit", "x")):
        said = command(*words)
        assert said.code == 2 and said.err.startswith("HR100"), said


def test_an_unexpected_error_is_one_line_and_a_trace_file(
    command: Command, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "headrace.project", None)  # an installation that is broken
    said = command("status")
    assert said.code == 3 and said.err.startswith("HR901") and "Traceback" not in said.err
    trace = Path(said.err.split("report ")[1].strip())
    assert "Traceback" in trace.read_text() and trace.parent == project / ".headrace/logs"


def test_an_unknown_pipeline_suggests_the_nearest(command: Command, project: Path) -> None:
    assert "did you mean 'readings'?" in command("show", "reading").err


def test_nothing_but_data_goes_to_stdout(command: Command, project: Path) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1")
    command("run", "readings", "a.csv")
    for words in (
        ["history"],
        ["status"],
        ["quarantine", "ls"],
        ["dlq", "ls"],
        ["compact"],
        ["doctor"],
        ["retract", "readings"],
    ):
        said = command(*words, "--json")
        assert said.json is not None, words


def started(project: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*HEADRACE, *words], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )


def until(condition: object, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)


def test_up_takes_what_is_dropped_and_run_hands_over_to_it(command: Command, project: Path) -> None:
    up = started(project, "up")
    try:
        landing = project / ".headrace/landing/raw/readings"
        until(lambda: command("status", "--json").json["running"] == up.pid)
        until(landing.is_dir)  # `up` makes it, so that files can be dropped there
        csv(landing / ".a.csv.part", "s1,2025-05-01T00:00:00,1").rename(landing / "a.csv")
        until(lambda: len(command("get", "by_sensor", "s1", "--json").json) == 1)
        csv(project / "b.csv", "s2,2025-05-01T00:00:00,2")
        said = command("run", "readings", "b.csv", "--json").json
        assert [(x["object"], x["state"]) for x in said["loads"]] == [("raw/readings/b.csv", "standing")]
        assert command("sql", "SELECT count(*) n FROM readings", "--json").json == [{"n": 2}]
        refused = command("up").err
        assert refused.startswith("HR521") and "watching" not in refused
    finally:
        up.send_signal(signal.SIGINT)
        _, words = up.communicate(timeout=30)
    assert up.returncode == 130, words
    assert "watching" in words and str(landing) in words
    assert "readings revision 1: 1 object loaded; read 1 = loaded 1 + rejected 0 + duplicate 0 + filtered 0" in words
    assert command("status", "--json").json["running"] is None


def test_a_closed_pipe_is_no_error(project: Path) -> None:
    one = started(project, "--help")
    assert one.stdout is not None
    one.stdout.close()
    assert one.stderr is not None
    assert "Traceback" not in one.stderr.read()
    one.wait()


def test_options_may_stand_among_the_arguments(command: Command, project: Path) -> None:
    for name in ("a.csv", "b.csv"):
        csv(project / name, "s1,2025-05-01T00:00:00,1")
    for words in (("--json", "a.csv", "b.csv", "--dry-run"), ("a.csv", "--dry-run", "b.csv", "--json")):
        found = command("run", "readings", *words).json
        assert [x["object"] for x in found] == ["raw/readings/a.csv", "raw/readings/b.csv"]
