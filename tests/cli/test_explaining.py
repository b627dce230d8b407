"""`explain` in the words of a person: how a file was read, and which rule left a row out."""

from __future__ import annotations

import zipfile
from pathlib import Path

from cli_project import DEFINITION, Command, csv


def test_explain_tells_how_a_load_was_read(command: Command, project: Path) -> None:
    (project / "a.csv").write_text("Sensor;Time;Value\ns1;2025-05-01T00:00:00;1\n")
    command("run", "readings", "a.csv")
    said = command("explain", "readings.1")
    (line,) = [x for x in said.out.splitlines() if "read as" in x]
    assert "delimiter ';'" in line and "None" not in line and "False" not in line
    assert "+00:00" not in said.out
    assert command("explain", "readings.1", "--json").json["facts"]["dialect"]["delimiter"] == ";"


def test_members_of_an_archive_that_are_not_read_are_told_wherever_it_is(command: Command, project: Path) -> None:
    with zipfile.ZipFile(project / "a.zip", "w") as archive:
        for name in ("x.csv", "noext", "z.CSV.bak", ".DS_Store"):
            archive.writestr(name, "Sensor,Time,Value\ns1,2025-05-01T00:00:00,1\n")
    told = "raw/readings/a.zip: 2 members of no known format passed over, 'noext', 'z.CSV.bak'"
    assert told in command("check", "readings", "--against", "a.zip").out
    (said,) = command("check", "readings", "--against", "a.zip", "--json").json["passed_over"]
    assert said == {"object": "raw/readings/a.zip", "members": ["noext", "z.CSV.bak"]}
    run = command("run", "readings", "a.zip")
    assert run.code == 0 and f"{told}: headrace explain readings.1" in run.err
    assert "not read  2 members of no known format: 'noext', 'z.CSV.bak'" in command("explain", "readings.1").out
    again = command("run", "readings", "a.zip", "--json").json["loads"]
    assert [x["passed_over"] for x in again] == [[]]  # it belongs to the call that loaded it, as counts do
    (load,) = command("replay", "readings", "--all", "--yes", "--json").json
    assert load["passed_over"] == ["noext", "z.CSV.bak"]


def test_explain_names_the_rule_that_filtered_a_row(command: Command, project: Path) -> None:
    definition = DEFINITION.replace("{more}", "").replace("import Pipeline", "import skip, Pipeline")
    definition = definition.replace("tolerate=0.5)", 'tolerate=0.5, rules=[skip("quiet", "value = 0")])')
    (project / "pipelines.py").write_text(definition)
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,0", "s1,2025-05-01T00:10:00,1")
    command("run", "readings", "a.csv")
    assert "rule      quiet: skips such rows" in command("explain", "raw/readings/a.csv:1").out
    assert command("explain", "raw/readings/a.csv:1", "--json").json["facts"]["filtered_by"] == ["quiet"]
    assert "quiet" not in command("explain", "raw/readings/a.csv:2").out
