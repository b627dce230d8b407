"""What a person sees while a command works: a bar on a terminal, nothing in a pipe."""

from __future__ import annotations

import os
import pty
import sys
from pathlib import Path

import pytest
from cli_project import Command, csv

from headrace import open_project
from headrace.cli.output import Output
from headrace.cli.progress import Watch, filling


def on_a_terminal(project: Path, *words: str) -> bytes:
    """Everything that a command shows there."""
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover - another process
        os.chdir(project)
        os.environ["TERM"] = "xterm"
        code = "import sys; from headrace.cli import main; sys.exit(main())"
        os.execv(sys.executable, [sys.executable, "-c", code, *words])
    seen = b""
    try:
        while data := os.read(terminal, 65536):
            seen += data
    except OSError:
        pass  # Linux says so when the other end closes
    assert os.waitpid(pid, 0)[1] == 0, seen.decode(errors="replace")
    return seen


def test_a_bar_is_drawn_on_a_terminal_and_the_answer_after_it(project: Path) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1")
    seen = on_a_terminal(project, "run", "readings", "a.csv")
    assert b"loading" in seen and b"rows/s" in seen
    assert seen.rstrip().splitlines()[-1].startswith(b"next: headrace sql")
    seen = on_a_terminal(project, "rebuild", "by_sensor", "--yes")
    assert b"filling" in seen
    assert seen.rstrip().endswith(b"by_sensor holds what stands in readings")


def test_filling_is_told_in_rows_of_what_the_base_has(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    csv(project / "in" / "a.csv", *(f"a,2025-05-01T00:00:{n:02},1" for n in range(20)))
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with open_project(project) as opened:
        opened.run("readings", [project / "in"])
        home = opened.home("readings")
        with filling(Output(), home) as told:
            assert told is not None
            told(home, 5)
            told(home, 5)
    assert "10/20" in capsys.readouterr().err


def test_nothing_is_drawn_where_nobody_looks(command: Command, project: Path) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1")
    said = command("run", "readings", "a.csv")
    assert "loading" not in said.err and "\x1b" not in said.out + said.err


def test_progress_counts_loads_and_rows(project: Path) -> None:
    for name in ("a", "b"):
        csv(project / "in" / f"{name}.csv", *(f"{name},2025-05-01T00:00:{n:02},1" for n in range(30)))
    seen: list[tuple[int, int, float]] = []
    with open_project(project) as opened:
        watch = Watch([opened.home("readings")], lambda *told: seen.append(told))
        opened.run("readings", [project / "in"], on_progress=watch)
    done, total, rate = seen[-1]
    assert done == total == 2 and rate > 0
