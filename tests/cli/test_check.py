"""`check` finds every mistake with its place, and says what files would come to."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_project import DEFINITION, Command, csv


def test_a_sound_definition_is_described(command: Command, project: Path) -> None:
    said = command("check")
    assert said.code == 0
    assert "header 'note', may be absent" in said.out
    told = command("check", "--json").json
    assert told["errors"] == [] and told["pipelines"][0]["key"] == ["sensor", "time"]


MISTAKES = [
    ('key=("sensor", "time")', 'key=("sensr", "time")', "HR203 pipelines.py:5", "did you mean 'sensor'"),
    ("value: float", "value: complex", "HR201 pipelines.py:8", "cannot be a column"),
    ('suffix=".csv"', 'suffix="csv"', "HR212 pipelines.py:11", "'.csv'"),
    ("tolerate=0.5", "tolerate=5", "HR213 pipelines.py:11", "from 0 to 1"),
    ('lake("readings")', 'lake("readings", partition_by=["year(tim)"])', "HR210 pipelines.py:12", "'time'"),
    ("from datetime import datetime", "from datetme import datetime", "HR108 pipelines.py:2", "datetme"),
    ("value: float", "value: float =", "HR107 pipelines.py:8", "invalid syntax"),
    ("value: float", "value: float = 1 / 0", "HR108 pipelines.py:8", "ZeroDivisionError"),
    ('readings = Pipeline("readings",', "readings = dict(", "HR109 pipelines.py", "declares no pipeline"),
]


@pytest.mark.parametrize(("old", "new", "code", "hint"), MISTAKES)
def test_a_mistake_is_told_with_file_and_line(
    command: Command, project: Path, old: str, new: str, code: str, hint: str
) -> None:
    (project / "pipelines.py").write_text(DEFINITION.replace("{more}", "").replace(old, new))
    said = command("check")
    assert said.code == 2
    assert said.err.startswith(code), said.err
    assert hint in said.err and "Traceback" not in said.err


def test_a_partition_that_the_key_does_not_determine_is_noted(command: Command, project: Path) -> None:
    text = DEFINITION.replace("{more}", "").replace('lake("readings")', 'lake("readings", partition_by="note")')
    (project / "pipelines.py").write_text(text)
    said = command("check")
    assert said.code == 0 and "partition 'note' is no function of the key" in said.err


def test_all_mistakes_of_sql_are_told_at_once(command: Command, project: Path) -> None:
    text = DEFINITION.replace("{more}", "").replace(
        "import Pipeline, Record", "import Pipeline, Record, column, derived"
    )
    text = text.replace(
        "value: float", 'value: float = column(check="valu > 0")\n    twice: float = derived("random()")'
    )
    (project / "pipelines.py").write_text(text)
    said = command("check", "--json")
    assert said.code == 2
    assert sorted(e["code"] for e in said.json["errors"]) == ["HR207", "HR208"]
    assert "pipelines.py:8" in said.err and "pipelines.py:9" in said.err


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[project\n", "HR102 headrace.toml:1"),
        ("[projet]\n", "HR103"),
        ('[project]\nmodule = "nowhere"\n', "HR104"),
        ('[project]\nmodule = "json"\n', "HR104"),
        ("[targets.other]\n", "HR105"),
        ('[targets.local]\nkind = "moon"\n', "HR106"),
        ("[targets.local]\nmemory_limt = 1\n", "HR110"),
        ('[targets.local]\nmemory_limit = "lots"\n', "HR111"),
    ],
)
def test_a_mistake_in_the_project_file_is_told(command: Command, project: Path, text: str, code: str) -> None:
    (project / "headrace.toml").write_text(text)
    said = command("check")
    assert said.code == 2 and said.err.startswith(code), said.err


def test_a_folder_without_a_project_is_told(command: Command, tmp_path: Path) -> None:
    assert command("status").err.startswith("HR101")


def test_a_project_is_found_from_a_folder_below(command: Command, project: Path) -> None:
    (project / "deep/er").mkdir(parents=True)
    assert command("check", "--project", "deep/er").code == 0


def test_an_edit_counts_at_once_and_projects_do_not_see_each_other(command: Command, project: Path) -> None:
    (project / "other").mkdir()
    (project / "other/headrace.toml").write_text("")
    (project / "other/helper.py").write_text("NAME = 'second'\n")
    renamed = DEFINITION.replace("{more}", "").replace('Pipeline("readings"', "Pipeline(helper.NAME")
    (project / "other/pipelines.py").write_text("import helper" + renamed)
    assert command("check", "--json").json["pipelines"][0]["pipeline"] == "readings"
    assert command("check", "--json", "--project", "other").json["pipelines"][0]["pipeline"] == "second"
    (project / "other/helper.py").write_text("NAME = 'third'\n")
    assert command("check", "--json", "--project", "other").json["pipelines"][0]["pipeline"] == "third"


def test_against_says_what_a_run_would_do_and_does_nothing(command: Command, project: Path) -> None:
    csv(
        project / "in/a.csv",
        "s1,2025-05-01T00:00:00,1,x",
        "s1,2025-05-01T00:10:00,y,x",
        header="SENSOR,Time,value,More",
    )
    csv(project / "in/b.csv", "s1,2025-05-01T00:00:00,2")
    csv(project / "in/c.csv", "s1", header="Sensor")
    said = command("check", "--against", "in", "--json")
    assert said.code == 1
    told = said.json
    assert (told["files"], told["read"], told["accepted"], told["rejected"]) == (3, 3, 2, 1)
    assert told["columns"][0] == {"column": "sensor", "headers": {"SENSOR": 1, "Sensor": 1}}
    assert told["ignored_headers"] == {"More": 1}
    assert told["reasons"][0]["value"] == "y"
    assert [f["object"] for f in told["failed"]] == ["raw/readings/c.csv"]
    assert (told["key"]["rows"], told["key"]["distinct"]) == (2, 1)
    assert [r["value"] for r in told["key"]["collision"]] == [1.0, 2.0]
    words = command("check", "--against", "in").out
    assert "key (sensor, time) identifies only 1 of 2 rows" in words and "header 'More' feeds no column" in words
    assert not (project / ".headrace").exists()


def test_a_file_with_the_longest_name_is_tried_and_drafted_from(command: Command, project: Path) -> None:
    name = "x" * 250 + ".csv"
    csv(project / name, "s1,2025-05-01T00:00:00,1")
    assert "read 1 = accepted 1" in command("check", "--against", name).out
    assert "value: int" in command("init", "--print", "--from", name).out
    assert command("run", "readings", name).code == 0


def test_headers_that_differ_in_case_alone_and_fit_one_column_are_an_error(command: Command, project: Path) -> None:
    csv(project / "twins.csv", "s1,2025-05-01T00:00:00,1,2", header="Sensor,Time,Value,value")
    told = command("check", "--against", "twins.csv", "--json").json
    assert told["failed"][0]["cause"].startswith("HR452") and "'Value', 'value'" in told["failed"][0]["cause"]
    assert (told["accepted"], told["ignored_headers"]) == (0, {})
    definition = project / "pipelines.py"
    definition.write_text(definition.read_text().replace("value: float", 'value: float = column("value")'))
    definition.write_text(definition.read_text().replace("Pipeline, Record,", "Pipeline, Record, column,"))
    told = command("check", "--against", "twins.csv", "--json").json
    assert (told["accepted"], told["ignored_headers"]) == (1, {"Value": 1})
    command("run", "readings", "twins.csv")
    assert command("sql", "SELECT value FROM readings", "--json").json == [{"value": 2.0}]
