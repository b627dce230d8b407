"""Rows that were rejected, definitions that changed, objects that went: the way back from each."""

from __future__ import annotations

import csv as reader
import time
from pathlib import Path

from cli_project import DEFINITION, Command, csv


def dirty(project: Path) -> Path:
    return csv(project / "a.csv", "s1,2025-05-01T00:00:00,1", "s1,2025-05-01T00:10:00,1x", "s2,2025-05-01T00:00:00,2")


def test_a_rejected_row_is_exported_edited_and_brought_back(command: Command, project: Path) -> None:
    dirty(project)
    command("run", "readings", "a.csv")
    (row,) = command("quarantine", "show", "readings", "--json").json
    assert (row["raw"], row["column"], row["value"], row["_source_row"]) == (
        "s1,2025-05-01T00:10:00,1x",
        "value",
        "1x",
        2,
    )
    assert command("quarantine", "ls", "--json").json[0]["rows"] == 1
    assert command("quarantine", "export", "readings", "--out", "fix.csv").code == 0
    (exported,) = reader.DictReader((project / "fix.csv").open())
    assert (exported["Sensor"], exported["Value"], exported["_source_row"]) == ("s1", "1x", "2")
    (project / "fix.csv").write_text((project / "fix.csv").read_text().replace(",1x", ",1.25"))
    assert command("quarantine", "correct", "readings", "fix.csv", "--dry-run").code == 0
    assert command("sql", "SELECT count(*) n FROM readings", "--json").json == [{"n": 2}]
    said = command("quarantine", "correct", "readings", "fix.csv")
    assert said.code == 0 and "corrected: 1 of 1 row loaded" in said.err
    assert command("sql", "SELECT sum(value) s FROM readings", "--json").json == [{"s": 4.25}]
    assert command("quarantine", "ls", "--json").json == []


def test_an_export_reads_each_file_again_once(project: Path, command: Command) -> None:
    bad = [f"s1,2025-05-01T00:{i:02}:00,x" for i in range(30)]
    good = [f"s2,2025-05-01T00:{i:02}:00,1" for i in range(30)]
    csv(project / "a.csv", *bad, *good)
    command("run", "readings", "a.csv")
    started = time.monotonic()
    assert command("quarantine", "export", "readings", "--out", "fix.csv").code == 0
    assert time.monotonic() - started < 15  # a child for every row would take half a minute
    assert len(list(reader.DictReader((project / "fix.csv").open()))) == 30


def test_rejected_rows_of_an_archived_object_are_exported_with_their_cells(command: Command, project: Path) -> None:
    (project / "pipelines.py").write_text(DEFINITION.replace("{more}", ', after="archive"'))
    dirty(project)
    command("run", "readings", "a.csv")
    assert not (project / ".headrace/landing/raw/readings/a.csv").exists()
    assert command("quarantine", "export", "readings", "--out", "fix.csv").code == 0
    (exported,) = reader.DictReader((project / "fix.csv").open())
    assert (exported["Sensor"], exported["Value"]) == ("s1", "1x")


def test_a_landing_folder_that_cannot_be_read_is_no_version_that_is_gone(command: Command, project: Path) -> None:
    dirty(project)
    command("run", "readings", "a.csv")
    (project / ".headrace/landing").rename(project / "elsewhere")
    assert "HR301" in command("quarantine", "export", "readings", "--out", "fix.csv").err


def test_a_correction_of_an_object_that_is_gone_claims_no_new_load(command: Command, project: Path) -> None:
    dirty(project)
    command("run", "readings", "a.csv")
    command("quarantine", "export", "readings", "--out", "fix.csv")
    (project / ".headrace/landing/raw/readings/a.csv").unlink()
    said = command("quarantine", "correct", "readings", "fix.csv")
    assert "loaded again" in said.err and "0 objects loaded again" in said.err
    assert "1 object is gone and stays as it was loaded" in said.err


def test_a_correction_of_a_version_that_is_gone_is_left_aside(command: Command, project: Path) -> None:
    dirty(project)
    command("run", "readings", "a.csv")
    command("quarantine", "export", "readings", "--out", "fix.csv")
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,5")
    command("run", "readings", "a.csv")
    assert "left aside" in command("quarantine", "correct", "readings", "fix.csv").err


def test_a_file_that_is_no_export_is_refused(command: Command, project: Path) -> None:
    dirty(project)
    assert "HR127" in command("quarantine", "correct", "readings", "a.csv").err


def test_a_changed_definition_makes_loads_outdated_until_they_are_replayed(command: Command, project: Path) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1", "s2,2025-05-01T00:00:00,-1")
    command("run", "readings", "a.csv")
    stricter = DEFINITION.replace("{more}", "").replace("value: float", "value: float = column(ge=0)")
    stricter = stricter.replace("import Pipeline, Record", "import Pipeline, Record, column")
    (project / "pipelines.py").write_text(stricter)
    assert command("status", "--json").json["pipelines"][0]["outdated"] == 1
    assert len(command("replay", "readings", "--outdated", "--dry-run", "--json").json) == 1
    assert command("replay", "readings", "--outdated").code == 0
    assert command("status", "--json").json["pipelines"][0]["outdated"] == 0
    assert command("sql", "SELECT count(*) n FROM readings", "--json").json == [{"n": 1}]
    assert [x["state"] for x in command("history", "--json").json] == ["retired", "standing"]


def test_a_replay_says_which_loads_and_asks_before_all_of_them(command: Command, project: Path) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1")
    command("run", "readings", "a.csv")
    assert "HR137" in command("replay", "readings").err
    assert "HR133" in command("replay", "readings", "--all").err
    assert command("replay", "readings", "--all", "--yes").code == 0
    assert command("replay", "readings", "--since", "1 hour").code == 0
    assert "HR129" in command("replay", "readings", "--file", "raw/readings/b.csv").err


def test_a_replay_claims_no_object_that_is_gone(command: Command, project: Path) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1")
    csv(project / "b.csv", "s2,2025-05-01T00:00:00,2")
    command("run", "readings", "a.csv", "b.csv")
    (project / ".headrace/landing/raw/readings/b.csv").unlink()
    said = command("replay", "readings", "--all", "--yes")
    assert said.code == 0
    assert "1 object loaded again" in said.err and "1 object is gone and stays as it was loaded" in said.err
    told = command("replay", "readings", "--all", "--yes", "--json").json
    assert sorted((x["object"][-5:], x["state"]) for x in told) == [("a.csv", "standing"), ("b.csv", "gone")]
    assert command("sql", "SELECT sum(value) s FROM readings", "--json").json == [{"s": 3.0}]


def test_a_change_that_old_loads_do_not_admit_is_a_fault_until_they_are_replayed(
    command: Command, project: Path
) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1")
    command("run", "readings", "a.csv")
    (project / "pipelines.py").write_text(
        DEFINITION.replace("{more}", "").replace('key=("sensor", "time")', 'key=("sensor",)')
    )
    said = command("status")
    assert said.code == 3 and "FAULT readings: HR240" in said.out and "replay readings --all" in said.out
    assert command("replay", "readings", "--all", "--yes").code == 0
    assert command("status").code == 0


def test_many_deletions_wait_for_a_person(command: Command, project: Path) -> None:
    (project / "pipelines.py").write_text(DEFINITION.replace("{more}", ', on_delete="retract"'))
    names = [f"{i}.csv" for i in range(30)]
    for i, name in enumerate(names):
        csv(project / "in" / name, f"s{i},2025-05-01T00:00:00,{i}")
    command("run", "readings", "in")
    for name in names[:20]:
        (project / ".headrace/landing/raw/readings" / name).unlink()
    command("run", "readings")
    assert command("sql", "SELECT count(*) n FROM readings", "--json").json == [{"n": 30}]
    assert len(command("retract", "readings", "--json").json) == 20
    assert command("status").code == 1
    assert command("retract", "readings", "--confirm").code == 0
    assert command("sql", "SELECT count(*) n FROM readings", "--json").json == [{"n": 10}]
    assert command("status").code == 0


def test_a_run_says_which_objects_were_retracted_and_how_many_rows_went(command: Command, project: Path) -> None:
    (project / "pipelines.py").write_text(DEFINITION.replace("{more}", ', on_delete="retract"'))
    for i in range(10):
        csv(project / "in" / f"{i}.csv", f"s{i},2025-05-01T00:00:00,{i}", f"s{i},2025-05-02T00:00:00,{i}")
    assert command("run", "readings", "in", "--json").json["retracted"] == []
    landed = project / ".headrace/landing/raw/readings"
    (landed / "9.csv").unlink()
    csv(landed / "8.csv", "s8,2025-05-01T00:00:00,8")
    told = command("run", "readings", "--json").json
    assert told["retracted"] == [{"object": "raw/readings/9.csv", "rows": 2}]
    assert [(x["object"], x["replaced"]) for x in told["loads"]] == [("raw/readings/8.csv", 2)]
    for file in landed.iterdir():
        file.unlink()
    said = command("run", "readings")
    assert said.code == 0 and "9 objects gone and retracted: 17 rows went with them" in said.err
    assert command("run", "readings", "--json").json["retracted"] == []


def test_a_retired_load_says_why(command: Command, project: Path) -> None:
    (project / "pipelines.py").write_text(DEFINITION.replace("{more}", ', on_delete="retract"'))
    for value in (1, 2):
        csv(project / "a.csv", f"s1,2025-05-01T00:00:00,{value}")
        command("run", "readings", "a.csv")
    (project / ".headrace/landing/raw/readings/a.csv").unlink()
    command("run", "readings")
    assert "retired   2: readings.2 came in its place" in command("explain", "readings.1").out
    assert "retired   3: its object was gone" in command("explain", "readings.2").out


def test_an_emptied_folder_retracts_no_more_than_ten_and_one_without_its_mark_nothing(
    command: Command, project: Path
) -> None:
    (project / "pipelines.py").write_text(DEFINITION.replace("{more}", ', on_delete="retract"'))
    for i in range(11):
        csv(project / "in" / f"{i}.csv", f"s{i},2025-05-01T00:00:00,{i}")
    command("run", "readings", "in")
    for file in (project / ".headrace/landing/raw/readings").iterdir():
        file.unlink()
    assert command("run", "readings", "--json").json["retracted"] == []
    assert len(command("retract", "readings", "--json").json) == 11
    (project / ".headrace/landing/.headrace-landing").unlink()
    said = command("run", "readings")
    assert said.code == 3 and "HR301" in said.err
    assert command("sql", "SELECT count(*) n FROM readings", "--json").json == [{"n": 11}]


def test_sinks_are_rebuilt_and_files_compacted_without_changing_a_row(command: Command, project: Path) -> None:
    for i in range(5):
        csv(project / f"{i}.csv", f"s{i},2025-05-01T00:00:00,{i}")
        command("run", "readings", f"{i}.csv")
    before = command("sql", "SELECT * FROM readings ORDER BY sensor", "--json").json
    assert command("compact", "readings", "--json").json[0]["files_before"] == 5
    assert command("sql", "SELECT * FROM readings ORDER BY sensor", "--json").json == before
    assert "HR133" in command("rebuild", "by_sensor").err
    assert command("rebuild", "by_sensor", "--yes").code == 0
    assert command("rebuild", "readings", "readings", "--yes").code == 0
    assert command("get", "by_sensor", "s3", "--json").json[0]["value"] == 3.0
    assert "did you mean 'by_sensor'" in command("rebuild", "by_sensr", "--yes").err
