"""`explain` in the words of a person: how a file was read, and which rule left a row out."""

from __future__ import annotations

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


def test_explain_names_the_rule_that_filtered_a_row(command: Command, project: Path) -> None:
    definition = DEFINITION.replace("{more}", "").replace("import Pipeline", "import skip, Pipeline")
    definition = definition.replace("tolerate=0.5)", 'tolerate=0.5, rules=[skip("quiet", "value = 0")])')
    (project / "pipelines.py").write_text(definition)
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,0", "s1,2025-05-01T00:10:00,1")
    command("run", "readings", "a.csv")
    assert "rule      quiet: skips such rows" in command("explain", "raw/readings/a.csv:1").out
    assert command("explain", "raw/readings/a.csv:1", "--json").json["facts"]["filtered_by"] == ["quiet"]
    assert "quiet" not in command("explain", "raw/readings/a.csv:2").out
