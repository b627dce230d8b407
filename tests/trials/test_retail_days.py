"""305 real day files through a definition that was drafted from them: whatever happens to a file, what stands is clean.

Each change is compared with a clean run, in a fresh root, over what stands. Rows of different days never share a key
(the id is a hash over the row, its time included), so the days that changed are a clean run of their own; at the end
all days are run again.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from headrace import open_project
from headrace.cli import main
from headrace.project import Project

ROWS, DAYS, REPEATED = 541_909, 305, 5_268
PREFIX = "raw/retail/"
CORRECTED, RENAMED, DELETED, BROKEN = (f"2011-0{n}.csv" for n in ("3-01", "4-04", "5-05", "6-06"))
COLUMNS = (
    "invoice_no, id, stock_code, description, quantity, invoice_date, unit_price, customer_id, country, "
    "_source_file, _source_version, _source_row, _arrived_at"
)


def drafted(folder: Path, days: Path) -> None:
    """Let `init --from` write the project, and review it: an id for every row, and a sink to look it up in."""
    assert main(["init", str(folder), "--name", "retail", "--from", str(days)]) == 0
    path = folder / "pipelines.py"
    text = path.read_text()
    for draft, reviewed in (
        ("import Pipeline, Record, column, files, lake", "import Pipeline, Record, column, files, keyed, lake"),
        ("class Retail(Record):", 'class Retail(Record, key=("invoice_no", "id")):'),
        ("    stock_code: str", '    id: str = column(default_sql="row_hash()")\n    stock_code: str'),
        ('"month(invoice_date)"])]', '"month(invoice_date)"]), keyed("invoices")]'),
    ):
        assert text.count(draft) == 1, text
        text = text.replace(draft, reviewed)
    path.write_text(text)


class Trial:
    """A project, and the content of every file that should stand in it."""

    def __init__(self, project: Project, stands: dict[str, Path], folder: Path) -> None:
        self.project, self.stands, self._folder, self._runs = project, stands, folder, 0

    def drop(self, name: str, content: Path) -> None:
        """Let a file take the place of what lies in the landing folder, as a person would who copies it there."""
        temporary = self.project.root / "landing" / f".{name}.part"
        shutil.copyfile(content, temporary)
        temporary.rename(self.project.root / "landing" / PREFIX / name)

    def states(self, name: str) -> list[str]:
        return [str(load.state) for load in self.project.history("retail", file=PREFIX + name)]

    def check(self, *names: str) -> None:
        """Raise AssertionError unless lake and keyed hold of these files, or all, what a clean run of them holds."""
        chosen = {PREFIX + name for name in names} or set(self.stands)
        with self.clean({key: path for key, path in self.stands.items() if key in chosen}) as clean:
            keys = ", ".join(f"'{key}'" for key in sorted(chosen))
            db = duckdb.connect()
            db.register("theirs", clean.sql(f"SELECT {COLUMNS} FROM retail").arrow())
            ours = f"SELECT {COLUMNS} FROM retail WHERE _source_file IN ({keys})"
            db.register("ours", self.project.sql(ours).arrow())
            for one, other in (("ours", "theirs"), ("theirs", "ours")):
                extra = db.execute(f"SELECT * FROM {one} EXCEPT ALL SELECT * FROM {other} LIMIT 3").fetchall()
                assert not extra, f"in {one} alone: {extra}"
            invoices = db.execute(
                "SELECT DISTINCT invoice_no FROM theirs ORDER BY hash(invoice_no) LIMIT 150"
            ).fetchall()
            for (invoice,) in invoices:
                assert items(self.project, invoice) == items(clean, invoice)
            if chosen == set(self.stands):
                assert in_keyed(self.project) == in_keyed(clean)
        assert in_keyed(self.project) == self.project.sql("SELECT count(*) AS n FROM retail").rows()[0]["n"]

    def clean(self, stands: Mapping[str, Path]) -> Project:
        """A fresh root over these files, each with the time that its standing load is pinned to."""
        self._runs += 1
        folder = self._folder / f"clean{self._runs}"
        folder.mkdir()
        for name in ("headrace.toml", "pipelines.py"):
            shutil.copyfile(self.project.directory / name, folder / name)
        pinned = {x.key: x.arrived_at for x in self.project.history("retail") if x.state == "standing"}
        assert set(stands) <= set(pinned)
        fresh = open_project(folder)
        for key, path in stands.items():
            target = fresh.root / "landing" / key
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            since = (pinned[key] - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
            os.utime(target, ns=(since, since))
        assert fresh.run("retail").exit_code in (0, 1)  # 1: the corrected file has a row that cannot load
        return fresh


def items(project: Project, invoice: str) -> list[dict[str, object]]:
    """What the keyed sink holds of an invoice, without what names the load."""
    rows = project.get("invoices", invoice)
    return [{k: v for k, v in row.items() if k != "_load_id"} for row in rows]


def in_keyed(project: Project) -> int:
    """How many items the keyed sink's file holds."""
    with closing(sqlite3.connect(project.root / "keyed" / "invoices.db")) as db:
        return int(db.execute("SELECT count(*) FROM items").fetchone()[0])


@pytest.fixture(scope="module")
def days(real_data: Path) -> Path:
    return real_data / "online_retail" / "by-day"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory, days: Path) -> Path:
    """The folder of a project with all days loaded; never to be written to."""
    folder = tmp_path_factory.mktemp("retail") / "project"
    drafted(folder, days)
    with open_project(folder) as project:
        assert not project.check().errors
        result = project.run("retail", [days])
    totals = result.totals
    assert (result.exit_code, totals["loads"], totals["read"]) == (0, DAYS, ROWS)
    assert (totals["loaded"], totals["duplicate"]) == (ROWS - REPEATED, REPEATED)
    assert totals["rejected"] == totals["filtered"] == 0
    return folder


@pytest.fixture
def trial(loaded: Path, days: Path, tmp_path: Path) -> Iterator[Trial]:
    """A copy of the loaded project: what was copied while nothing ran is a backup, and works."""
    shutil.copytree(loaded, tmp_path / "project")
    with open_project(tmp_path / "project") as project:
        yield Trial(project, {PREFIX + path.name: path for path in days.iterdir()}, tmp_path)


def corrected(day: Path, into: Path) -> Path:
    """The file with one quantity changed, one row taken away, one row added, and one that cannot load."""
    lines = day.read_text().splitlines()
    cells = lines[1].split(",")
    lines[1] = ",".join([*cells[:3], str(int(cells[3]) + 1), *cells[4:]])
    del lines[5]
    good = "999999,85123A,ADDED BY HAND,1,2011-03-01 12:00:00,2.5,,France"
    lines += [good, good.replace("2.5", "two and a half")]
    into.write_text("\n".join(lines) + "\n")
    return into


def test_a_file_that_is_corrected_and_restored_is_whole_each_time(trial: Trial, days: Path, tmp_path: Path) -> None:
    project, key = trial.project, PREFIX + CORRECTED
    original = trial.stands[key]
    trial.stands[key] = corrected(original, tmp_path / "corrected.csv")
    trial.drop(CORRECTED, trial.stands[key])
    result = project.run("retail")
    assert [x.object for x in result.changed] == [key]
    assert result.totals["rejected"] == 1 and result.exit_code == 1
    assert trial.states(CORRECTED) == ["retired", "standing"]
    assert [row["raw"] for row in project.quarantine("retail")] == [trial.stands[key].read_text().splitlines()[-1]]
    assert items(project, "999999")[0]["description"] == "ADDED BY HAND"
    trial.check(CORRECTED)

    trial.stands[key] = original
    trial.drop(CORRECTED, original)
    assert project.run("retail").exit_code == 0
    assert trial.states(CORRECTED) == ["retired", "retired", "standing"]
    assert project.quarantine("retail") == [] and items(project, "999999") == []
    trial.check(CORRECTED)


def test_files_that_are_renamed_deleted_or_broken_keep_their_rows(trial: Trial, tmp_path: Path) -> None:
    project, landing = trial.project, trial.project.root / "landing" / PREFIX
    before = in_keyed(project)

    (landing / RENAMED).rename(landing / "again.csv")
    trial.stands[PREFIX + "again.csv"] = trial.stands[PREFIX + RENAMED]
    (load,) = project.run("retail").changed
    assert (load.object, load.read) == (PREFIX + "again.csv", load.loaded + load.duplicate)
    assert trial.states(RENAMED) == trial.states("again.csv") == ["standing"]
    assert in_keyed(project) == before
    trial.check(RENAMED, "again.csv")

    (landing / DELETED).unlink()
    assert project.run("retail").changed == ()
    assert trial.states(DELETED) == ["standing"]
    trial.check(DELETED)

    broken = tmp_path / "broken.csv"
    broken.write_text("Nothing,of,this\n1,2,3\n")
    trial.drop(BROKEN, broken)
    result = project.run("retail")
    assert (result.exit_code, [x.state for x in result.changed]) == (4, ["dead"])
    stood, dead = project.history("retail", file=PREFIX + BROKEN)
    assert (stood.state, stood.stale, dead.state) == ("standing", True, "dead")
    assert "HR451" in dead.cause
    assert project.status().exit_code == 1
    assert any("older version" in alarm for alarm in project.status().pipelines[0].alarms)
    assert in_keyed(project) == before
    trial.check()


def test_under_retract_the_rows_of_a_deleted_file_go_with_it(trial: Trial) -> None:
    project = trial.project
    definition = project.directory / "pipelines.py"
    definition.write_text(definition.read_text().replace('suffix=".csv"', 'suffix=".csv", on_delete="retract"'))
    with open_project(project.directory) as trial.project:
        project, landing = trial.project, trial.project.root / "landing" / PREFIX
        rows = {x.key: x.counts.loaded for x in project.history("retail")}
        (landing / DELETED).unlink()
        (landing / RENAMED).rename(landing / "again.csv")
        trial.stands[PREFIX + "again.csv"] = trial.stands.pop(PREFIX + RENAMED)
        del trial.stands[PREFIX + DELETED]
        assert project.run("retail").exit_code == 0
        assert trial.states(DELETED) == trial.states(RENAMED) == ["retired"]
        assert trial.states("again.csv") == ["standing"]
        assert in_keyed(project) == ROWS - REPEATED - rows[PREFIX + DELETED]
        trial.check()
