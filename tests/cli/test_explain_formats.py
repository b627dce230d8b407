"""`explain` leads from a loaded row to the very record of its file, in every format."""

from __future__ import annotations

import gzip
import json
import random
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli_project import Command

from headrace import open_project
from headrace.project.naming import possible

DEFINITION = """
from headrace import Pipeline, Record, files, lake

class Row(Record):
    token: str
    note: str | None

tokens = Pipeline("tokens", source=files("raw/"), record=Row, sinks=[lake("tokens")])
"""

ROWS = [
    (f"token-{n:04}", f"line one\nline two {n}" if n % 7 == 0 else f"note, {n}" if n % 3 else "") for n in range(200)
]


def as_csv(end: str) -> bytes:
    lines = ["token,note"] + [f'{t},"{note}"' if note else f"{t}," for t, note in ROWS]
    return end.join([*lines, ""]).replace("\nline", f"{end}line" if end == "\r\n" else "\nline").encode()


def write_all(folder: Path) -> None:
    folder.mkdir()
    (folder / "unix.csv").write_bytes(as_csv("\n"))
    (folder / "dos.csv").write_bytes(as_csv("\r\n"))
    (folder / "packed.csv.gz").write_bytes(gzip.compress(as_csv("\n")))
    with zipfile.ZipFile(folder / "members.zip", "w") as archive:
        archive.writestr("one.csv", as_csv("\n"))
        archive.writestr("two/two.csv", as_csv("\r\n"))
    objects = [json.dumps({"token": t, "note": note or None}) for t, note in ROWS]
    (folder / "lines.ndjson").write_text("\n".join(objects) + "\n")
    (folder / "array.json").write_text("[" + ",\n".join(objects) + "]")
    pq.write_table(
        pa.table({"token": [t for t, _ in ROWS], "note": [n or None for _, n in ROWS]}), folder / "rows.parquet"
    )


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tokens")
    (root / "headrace.toml").write_text("")
    (root / "pipelines.py").write_text(DEFINITION)
    write_all(root / "in")
    with open_project(root) as project:
        result = project.run("tokens", [root / "in"])
        assert result.totals["loaded"] == 8 * len(ROWS), [x.cause for x in result.loads if x.cause]
    return root


def test_explain_finds_the_record_of_a_random_row_of_each_file(loaded: Path) -> None:
    chosen = random.Random(1)
    with open_project(loaded) as project:
        rows = project.sql("SELECT token, note, _source_file, _source_row, _load_id FROM tokens").rows()
        for file in sorted({r["_source_file"] for r in rows}):
            row = chosen.choice([r for r in rows if r["_source_file"] == file])
            member = file.partition("!")[2]
            place = ":".join([row["_load_id"], *([member] if member else []), str(row["_source_row"])])
            facts = project.explain(place).facts
            assert facts["verdict"] == "loaded", file
            assert row["token"] in facts["raw"], (file, facts)
            assert facts["row"]["token"] == row["token"], file
            if not file.endswith((".parquet", ".json")):
                assert line_of(loaded / "in", file, facts["line"]).find(row["token"]) >= 0, (file, facts)


def line_of(folder: Path, file: str, number: int) -> str:
    """The physical line of that number, of the unpacked text."""
    name, _, member = file.removeprefix("raw/").partition("!")
    data = (folder / name).read_bytes()
    if member:
        with zipfile.ZipFile(folder / name) as archive:
            data = archive.read(member)
    if name.endswith(".gz"):
        data = gzip.decompress(data)
    return data.decode().replace("\r\n", "\n").split("\n")[number - 1]


def test_a_record_that_several_members_have_must_be_named_with_one(command: Command, loaded: Path) -> None:
    with open_project(loaded) as project:
        (load,) = project.history("tokens", file="raw/members.zip")
        assert project.explain(load.id).next[0] == f"headrace explain {load.id}:one.csv:1"
    for what in (f"{load.id}:5", "raw/members.zip:5"):
        said = command("explain", what, "--project", str(loaded))
        names = f"say which: '{load.id}:one.csv:5', '{load.id}:two/two.csv:5'"
        assert said.code == 2 and f"HR132 {load.id}:5: 2 members have such a record; {names}" in said.err
    said = command("explain", f"{load.id}:two/two.csv:5", "--json", "--project", str(loaded)).json
    assert (said["what"], said["facts"]["record"]) == (f"{load.id}:two/two.csv:5", 5)
    said = command("explain", f"{load.id}:three.csv:5", "--project", str(loaded))
    assert said.code == 2 and "there is no such record; its members are 'one.csv', 'two/two.csv'" in said.err
    said = command("explain", f"{load.id}:999", "--project", str(loaded))
    assert said.code == 2 and "there is no such record; the load has 400" in said.err


def test_a_record_that_one_member_alone_has_needs_no_name(command: Command, tmp_path: Path) -> None:
    (tmp_path / "headrace.toml").write_text("")
    (tmp_path / "pipelines.py").write_text(DEFINITION)
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("long.csv", "token,note\na,1\nb\nc\n")
        pq.write_table(pa.table({"token": ["d"], "note": ["4"]}), tmp_path / "short.parquet")
        archive.write(tmp_path / "short.parquet", "short.parquet")
    command("run", "tokens", "z.zip")
    assert "record 3 of raw/z.zip!long.csv: rejected" in command("explain", "tokens.1:3").out
    assert "tokens.1:short.parquet:1" in command("explain", "tokens.1:1").err
    assert "next: headrace explain tokens.1:long.csv:2" in command("quarantine", "show", "tokens").err
    (rule,) = command("quarantine", "ls", "tokens", "--json").json
    assert rule["example"] == "tokens.1:long.csv:2"


def test_a_text_that_can_be_no_key_is_told_as_unknown(command: Command, loaded: Path) -> None:
    for what in ("", "x" * 1025, f"{'é' * 600}!m.csv:1"):
        said = command("explain", what, "--project", str(loaded))
        assert said.code == 2 and "HR132" in said.err and "is no code, load, row or object known here" in said.err
    assert [possible(text) for text in ("", "é" * 513, "é" * 512, "a")] == [False, False, True, True]


def test_a_member_of_an_archive_is_named_with_its_row(command: Command, loaded: Path) -> None:
    said = command("explain", "raw/members.zip!two/two.csv:5", "--project", str(loaded))
    assert said.code == 0 and "record 5 of raw/members.zip!two/two.csv: loaded" in said.out
