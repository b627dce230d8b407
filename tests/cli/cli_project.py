"""What the tests of the command line share: a definition, files, and what a command said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEFINITION = """
from datetime import datetime
from headrace import Pipeline, Record, files, keyed, lake

class Reading(Record, key=("sensor", "time")):
    sensor: str
    time: datetime
    value: float
    note: str | None = None

readings = Pipeline("readings", source=files("raw/readings/", suffix=".csv"{more}), record=Reading,
                    sinks=[lake("readings"), keyed("by_sensor")], tolerate=0.5)
"""


@dataclass
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Said]


def csv(path: Path, *rows: str, header: str = "Sensor,Time,Value") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n")
    return path
