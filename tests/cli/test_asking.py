"""`sql`, `get`, `explain`, `show`, `logs`, `doctor`, and the same from Python."""

from __future__ import annotations

import io
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from cli_project import Command, csv

from headrace import open_project


@pytest.fixture
def loaded(command: Command, project: Path) -> Path:
    csv(
        project / "a.csv",
        "s1,2025-05-01T00:00:00,1",
        's1,2025-05-01T00:10:00,"2"',
        "s1,2025-05-01T00:10:00,3",
        "s1,bad,4",
    )
    command("run", "readings", "a.csv")
    return project


def test_sql_answers_as_text_json_and_csv(command: Command, loaded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command("sql", "SELECT sensor, value FROM readings ORDER BY time").out.split() == [
        "sensor", "value", "s1", "1.0", "s1", "3.0",
    ]  # fmt: skip
    assert command("sql", "SELECT 1 AS n", "--json").json == [{"n": 1}]
    assert command("sql", "SELECT 1 AS n, NULL AS m", "--csv").out == "n,m\n1,\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("SELECT 2 AS n"))
    assert command("sql", "-", "--json").json == [{"n": 2}]


def test_sql_sees_losers_and_rejected_rows_under_every_sinks_name(command: Command, loaded: Path) -> None:
    for table in ("readings", "by_sensor"):
        assert command("sql", f"SELECT value FROM {table}__losers", "--json").json == [{"value": 2.0}]
        assert command("sql", f"SELECT raw FROM {table}__rejected", "--json").json == [{"raw": "s1,bad,4"}]


def test_sql_that_writes_ends_in_exit_2(command: Command, loaded: Path) -> None:
    said = command("sql", "COPY readings TO 'x.csv'")
    assert said.code == 2 and said.err.startswith("HR703") and "Traceback" not in said.err


def test_get_finds_a_day_a_range_and_a_point(command: Command, loaded: Path) -> None:
    def values(*words: str) -> list[float]:
        return [r["value"] for r in command("get", "by_sensor", "s1", *words, "--json").json]

    assert values() == [1.0, 3.0]
    assert values("--begins-with", "2025-05-01T00:1") == [3.0]
    assert values("--from", "2025-05-01T00:05:00") == [3.0]
    assert values("--to", "2025-05-01T00:05:00") == [1.0]
    assert values("--at", "2025-05-01T00:00:00") == [1.0]
    assert values("--limit", "1") == [1.0]
    assert command("get", "by_sensor", "nobody").out == ""
    assert "HR128" in command("get", "by_senso", "s1").err


def test_explain_leads_from_a_row_to_its_record(command: Command, loaded: Path) -> None:
    loaded_row = command("explain", "readings.1:1", "--json").json["facts"]
    assert (loaded_row["verdict"], loaded_row["line"], loaded_row["raw"]) == ("loaded", 2, "s1,2025-05-01T00:00:00,1")
    loser = command("explain", "row:readings/readings.1/2", "--json").json["facts"]
    assert (loser["verdict"], loser["raw"]) == ("conflict", 's1,2025-05-01T00:10:00,"2"')
    assert loser["winner"]["_source_row"] == 3
    rejected = command("explain", "raw/readings/a.csv:4", "--json").json["facts"]
    assert (rejected["verdict"], rejected["raw"], rejected["line"]) == ("rejected", "s1,bad,4", 5)


def test_explain_says_when_the_raw_text_is_gone(command: Command, loaded: Path) -> None:
    (loaded / ".headrace/landing/raw/readings/a.csv").unlink()
    assert "does not hold this version any more" in command("explain", "readings.1:1").out
    assert "s1,bad,4" in command("explain", "readings.1:4").out


def test_explain_knows_codes_loads_and_objects(command: Command, loaded: Path, tmp_path: Path) -> None:
    assert "key" in command("explain", "hr203").out
    assert "read 4 = accepted 3 + rejected 1" in command("explain", "readings.1").out
    assert "readings.1" in command("explain", "raw/readings/a.csv").out
    for unknown, code in (("HR998", "HR140"), ("readings.9", "HR130"), ("readings.1:99", "HR132"), ("x.csv", "HR132")):
        said = command("explain", unknown)
        assert said.code == 2 and code in said.err


def test_show_prints_the_inert_manifest(command: Command, loaded: Path) -> None:
    told = command("show", "readings", "--json").json
    assert told["contract"]["key"] == ["sensor", "time"]
    assert [s["table"] for s in told["sinks"]] == ["readings", "by_sensor"]
    assert "column  value: float" in command("show", "readings").out


def test_history_logs_and_status_tell_what_happened(command: Command, loaded: Path) -> None:
    (load,) = command("history", "readings", "--json").json
    assert (load["read"], load["loaded"], load["conflict"], load["rejected"]) == (4, 2, 1, 1)
    assert command("history", "--since", "1 hour", "--json").json != []
    assert command("history", "--since", "2100-01-01", "--json").json == []
    assert "readings" in command("logs").out
    status = command("status", "--json").json
    assert status["state"] == "healthy" and status["disk"]["lake"] > 0


def test_doctor_says_what_the_machine_allows(command: Command, loaded: Path) -> None:
    said = command("doctor", "--json")
    assert said.code == 0
    assert {"python", "duckdb", "disk", "fsync", "ledger.db", "sandbox leaving"} <= {f["what"] for f in said.json}


def test_a_project_answers_in_python(loaded: Path) -> None:
    with open_project(loaded) as project:
        answer = project.sql("SELECT sensor, value, _source_row FROM readings ORDER BY time")
        assert answer.arrow().num_rows == len(answer) == 2
        assert answer.polars()["value"].to_list() == [1.0, 3.0]
        assert answer.pandas()["value"].tolist() == [1.0, 3.0]
        assert answer.rows()[0] == {"sensor": "s1", "value": 1.0, "_source_row": 1} == next(iter(answer))
        assert "<td>s1</td>" in answer._repr_html_() and "2 rows" in repr(answer)
        assert [x.counts.read for x in project.history()] == [4]
        assert project.history().polars()["loaded"].to_list() == [2]
        assert project.get("by_sensor", "s1").arrow()["value"].to_pylist() == [1.0, 3.0]
        assert "<td>s1</td>" in project.get("by_sensor", "s1")._repr_html_()
        result = project.run("readings", [loaded / "a.csv"])
        assert result.totals["read"] == 0 and "unchanged" in result._repr_html_()
        assert [x.state for x in project.replay("readings", all=True)] == ["standing"]
        assert project.quarantine("readings")[0]["raw"] == "s1,bad,4"
        project.get("by_sensor", "s1")
        started = time.perf_counter()
        assert len(project.get("by_sensor", "s1", begins_with="2025-05-01")) == 2
        assert time.perf_counter() - started < 0.01


def test_html_in_data_stays_text(command: Command, project: Path) -> None:
    csv(project / "a.csv", "<script>,2025-05-01T00:00:00,1")
    command("run", "readings", "a.csv")
    with open_project(project) as opened:
        assert "<script>" not in opened.sql("SELECT sensor FROM readings")._repr_html_()


def test_doctor_tells_a_state_file_of_a_version_that_is_not_known(command: Command, project: Path) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1")
    command("run", "readings", "a.csv")
    root = project / ".headrace"
    for path in (root / "ledger.db", root / "keyed" / "by_sensor.db"):
        with closing(sqlite3.connect(path)) as db:
            db.execute("pragma user_version = 99")
    findings = {x["what"]: x for x in command("doctor", "--json").json}
    for name in ("ledger.db", "by_sensor.db"):
        assert not findings[name]["ok"] and "newer Headrace (state version 99" in findings[name]["found"]
