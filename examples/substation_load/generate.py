"""Writes files like those of NGED's low-voltage load monitors, for those without the real ones.

usage: python generate.py [FOLDER] [--substations 8] [--days 7] [--months 2025-05 2025-06] [--seed 1]

The same arguments write the same bytes. Standard library only; `headrace demo` and the tests call `generate`.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

PREFIX = "raw/prod/lv"
STEP = timedelta(minutes=10)
PHASES = ("L1 Active Power", "L2 Active Power", "L3 Active Power")
STREETS = ("MILL LANE", "STATION RD", "HARBOUR WAY", "QUARRY HILL", "CHURCH ST", "WEIR CLOSE", "ORCHARD AVE", "KILN RD")
PLACES = ("ALDERTON", "BRAYFORD", "COLNEHAM", "DUNSTEAD", "EASTWICK")


@dataclass(frozen=True)
class Series:
    """One feeder and phase: a mean load, a daily swing, and how much of it solar panels give back at noon."""

    feeder: str
    description: str
    base: float
    swing: float
    solar: float
    noise: Random

    def at(self, moment: datetime) -> float:
        hour = moment.hour + moment.minute / 60
        evening = math.cos((hour - 18.5) / 24 * 2 * math.pi)
        daylight = max(0.0, math.cos((hour - 12.5) / 14 * math.pi)) if 5.5 <= hour <= 19.5 else 0.0
        return self.base + self.swing * evening - self.solar * daylight + (self.noise.random() - 0.5) * self.base * 0.2


def substation(index: int) -> tuple[str, str]:
    """Number and name. Each fifth name holds a comma, so that the file has to quote it."""
    street, place = STREETS[index % len(STREETS)], PLACES[index % len(PLACES)]
    return str(910_001 + 7 * index), f"{street}, {place}" if index % 5 == 3 else f"{street} - {place}"


def series(number: str, month: str, seed: int) -> list[Series]:
    """The busbar (no feeder) and three to five feeders, each with three phases. Only the noise differs by month."""
    random = Random(f"{seed}/{number}")
    found = []
    for feeder in ["", *(str(n + 1) for n in range(3 + int(random.random() * 3)))]:
        solar = random.random() < 0.3
        for description in PHASES:
            base = 2 + random.random() * 12
            shine = base * (1.2 + random.random()) if solar else 0.0
            noise = Random(f"{seed}/{month}/{number}/{feeder}/{description}")
            found.append(Series(feeder, description, base, base * 0.5 * random.random(), shine, noise))
    return found


def rows(index: int, start: datetime, days: int, seed: int) -> Iterator[list[str]]:
    """The readings of one substation in the order of the real files: series by series, each in order of time."""
    number, name = substation(index)
    moments = [start + n * STEP for n in range(days * 24 * 6)]
    texts = [f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in moments]
    for one in series(number, f"{start:%Y-%m}", seed):
        for moment, text in zip(moments, texts, strict=True):
            yield [number, name, text, one.feeder, one.description, "kW", f"{one.at(moment):.2f}"]


def write(path: Path, index: int, start: datetime, days: int, seed: int) -> None:
    """One file. Those of odd substations carry the newer column `Attribute Type`, the others do not."""
    newer = index % 2 == 1
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        header = ["Substation Number", "Substation Name", "Timestamp", "Feeder ID", "Description", "Units", "Value"]
        writer.writerow([*header[:3], "Attribute Type", *header[3:]] if newer else header)
        for row in rows(index, start, days, seed):
            writer.writerow([*row[:3], "Mean", *row[3:]] if newer else row)


def generate(
    into: Path,
    *,
    substations: int = 8,
    days: int = 7,
    months: Sequence[str] = ("2025-05", "2025-06"),
    seed: int = 1,
) -> list[Path]:
    """Write one file per substation and month below `into`, as raw/prod/lv/y=YYYY/m=MM/<substation>.csv."""
    written = []
    for month in months:
        start = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
        folder = into / PREFIX / f"y={start:%Y}" / f"m={start:%m}"
        for index in range(substations):
            path = folder / f"{substation(index)[0]}.csv"
            write(path, index, start, days, seed)
            written.append(path)
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description="Write files like those of NGED's low-voltage load monitors.")
    parser.add_argument("into", nargs="?", default="input", type=Path, help="folder to write below (default: input)")
    parser.add_argument("--substations", type=int, default=8)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--months", nargs="+", default=["2025-05", "2025-06"])
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    written = generate(given.into, substations=given.substations, days=given.days, months=given.months, seed=given.seed)
    print(f"{len(written)} files below {given.into / PREFIX}")


if __name__ == "__main__":
    main()
