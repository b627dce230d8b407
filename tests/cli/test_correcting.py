"""Corrections are of what was rejected, say what became of them, and can be seen and dropped."""

from __future__ import annotations

import csv as csv_lines
import zipfile
from pathlib import Path

import pytest
from cli_project import Command, csv


@pytest.fixture
def export(command: Command, project: Path) -> Path:
    """Two rejected rows (records 2 and 3) of three, exported to fix.csv."""
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1", "s1,2025-05-01T00:10:00,1x", "s2,2025-05-01T00:20:00,2x")
    command("run", "readings", "a.csv")
    command("quarantine", "export", "readings", "--out", "fix.csv")
    return project / "fix.csv"


def edit(export: Path, old: str, new: str) -> None:
    text = export.read_text()
    assert old in text
    export.write_text(text.replace(old, new))


def loaded(command: Command) -> list[float]:
    return [r["value"] for r in command("sql", "SELECT value FROM readings ORDER BY time", "--json").json]


@pytest.mark.parametrize("record", [1, 333])
def test_a_record_that_was_not_rejected_cannot_be_corrected(command: Command, export: Path, record: int) -> None:
    edit(export, ",2,", f",{record},")
    said = command("quarantine", "correct", "readings", "fix.csv")
    assert said.code == 2
    assert f"HR127 fix.csv:2: record {record} of raw/readings/a.csv was not rejected" in said.err
    assert loaded(command) == [1.0]
    assert command("quarantine", "corrections", "readings", "--json").json == []


def test_two_lines_for_one_record_are_refused(command: Command, export: Path) -> None:
    edit(export, ",3,", ",2,")
    said = command("quarantine", "correct", "readings", "fix.csv", "--dry-run")
    assert said.code == 2 and "HR127 fix.csv:3: record 2 of raw/readings/a.csv is given twice" in said.err


def test_a_renamed_column_is_refused_before_anything_is_stored(command: Command, export: Path) -> None:
    edit(export, ",Value,", ",Valeu,")
    said = command("quarantine", "correct", "readings", "fix.csv", "--dry-run")
    assert said.code == 2 and "HR127 fix.csv: has no column 'Value'" in said.err and "'Valeu'" in said.err


def test_an_export_that_was_not_edited_corrects_nothing(command: Command, export: Path) -> None:
    said = command("quarantine", "correct", "readings", "fix.csv")
    assert said.code == 1
    assert "nothing changed in line 2 of fix.csv" in said.err and "nothing was corrected" in said.err
    assert [x["state"] for x in command("history", "--json").json] == ["standing"]


def test_a_correction_that_is_still_wrong_is_told_as_rejected_again(command: Command, export: Path) -> None:
    edit(export, ",1x,", ",1.5,")
    edit(export, ",2x,", ",2y,")
    said = command("quarantine", "correct", "readings", "fix.csv")
    assert said.code == 1 and "1 of 2 rows loaded; 1 rejected again" in said.err
    assert "read 3 = loaded 2 + rejected 1" in said.out
    assert loaded(command) == [1.0, 1.5]
    command("quarantine", "export", "readings", "--out", "again.csv")  # with the cells that were judged
    edit(export.with_name("again.csv"), ",2y,", ",2.5,")
    assert command("quarantine", "correct", "readings", "again.csv", "--json").json["outcome"]["loaded"] == 1
    assert loaded(command) == [1.0, 1.5, 2.5]


def test_explain_shows_what_was_corrected(command: Command, export: Path) -> None:
    edit(export, ",1x,", ",1.5,")
    command("quarantine", "correct", "readings", "fix.csv")
    assert "loaded, corrected on 20" in command("explain", "raw/readings/a.csv:2").out
    assert ": Value '1x' → '1.5'" in command("explain", "raw/readings/a.csv:2").out
    facts = command("explain", "raw/readings/a.csv:2", "--json").json["facts"]
    assert facts["correction"]["cells"] == {"Value": {"was": "1x", "is": "1.5"}}
    assert command("explain", "raw/readings/a.csv:1", "--json").json["facts"]["correction"] is None


def test_corrections_are_listed_and_dropped(command: Command, export: Path) -> None:
    edit(export, ",1x,", ",1.5,")
    command("quarantine", "correct", "readings", "fix.csv")
    (listed,) = command("quarantine", "corrections", "readings", "--json").json
    assert (listed["file"], listed["record"], listed["cells"]["Value"]) == ("raw/readings/a.csv", 2, "1.5")
    assert "HR133" in command("quarantine", "corrections", "readings", "--drop").err
    said = command("quarantine", "corrections", "readings", "--drop", "--yes")
    assert said.code == 0 and "read 3 = loaded 1 + rejected 2" in said.out and "1 correction dropped" in said.err
    assert loaded(command) == [1.0]
    assert command("quarantine", "corrections", "readings", "--json").json == []


@pytest.mark.parametrize("key", ["raw/readings/odd!name.csv", "raw/readings/odd!name.zip"])
def test_names_may_hold_the_sign_that_parts_a_member_from_its_object(command: Command, project: Path, key: str) -> None:
    rows = "Sensor,Time,Value\ns1,2025-05-01T00:00:00,1\ns1,2025-05-01T00:10:00,1x\n"
    file, place = key, project / Path(key).name
    if place.suffix == ".zip":
        file = f"{key}!in!side.csv"
        with zipfile.ZipFile(place, "w") as archive:
            archive.writestr("in!side.csv", rows)
    else:
        place.write_text(rows)
    command("run", "readings", place.name)
    for asked in (key, file, place.name):
        (shown,) = command("quarantine", "show", "readings", "--file", asked, "--json").json
        assert shown["_source_file"] == file
    assert command("quarantine", "redrive", "readings", "--dry-run", "--json").json == [{"object": key}]
    facts = command("explain", f"{file}:2", "--json").json["facts"]
    assert (facts["file"], facts["verdict"], facts["cells"]["Value"]) == (file, "rejected", "1x")
    command("quarantine", "export", "readings", "--out", "fix.csv")
    edit(project / "fix.csv", ",1x,", ",1.5,")
    assert command("quarantine", "correct", "readings", "fix.csv").code == 0
    assert loaded(command) == [1.0, 1.5]
    assert command("explain", f"{file}:2", "--json").json["facts"]["correction"]["cells"]["Value"]["is"] == "1.5"


def test_an_archive_and_an_object_of_its_members_name_are_told_apart(command: Command, project: Path) -> None:
    member = "Sensor,Time,Value\ns1,2025-05-01T00:00:00,1\ns1,2025-05-01T00:10:00,1x\n"
    with zipfile.ZipFile(project / "z.zip", "w") as archive:
        archive.writestr("m.csv", member)
        archive.writestr("d/a.csv", member.replace("s1", "s2"))
    (project / "z.zip!m.csv").write_text(member.replace("s1", "s3"))
    csv(project / "a.csv", "s4,2025-05-01T00:10:00,1x")
    csv(project / "a.csv!b.csv", "s5,2025-05-01T00:10:00,1x")
    command("run", "readings", "z.zip", "z.zip!m.csv", "a.csv", "a.csv!b.csv")

    def keys(file: str) -> list[str]:
        said = command("quarantine", "redrive", "readings", "--file", file, "--dry-run", "--json")
        return [x["object"].removeprefix("raw/readings/") for x in said.json]

    assert keys("z.zip") == ["z.zip"] and keys("raw/readings/z.zip") == ["z.zip"]
    assert keys("a.csv") == ["a.csv"] and keys("m.csv") == [] and keys("zip") == []
    assert keys("raw/readings/z.zip!m.csv") == ["z.zip", "z.zip!m.csv"]  # that is what rows of both are said to be of
    command("quarantine", "export", "readings", "--file", "raw/readings/z.zip!m.csv", "--out", "fix.csv")
    text = (project / "fix.csv").read_text()
    assert text.count(",1x,") == 2 and all(f",{sensor},2025" in text for sensor in ("s1", "s3"))
    kept = [line for line in text.splitlines(True) if "s3" not in line]
    (project / "fix.csv").write_text("".join(kept).replace(",1x,", ",1.5,"))
    said = command("quarantine", "correct", "readings", "fix.csv", "--json").json
    assert (said["corrected"], said["left_aside"], said["outcome"]["loaded"]) == (1, 0, 1)
    assert [x["object"] for x in said["loads"]] == ["raw/readings/z.zip"]
    assert command("sql", "SELECT sensor FROM readings WHERE value = 1.5", "--json").json == [{"sensor": "s1"}]
    assert len(command("quarantine", "corrections", "readings", "--file", "z.zip", "--json").json) == 1
    assert command("quarantine", "corrections", "readings", "--file", "m.csv", "--json").json == []


def test_a_ragged_row_can_be_given_its_cells(command: Command, project: Path) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1", "s1,2025-05-01T00:10:00,1,2,3")
    command("run", "readings", "a.csv")
    command("quarantine", "export", "readings", "--out", "fix.csv")
    header = (project / "fix.csv").read_text().splitlines()[0]
    assert header.endswith(",Sensor,Time,Value,_raw")
    place = ",".join((project / "fix.csv").read_text().splitlines()[1].split(",")[:3])
    (project / "fix.csv").write_text(f"{header}\n{place},,s1,2025-05-01T00:10:00,7,\n")
    assert command("quarantine", "correct", "readings", "fix.csv").code == 0
    assert loaded(command) == [1.0, 7.0]


def test_an_export_in_another_encoding_says_how_to_save_it(command: Command, export: Path) -> None:
    export.write_bytes(export.read_text().replace("1x", "1é").encode("cp1252"))
    said = command("quarantine", "correct", "readings", "fix.csv")
    assert said.code == 2 and "HR127 fix.csv: cannot be read" in said.err and "UTF-8" in said.err


def test_an_export_may_hold_records_of_any_length(command: Command, export: Path) -> None:
    with export.open(newline="") as source:
        rows = list(csv_lines.DictReader(source))
    with export.open("w", newline="") as out:
        writer = csv_lines.DictWriter(out, rows[0].keys())
        writer.writeheader()
        writer.writerows([{**row, "_raw": "y" * 200_000} for row in rows])
    assert "nothing changed in line 2" in command("quarantine", "correct", "readings", "fix.csv").err
