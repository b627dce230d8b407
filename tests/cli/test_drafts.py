"""What `init --from` makes of files that are not plain tables of numbers and dates."""

from __future__ import annotations

from pathlib import Path

from cli_project import Command, csv


def test_objects_and_lists_of_json_are_drafted_as_such(command: Command, tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"id":1,"tags":["x"],"at":{"lat":1}}\n{"id":2,"tags":[],"at":{}}\n')
    out = command("init", "--print", "--from", "a.ndjson").out
    assert "tags: list  #" in out and "at: dict  #" in out


def test_a_list_within_a_document_is_proposed_as_the_rows(command: Command, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"data":{"items":[{"id":1},{"id":2}]},"n":2}')
    assert 'root="/data/items"' in command("init", "--print", "--from", "a.json").out


def test_a_header_without_rows_requires_nothing(command: Command, tmp_path: Path) -> None:
    csv(tmp_path / "a.csv", header="Name,Age")
    out = command("init", "--print", "--from", "a.csv").out
    assert "name: str | None  # no row was seen" in out and "no key: 0 rows cannot show one" in out


def test_one_row_shows_no_key(command: Command, tmp_path: Path) -> None:
    csv(tmp_path / "a.csv", "x,1", header="Name,Age")
    assert "no key: 1 row cannot show one" in command("init", "--print", "--from", "a.csv").out


def test_money_is_exact_and_a_decimal_comma_is_told(command: Command, tmp_path: Path) -> None:
    csv(tmp_path / "in/a.csv", '1,9.99,2.5,"1.234,5"', '2,10.00,1e3,"0,25"', header="No,Unit Price,Total,Weight")
    out = command("init", "p", "--from", "in").code, (tmp_path / "p/pipelines.py").read_text()
    assert out[0] == 0
    assert "from decimal import Decimal" in out[1] and "unit_price: Decimal = column(digits=(18, 2))" in out[1]
    assert "total: float" in out[1] and "decimal comma" in out[1]
    assert command("run", "--project", "p", "a", "in").code == 0


def test_long_lines_of_a_draft_are_broken(command: Command, tmp_path: Path) -> None:
    rows = [f"{n},2025-0{n}-01T00:00:00" for n in range(1, 4)]
    csv(tmp_path / "in/a.csv", *rows, header="Identification Number,Observed At")
    command("init", "p", "--from", "in", "--name", "observations_of_the_long_kind")
    text = (tmp_path / "p/pipelines.py").read_text()
    assert max(map(len, text.splitlines())) <= 120 and "sinks=[\n        lake(" in text
    assert command("check", "--project", "p").code == 0


def test_a_name_without_files_is_refused(command: Command, tmp_path: Path) -> None:
    said = command("init", "new", "--name", "x")
    assert said.code == 2 and "--from" in said.err and not (tmp_path / "new").exists()
