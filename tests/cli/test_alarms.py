"""Alarms: said by `status`, and sent once by `up`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from cli_project import DEFINITION, Command, csv
from test_waiting import HEADRACE, until

from headrace import open_project
from headrace.engine.alarms import send

EXPECTING = DEFINITION.replace("{more}", "").replace("tolerate=0.5", 'tolerate=0.5, expect_every="1 s"')


def test_a_pipeline_that_nothing_ever_arrived_for_is_an_alarm(command: Command, project: Path) -> None:
    (project / "pipelines.py").write_text(EXPECTING)
    assert command("status").code == 0
    time.sleep(1.1)
    said = command("status")
    assert said.code == 1 and "nothing ever arrived" in said.out and "expected every 1 s" in said.out


def test_a_changed_definition_is_no_excuse_for_never_having_arrived(command: Command, project: Path) -> None:
    (project / "pipelines.py").write_text(EXPECTING)
    command("status")
    time.sleep(1.1)
    (project / "pipelines.py").write_text(EXPECTING.replace("note: str", "remark: str"))
    assert "nothing ever arrived" in command("status").out


def test_a_replay_is_no_arrival(command: Command, project: Path) -> None:
    (project / "pipelines.py").write_text(EXPECTING)
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1")
    command("run", "readings", "a.csv")
    (before,) = command("status", "--json").json["pipelines"]
    time.sleep(1.1)
    assert command("replay", "readings", "--all", "--yes").code == 0
    said = command("status", "--json")
    (after,) = said.json["pipelines"]
    assert after["last_arrival"] == before["last_arrival"]
    assert said.code == 1 and "nothing arrived since" in after["alarms"][0]


def test_status_reads_no_load(command: Command, project: Path) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1")
    command("run", "readings", "a.csv")
    with open_project(project) as opened:
        queries: list[str] = []
        database = opened.home("readings").ledger._db  # type: ignore[attr-defined]
        database.connection().set_trace_callback(queries.append)
        assert opened.status().pipelines[0].standing == 1
        database.connection().set_trace_callback(None)
    assert queries and not [q for q in queries if "select * from loads" in q]


def test_conflicts_that_the_record_rejects_count_as_rejected(command: Command, project: Path) -> None:
    (project / "pipelines.py").write_text(
        DEFINITION.replace("{more}", "").replace('"time"))', '"time"), on_conflict="reject")')
    )
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1", "s1,2025-05-01T00:00:00,2", "s1,2025-05-01T00:00:00,3")
    command("run", "readings", "a.csv")
    (status,) = command("status", "--json").json["pipelines"]
    assert status["rejected"] == 3 - status["rows"] > 0
    assert len(status["alarms"]) == 1


def test_an_alarm_is_stored_once(command: Command, project: Path) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,x", "s1,2025-05-01T00:10:00,y", "s2,2025-05-01T00:00:00,1")
    command("run", "readings", "a.csv")
    with open_project(project) as opened:
        home = opened.home("readings")
        assert send(home, set()) == send(home, set()) == 1
        home.ledger.stand(home.ledger.head())
        (message,) = home.ledger.messages()
    assert message["subject"] == "readings: 2 rows rejected (66.67% of what stands)"


def test_up_sends_alarms(command: Command, project: Path) -> None:
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,x", "s1,2025-05-01T00:10:00,y", "s2,2025-05-01T00:00:00,1")
    command("run", "readings", "a.csv")
    sent = project / ".headrace/logs/notifications.jsonl"
    up = subprocess.Popen([*HEADRACE, "up"], cwd=project, stderr=subprocess.DEVNULL, env={**os.environ})
    try:
        until(sent.exists)
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(30)
    (line,) = sent.read_text().splitlines()
    assert "2 rows rejected" in json.loads(line)["subject"]
