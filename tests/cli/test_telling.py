"""What commands tell a person who watches, and the log."""

from __future__ import annotations

import json
from pathlib import Path

from cli_project import Command, csv


def test_logs_tell_what_was_decided_applied_retired_and_rebuilt(command: Command, project: Path) -> None:
    for value in ("1", "2"):
        csv(project / "a.csv", f"s1,2025-05-01T00:00:00,{value}", "s2,2025-05-01T00:00:00,x")
        command("run", "readings", "a.csv")
    (project / "b.csv").write_text("")
    (project / "b.csv").write_bytes(b"no,header\x00")
    assert command("run", "readings", "b.csv").code == 4
    command("rebuild", "by_sensor", "--yes")
    command("replay", "readings", "--all", "--yes")
    logged = command("logs", "-n", "1000", "--json").out
    told = [json.loads(line) for line in logged.splitlines()]

    def of(event: str) -> list[dict[str, object]]:
        return [x for x in told if x["event"] == event]

    assert [x["revision"] for x in of("revision.decided")][:2] == [1, 2]
    second = of("revision.stands")[1]
    assert second | {"objects": 1, "retired": 1, "read": 2, "loaded": 1, "rejected": 1} == second
    assert {(x["sink"], x["revision"]) for x in of("sink.applied")} >= {("readings", 2), ("by_sensor", 2)}
    assert [x["object"] for x in of("load.dead")] == ["raw/readings/b.csv"]
    assert [(x["sink"], x["rows"]) for x in of("sink.filled")][-1] == ("by_sensor", 1)
    assert of("replay.asked")[0]["objects"] == 1


def test_logs_are_told_of_one_pipeline_since_a_time_or_of_what_went_wrong(command: Command, project: Path) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1")
    (project / "b.csv").write_bytes(b"no,header\x00")
    assert command("run", "readings", "a.csv", "b.csv").code == 4

    def told(*words: str) -> list[str]:
        return [json.loads(line)["event"] for line in command("logs", "--json", *words).out.splitlines()]

    assert told("--errors") == ["load.dead", "notified"]
    assert "revision.stands" in told("--pipeline", "readings", "--since", "1h")
    assert told("--pipeline", "others") == told("--since", "2999-01-01") == []


def test_show_tells_all_that_shapes_a_row(command: Command, project: Path) -> None:
    (project / "pipelines.py").write_text("""
from datetime import datetime
from decimal import Decimal
from headrace import Csv, Pipeline, Record, column, files, lake, reject

class Row(Record, key="id", zone="Europe/London", null=("", "NA")):
    id: int = column("Number", ge=1)
    at: datetime = column(format="DD/MM/YYYY HH:mm")
    price: Decimal = column(digits=(10, 2), checks={"odd": "price % 2 = 1"})
    note: str | None = None

rows = Pipeline("rows", source=files("in/", csv=Csv(delimiter=";")), record=Row, rules=[reject("dear", "price > 5")],
                sinks=[lake("rows", ["month(at)"])], tolerate=0.05, expect_every="2 hours")
""")
    said = command("show", "rows").out
    for words in (
        "id: int  from 'Number'  ge: \"id\" >= 1",
        "zone=Europe/London  format=%d/%m/%Y %H:%M",
        "digits=(10, 2)  odd: price % 2 = 1",
        "note: str | None  optional",
        "null    '', 'NA'",
        "delimiter=';'",
        "reject dear: price > 5",
        "more than 0.05 of the rows are rejected, or nothing arrives for 2 hours",
    ):
        assert words in said, said
