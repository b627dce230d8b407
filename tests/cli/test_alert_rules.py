"""Messages of `alert` rules, from rows of every type that a message can name."""

from __future__ import annotations

from pathlib import Path

from cli_project import Command, csv

DEFINITION = """
from datetime import datetime
from headrace import Pipeline, Record, alert, column, files, lake

class Reading(Record, key=("sensor", "time")):
    sensor: str
    time: datetime = column(zone="Europe/London")
    value: float

readings = Pipeline("readings", source=files("raw/readings/", suffix=".csv"), record=Reading, sinks=[lake("readings")],
                    rules=[alert("high", "value > 5", subject="{sensor} is high", body="{time}: {value:.2f}")])
"""


def test_an_alert_tells_of_a_row_whose_time_has_a_zone(command: Command, project: Path) -> None:
    (project / "pipelines.py").write_text(DEFINITION)
    csv(project / "a.csv", "s1,2025-05-01T00:00:00,1", "s2,2025-05-01T00:00:00,7")
    said = command("run", "readings", "a.csv")
    assert said.code == 0 and "loaded 2" in said.out
    (told,) = [p.read_text() for p in (project / ".headrace/logs").iterdir() if "notif" in p.name]
    assert "s2 is high" in told and "2025-04-30 23:00:00+00:00: 7.00" in told
