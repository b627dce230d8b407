"""Mistakes of a person, and what is said to them."""

from __future__ import annotations

import shlex
from pathlib import Path

import duckdb
import pytest
from cli_project import DEFINITION, Command, csv

from headrace.model.hints import RESERVED


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ('"time")):', '"time"), on_conflit="last"):', "Record: it takes no 'on_conflit'; did you mean 'on_conflict'?"),
        ('suffix=".csv"', 'sufix=".csv"', "files: it takes no 'sufix'; did you mean 'suffix'?"),
        ('lake("readings")', 'lake("readings", partition="year(time)")', "did you mean 'partition_by'?"),
        ("tolerate=", "tolerance=", "Pipeline: it takes no 'tolerance'; did you mean 'tolerate'?"),
        ("value: float", "value: float = column(defualt=1.0)", "it takes no 'defualt'; did you mean 'default'?"),
        ("value: float", "value: float = column(min_len=3)", "it takes no 'min_len'; did you mean 'min_length'?"),
    ],
)
def test_a_misspelt_keyword_is_told_with_the_nearest(
    command: Command, project: Path, right: str, wrong: str, said: str
) -> None:
    text = DEFINITION.replace("{more}", "").replace("import Pipeline", "import column, Pipeline")
    (project / "pipelines.py").write_text(text.replace(right, wrong))
    answer = command("check")
    assert answer.code == 2 and answer.err.startswith("HR217 pipelines.py:") and said in answer.err


def test_all_that_is_wrong_with_a_class_is_told_at_once(command: Command, project: Path) -> None:
    text = DEFINITION.replace("{more}", "").replace('"time")', '"tim")').replace("value: float", "value: complex")
    (project / "pipelines.py").write_text(text)
    answer = command("check", "--json")
    assert [e["code"] for e in answer.json["errors"]] == ["HR201", "HR203"]
    said = command("status").err
    assert "complex" in said and "'tim'" in said


def test_named_checks_reject_under_their_names(command: Command, project: Path) -> None:
    checks = 'value: float = column(checks={"finite": "isfinite(value)", "small": "value < 100"})'
    text = DEFINITION.replace("{more}", "").replace("import Pipeline", "import column, Pipeline")
    (project / "pipelines.py").write_text(text.replace("value: float", checks))
    csv(project / "a.csv", "a,2025-05-01T00:00:00,inf", "b,2025-05-01T00:00:00,100", "c,2025-05-01T00:00:00,1")
    command("run", "readings", "a.csv")
    assert {x["rule"] for x in command("quarantine", "ls", "--json").json} == {"finite", "small"}
    (project / "pipelines.py").write_text(text.replace("value: float", checks.replace('"small"', '"ge"')))
    assert "HR204" in command("check").err


def test_each_file_that_cannot_load_is_told_once(command: Command, project: Path) -> None:
    csv(project / "good.csv", "s1,2025-05-01T00:00:00,1")
    csv(project / "bad.csv", "x", header="Nothing")
    said = command("run", "readings", "good.csv", "bad.csv")
    assert said.code == 4
    assert "bad.csv" not in said.out and said.err.count("no header for") == 1
    again = command("run", "readings", "bad.csv")
    assert again.err.count("no header for") == 1


def test_a_folder_that_is_not_there_is_called_missing(command: Command) -> None:
    said = command("status", "--project", "/no/where")
    assert said.code == 2 and "HR101 /no/where: there is no such folder" in said.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sttus",), "there is no command 'sttus'; did you mean 'status'?"),
        (("quarantine", "lst"), "there is no verb 'lst'; did you mean 'ls'?"),
        (("run",), "required: PIPELINE;"),
        (("rebuild",), "required: SINK;"),
        (("history", "--since", "5 fortnights"), "(ms, s, min, hours, days and weeks)"),
        (("explain", ""), "HR132 ''"),
        (("explain", "readings"), "it is a pipeline: `headrace show readings`"),
        (("explain", "by_sensor"), "it is a table of readings"),
        (("rebuild", "other", "by_sensor"), "it is no sink of 'other'"),
    ],
)
def test_words_that_mean_nothing_are_told_with_what_they_may_have_meant(
    command: Command, project: Path, words: tuple[str, ...], said: str
) -> None:
    answer = command(*words)
    assert answer.code == 2 and said in answer.err.replace("known here", "")


def test_help_is_a_command_too(command: Command) -> None:
    assert command("help").out == command("--help").out
    assert command("help", "run").out == command("run", "--help").out


def test_nothing_to_show_says_what_there_is(command: Command, project: Path) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,x", "s2,2025-05-01T00:00:00,1")
    command("run", "readings", "a.csv")
    assert "rules with rows are cast" in command("quarantine", "show", "readings", "--rule", "nope").err
    assert "raw/readings/a.csv" in command("quarantine", "show", "readings", "--file", "nope").err
    assert "nothing is outdated" in command("replay", "readings", "--outdated").err


def test_a_dry_run_tells_what_is_new_unchanged_or_replaces(command: Command, project: Path) -> None:
    a, b = csv(project / "a.csv", "s1,2025-05-01T00:00:00,1"), csv(project / "b.csv", "s2,2025-05-01T00:00:00,1")
    dry = ("run", "readings", "a.csv", "b.csv", "c.csv", "--dry-run", "--json")
    csv(project / "c.csv", "s3,2025-05-01T00:00:00,1")
    assert [x["state"] for x in command(*dry).json] == ["new", "new", "new"]
    assert not (project / ".headrace/ledger.db").exists()
    command("run", "readings", str(a), str(b))
    csv(b, "s2,2025-05-01T00:00:00,2")
    assert [x["state"] for x in command(*dry).json] == ["unchanged", "replaces", "new"]


def test_settings_take_spans_and_name_the_units(command: Command, project: Path) -> None:
    toml = '[project]\nmodule = "pipelines"\n[targets.local]\nkind = "local"\nroot = ".headrace"\n'
    (project / "headrace.toml").write_text(toml + 'scan_every = "5 min"\n')
    assert command("status").code == 0
    (project / "headrace.toml").write_text(toml + 'scan_every = "5 moons"\n')
    assert "units are" in command("status").err or "min, hours" in command("status").err


def test_names_in_hints_are_quoted_where_a_shell_wants_it(command: Command, project: Path) -> None:
    csv(project / "trail .csv", "x", header="Nothing")
    said = command("run", "readings", "trail .csv")
    assert "headrace dlq show readings 'raw/readings/trail .csv'" in said.err
    assert "headrace dlq show readings 'raw/readings/trail .csv'" in command("dlq", "ls").err
    assert "headrace dlq redrive readings 'raw/readings/trail .csv'" in command("explain", "readings.1").err


def test_a_table_whose_name_sql_knows_is_quoted_in_hints(command: Command, project: Path) -> None:
    definition = (project / "pipelines.py").read_text().replace('lake("readings")', 'lake("order")')
    (project / "pipelines.py").write_text(definition)
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1")
    hint = command("run", "readings", "a.csv").err.partition("next: ")[2].strip()
    assert hint == """headrace sql 'SELECT * FROM "order" LIMIT 10'"""
    assert command(*shlex.split(hint)[1:]).code == 0


def test_the_words_that_are_quoted_are_those_of_the_engine() -> None:
    query = "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category IN ('reserved', 'type_function')"
    with duckdb.connect() as db:  # the module's own connection may hold what another test left unread
        assert {name for (name,) in db.execute(query).fetchall()} == RESERVED


def test_hints_name_the_project_that_the_command_was_given(
    command: Command, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1", "s1,2025-05-01T00:10:00,x")
    (project / "else where").mkdir()
    monkeypatch.chdir(project / "else where")
    said = command("run", "readings", "../a.csv", "--project", "..")
    assert (
        "next: headrace --project .. sql " in said.err and "rejected: headrace --project .. quarantine ls" in said.err
    )
    hint = next(line for line in said.err.splitlines() if line.startswith("next: ")).removeprefix("next: ")
    assert command(*shlex.split(hint)[1:]).code == 0
    assert "next: headrace sql" not in command("run", "readings", "../a.csv", "--project", "..").err
    assert "`headrace --project .. history`" in command("explain", "readings.9", "--project", "..").err
