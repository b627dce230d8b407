"""Numbers, places and dry runs that a person may get wrong: each is told as that, and does no more than it says."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from cli_project import Command, csv

from headrace import open_project
from headrace.model.errors import UsageError


@pytest.mark.parametrize(
    "words",
    [
        ("logs", "-n", "-1"),
        ("get", "by_sensor", "s1", "--limit", "0"),
        ("get", "by_sensor", "s1", "--limit", "-1"),
        ("history", "--limit", "-1"),
        ("history", "--limit", "0"),
        ("quarantine", "show", "readings", "--limit", "0"),
    ],
)
def test_a_number_of_rows_is_no_less_than_makes_sense(command: Command, project: Path, words: tuple[str, ...]) -> None:
    said = command(*words)
    assert said.code == 2 and "is no whole number from" in said.err


def test_a_root_that_cannot_be_made_is_a_fault_of_the_place(command: Command, project: Path) -> None:
    (project / ".headrace").write_text("a file\n")
    said = command("status")
    assert said.code == 3 and "HR534" in said.err and "cannot be used as a root" in said.err


def test_a_redrive_tells_the_state_that_came_of_it(command: Command, project: Path) -> None:
    csv(project / "a.csv", "1", header="Nothing")
    command("run", "readings", "a.csv")
    csv(project / ".headrace/landing/raw/readings/a.csv", "s1,2025-05-01T00:00:00,1")
    (told,) = command("dlq", "redrive", "readings", "--json").json
    assert told["state"] == "standing"


def test_rebuild_and_export_answer_in_json(command: Command, project: Path) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1", "s1,2025-05-01T00:00:00,x")
    command("run", "readings", "a.csv")
    assert command("rebuild", "by_sensor", "--yes", "--json").json == {"sink": "by_sensor", "pipeline": "readings"}
    (row,) = command("quarantine", "export", "readings", "--json").json
    assert (row["_source_row"], row["Value"]) == ("2", "x")
    assert command("quarantine", "export", "readings", "--out", "x.csv", "--json").json == {"rows": 1, "file": "x.csv"}


def test_a_replay_in_python_says_which_loads_as_the_command_does(project: Path) -> None:
    with open_project(project) as opened, pytest.raises(UsageError, match="HR137"):
        opened.replay("readings")


def test_a_dry_demo_leaves_no_folder(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    assert command("demo", "--dry-run").code == 0
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("quarantine", "export", "readings", "--out", "nowhere/r.csv"),
        ("quarantine", "export", "readings", "--out", "r" * 300),
        ("dlq", "export", "readings", "--out", "a.csv/dead"),
        ("init", "a.csv/new"),
    ],
)
def test_what_cannot_be_written_is_a_mistake_in_the_command(
    command: Command, project: Path, words: tuple[str, ...]
) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,x")
    csv(project / "bad.csv", "x", header="Nothing")
    command("run", "readings", "a.csv", "bad.csv")
    said = command(*words)
    assert said.code == 2 and "HR142" in said.err and "in a folder that is there" in said.err


@pytest.mark.parametrize("words", [("run", "readings"), ("check", "--against"), ("init", "--print", "--from")])
def test_a_name_that_is_too_long_is_no_file(command: Command, project: Path, words: tuple[str, ...]) -> None:
    said = command(*words, "x" * 300 + ".csv")
    assert said.code == 2 and "HR121" in said.err


def test_history_shows_all_where_that_is_said(command: Command, project: Path) -> None:
    for n in range(3):
        csv(project / "a.csv", f"s1,2025-05-01T00:00:00,{n}")
        command("run", "readings", "a.csv")
    assert len(command("history", "--limit", "2", "--json").json) == 2
    assert len(command("history", "--all", "--json").json) == 3


def test_json_is_json_where_there_is_nothing_to_do_or_nothing_is_done(command: Command, project: Path) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1")
    command("run", "readings", "a.csv")
    assert command("quarantine", "corrections", "readings", "--drop", "--json").json == []
    assert command("rebuild", "by_sensor", "--dry-run", "--json").json == {"sink": "by_sensor", "pipeline": "readings"}
    assert "class A" in command("init", "--print", "--from", "a.csv", "--json").json["text"]
    both = command("sql", "SELECT 1", "--csv", "--json")
    assert both.code == 2 and both.out == "" and "HR100" in both.err


def test_a_name_that_no_object_can_have_stops_the_run_before_anything_is_taken(command: Command, project: Path) -> None:
    definition = (project / "pipelines.py").read_text().replace(', suffix=".csv"', "")
    (project / "pipelines.py").write_text(definition)
    csv(project / "in/a.csv", "s1,2025-05-01T00:00:00,1")
    csv(project / "in/b.csv.part", "s2,2025-05-01T00:00:00,1")
    said = command("run", "readings", "in")
    assert said.code == 2 and "HR313" in said.err and "no file was taken" in said.err
    assert command("history", "--json").json == []
