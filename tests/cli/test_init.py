"""`init` begins a project, and drafts a Record that holds for every row it saw."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

import pytest
from cli_project import Command, csv

from headrace.cli.draft import column_name, identifier, render
from headrace.project.evidence import Evidence

REAL = Path(os.environ.get("HEADRACE_REAL_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def test_init_begins_a_project_that_checks(command: Command, tmp_path: Path) -> None:
    assert command("init", "new").code == 0
    assert command("check", "--project", "new").code == 0
    assert (tmp_path / "new/.gitignore").read_text().startswith(".headrace/")


def test_init_overwrites_nothing(command: Command, project: Path) -> None:
    before = (project / "pipelines.py").read_text()
    said = command("init")
    assert said.code == 2 and said.err.startswith("HR135")
    assert (project / "pipelines.py").read_text() == before


def test_a_draft_names_types_by_all_rows_and_loads_them(command: Command, tmp_path: Path) -> None:
    rows = [
        f"{i},{i}.0,{i / 2},2025-05-{1 + i % 28:02}T00:00:00Z,0{i},{'' if i % 3 else 'x'},true,31/12/2024"
        for i in range(99)
    ]
    csv(tmp_path / "in/a.csv", *rows, header='Id,Customer ID,Share,Seen At,Code,Note,Is On,"Day, local"')
    csv(tmp_path / "in/b.csv", "100,100.0,1.5,2025-05-01T00:00:00+00:00,late,,false,13/01/2024", header=rows_header())
    assert command("init", "p", "--from", "in").code == 0
    text = (tmp_path / "p/pipelines.py").read_text()
    for line in (
        "id: int  #",
        "customer_id: int  #",
        "share: float  #",
        "seen_at: datetime  #",
        "code: str  #",
        "note: str | None  #",
        "is_on: bool  #",
        'day_local: date = column(format="DD/MM/YYYY")  #',
    ):
        assert f"    {line}" in text, text
    assert command("check", "--project", "p").code == 0
    said = command("run", "--project", "p", "in_", "in", "--json").json
    assert said["totals"] == {"loads": 2, "read": 100, "loaded": 100, "rejected": 0, "duplicate": 0, "filtered": 0}


def rows_header() -> str:
    return 'Id,Customer ID,Share,Seen At,Code,Note,Is On,"Day, local"'


def test_a_header_that_is_missing_in_some_files_may_be_absent(command: Command, tmp_path: Path) -> None:
    csv(tmp_path / "in/a.csv", "1,2", header="a,b")
    csv(tmp_path / "in/b.csv", "2", header="a")
    assert "b: int | None = None" in command("init", "--print", "--from", "in").out


def test_packed_and_other_formats_are_scanned_as_well(command: Command, tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"a;b\n1;x\n2;y\n"))
    said = command("init", "--print", "--from", "a.csv.gz")
    assert "a: int" in said.out and 'suffix=".csv"' in said.out


def test_dates_that_could_be_read_two_ways_stay_text(command: Command, tmp_path: Path) -> None:
    csv(tmp_path / "a.csv", "01/02/2025", "03/04/2025", header="day")
    out = command("init", "--print", "--from", "a.csv").out
    assert "day: str" in out and "DD/MM/YYYY and MM/DD/YYYY" in out


def test_an_empty_or_missing_file_is_told(command: Command, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    assert "HR139" in command("init", "--print", "--from", "empty.csv").err
    assert "HR121" in command("init", "--print", "--from", "missing.csv").err


def test_a_file_of_blank_lines_holds_no_table(command: Command, tmp_path: Path) -> None:
    (tmp_path / "blank.csv").write_text("\n\n")
    assert "HR139 blank.csv: no table was found" in command("init", "--print", "--from", "blank.csv").err


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("Substation Number", "substation_number"),
        ("CustomerID", "customer_id"),
        (" RegAddress.PostCode", "reg_address_post_code"),
        ("0:30", "c_0_30"),
        ("class", "class_"),
        ("date", "date_"),
        ("_id", "id"),
        ("", "blank"),
        ("Größe", "größe"),
    ],
)
def test_a_header_becomes_a_name(header: str, name: str) -> None:
    assert column_name(header) == name


def test_names_of_pipelines_are_plain() -> None:
    assert identifier("By-Day 2025.csv") == "by_day_2025_csv"
    assert identifier("2025") == "t_2025"
    assert identifier("in") == "in_"


def test_text_from_files_cannot_break_out_of_the_draft() -> None:
    evil = Evidence('x")\nimport os #', "str", 2, 0, 2, "a\nimport os", "b\r\nimport os")
    source = render("p", [".csv"], [evil], None, scanned='"""\nimport os')
    compile(source, "draft", "exec")
    assert not [line for line in source.splitlines() if line.strip().startswith("import os")]


def test_the_demo_answers_within_seconds(command: Command, tmp_path: Path) -> None:
    started = time.perf_counter()
    said = command("demo", "d")
    assert said.code == 0, said.err
    assert "rows loaded" in said.err and "headrace sql" in said.err and "average_load" in said.out
    assert time.perf_counter() - started < 60
    assert command("demo", "d").err.startswith("HR135")


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real files are not at {REAL}")
@pytest.mark.parametrize(("folder", "rows"), [("online_retail/by-day", 541_909), ("lv_load_monitor", 413_649)])
def test_a_draft_of_real_files_loads_them_without_a_reject(
    command: Command, tmp_path: Path, folder: str, rows: int
) -> None:
    assert command("init", "p", "--name", "real", "--from", str(REAL / folder)).code == 0
    assert command("check", "--project", "p").code == 0
    totals = command("run", "--project", "p", "real", str(REAL / folder), "--json").json["totals"]
    assert (totals["read"], totals["loaded"], totals["rejected"]) == (rows, rows, 0)
