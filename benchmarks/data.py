"""Makes the input of the benchmarks, the same bytes for the same arguments. Written once, then kept in work/."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import duckdb

from benchmarks.harness import WORK

EVENTS = Path(__file__).with_name("events.sql")
COLUMNS = "event_id event_time customer_id device_id site category quantity unit_price amount temperature status note"


def events_csv(rows: int) -> Path:
    """12 columns of text; 2 % of the cells empty, 0.1 % of the rows malformed, 1 % exact copies of an earlier row."""
    path = WORK / "data" / f"events_{rows}.csv"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with duckdb.connect() as connection:
            connection.execute("SET threads = 2; SET enable_progress_bar = false")
            query = EVENTS.read_text(encoding="utf-8").replace("$rows", str(rows))
            connection.execute(f"COPY ({query}) TO '{part}' (FORMAT csv, HEADER true)")
        part.rename(path)
    return path


def reading_files(files: int, records: int) -> Path:
    """JSON files of energy readings: a list of `records` objects each, or one bare object when `records` is 1."""
    folder = WORK / "data" / f"readings_{files}_{records}"
    if not folder.exists():
        part = folder.with_suffix(".part")
        part.mkdir(parents=True, exist_ok=True)
        random = Random(5)
        for number in range(files):
            found = [_reading(random, number * records + n) for n in range(records)]
            text = json.dumps(found if records > 1 else found[0])
            (part / f"r{number:06d}.json").write_text(text, encoding="utf-8")
        part.rename(folder)
    return folder


def _reading(random: Random, n: int) -> dict[str, object]:
    """One reading; each minute of each site once, 1 % negative, 0.2 % unreadable."""
    minute = n // 500
    stamp = f"2025-{1 + minute // 40320 % 12:02d}-{1 + minute // 1440 % 28:02d}"
    generated = round(random.uniform(0, 100), 4) * (-1 if random.random() < 0.01 else 1)
    return {
        "site_id": f"site_{n % 500}",
        "timestamp": f"{stamp}T{minute // 60 % 24:02d}:{minute % 60:02d}:00Z",
        "energy_generated_kwh": generated,
        "energy_consumed_kwh": "bad" if random.random() < 0.002 else round(random.uniform(0, 80), 4),
    }
