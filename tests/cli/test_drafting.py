"""What `init --from` makes of awkward files is a definition that holds, and says what it left out."""

from __future__ import annotations

from pathlib import Path

from cli_project import Command, csv


def test_headers_that_are_alike_get_one_column_and_a_word(command: Command, tmp_path: Path) -> None:
    csv(tmp_path / "alike.csv", "1,2,3", "4,5,6", header="a b,a-b,%")
    said = command("init", "p", "--from", "alike.csv")
    assert said.code == 0 and "header 'a-b' is left out" in said.err
    text = (tmp_path / "p/pipelines.py").read_text()
    assert 'a_b: int = column("a b")' in text
    assert '# left out: "a-b" is the same as "a b" by letters and digits' in text
    assert '# left out: "%" holds no letter or digit' in text
    assert command("check", "--project", "p").code == 0
    assert command("run", "--project", "p", "alike", "alike.csv").code == 0
    assert command("sql", "--project", "p", "SELECT a_b FROM alike ORDER BY 1", "--json").json == [
        {"a_b": 1},
        {"a_b": 4},
    ]


def test_a_file_of_no_known_format_is_the_wrong_word_and_in_a_folder_it_is_skipped(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/notes").write_text("nothing\n")
    said = command("init", "p", "--from", "in/notes")
    assert said.code == 2 and said.err.splitlines()[-1].startswith("HR401")
    csv(tmp_path / "in/a.csv", "1", header="n")
    said = command("init", "p", "--from", "in")
    assert said.code == 0 and "1 file of no known format skipped, such as in/notes" in said.err


def test_a_header_that_stands_twice_is_refused_as_a_run_would(command: Command, tmp_path: Path) -> None:
    csv(tmp_path / "twice.csv", "1,2,3", header="id,v,v")
    said = command("init", "p", "--from", "twice.csv")
    assert said.code == 2 and not (tmp_path / "p").exists()
    assert "HR408 twice.csv: header 'v' stands twice (columns 2 and 3): both would be 'v'; rename one" in said.err


def test_headers_that_differ_in_case_alone_get_one_column_that_loads(command: Command, tmp_path: Path) -> None:
    for name, text in (
        ("case.csv", "id,Amount,amount\nx,1,2\n"),
        ("case.ndjson", '{"id":"x","Amount":1,"amount":2}\n'),
    ):
        (tmp_path / name).write_text(text)
        folder = name.replace(".", "_")
        assert "header 'amount' is left out" in command("init", folder, "--from", name).err
        assert command("run", "case", name, "--project", folder).code == 0
        rows = command("sql", 'SELECT amount FROM "case"', "--json", "--project", folder).json
        assert rows == [{"amount": 1}]
