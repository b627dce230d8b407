"""Files that were deleted below the root are told as that, by whoever needs them, with the way back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cli_project import Command, csv

from headrace import open_project
from headrace.model.errors import InfrastructureError


@pytest.fixture
def loaded(command: Command, project: Path) -> Path:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1")
    csv(project / "b.csv", "s2,2025-05-01T00:00:00,2")
    command("run", "readings", "a.csv")
    command("run", "readings", "b.csv")
    return project / ".headrace"


def test_a_deleted_keyed_table_is_a_fault_and_no_empty_answer(command: Command, loaded: Path) -> None:
    for path in (loaded / "keyed").glob("by_sensor.db*"):
        path.unlink()
    said = command("get", "by_sensor", "s1")
    assert said.code == 3 and said.out == ""
    assert "HR533 keyed table 'by_sensor': is missing or empty, while the ledger is at revision 2" in said.err
    assert "headrace rebuild by_sensor" in said.err
    told = command("status")
    assert told.code == 3 and "FAULT readings: HR533" in told.out
    assert command("rebuild", "by_sensor", "--yes").code == 0
    assert command("get", "by_sensor", "s1", "--json").json[0]["value"] == 1.0
    assert command("status").code == 0


def test_a_keyed_table_that_is_deleted_while_it_is_open_is_no_answer_and_then_the_new_one(
    command: Command, loaded: Path
) -> None:
    with open_project(loaded.parent) as project:
        assert len(project.get("by_sensor", "s1")) == 1
        for path in (loaded / "keyed").glob("by_sensor.db*"):
            path.unlink()
        with pytest.raises(InfrastructureError, match="HR533"):
            project.get("by_sensor", "s1")
        csv(loaded.parent / "c.csv", "s1,2025-05-02T00:00:00,3")
        project.rebuild("by_sensor")
        project.run("readings", [loaded.parent / "c.csv"])
        assert len(project.get("by_sensor", "s1")) == 2


def test_deleted_base_files_are_told_by_status_doctor_sql_and_rebuild(command: Command, loaded: Path) -> None:
    shutil.rmtree(loaded / "lake/readings/data")
    status = command("status")
    assert status.code == 3
    assert "FAULT readings: HR532" in status.out and "with rows of 2 loads, are missing" in status.out
    assert "headrace replay readings --all" in status.out
    doctor = command("doctor")
    assert doctor.code == 3 and "base files" in doctor.out and "2 of them missing" in doctor.out
    for words in (
        ("sql", "SELECT * FROM readings"),
        ("rebuild", "by_sensor", "--yes"),
        ("rebuild", "readings", "--yes"),
    ):
        said = command(*words)
        assert said.code == 3 and "HR532" in said.err and "missing" in said.err, said
    assert command("get", "by_sensor", "s1", "--json").json[0]["value"] == 1.0  # that table is whole


def test_a_table_before_its_first_load_is_empty_and_nothing_is_missing(command: Command, project: Path) -> None:
    assert command("get", "by_sensor", "s1", "--json").json == []
    assert command("status").code == 0


def test_deleted_base_files_come_back_by_a_replay_of_everything(command: Command, loaded: Path) -> None:
    shutil.rmtree(loaded / "lake/readings/data")
    assert command("replay", "readings", "--all", "--yes").code == 0
    assert command("sql", "SELECT sum(value) s FROM readings", "--json").json == [{"s": 3.0}]
    assert command("get", "by_sensor", "s1", "--json").json[0]["value"] == 1.0
    assert command("status").code == 0
