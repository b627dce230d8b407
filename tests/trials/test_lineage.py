"""Lineage, end to end: a thousand loaded rows of all formats lead back to the very record that holds their token."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import uuid
from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from making import workbook, zipped

from headrace import open_project
from headrace.project import Project
from headrace.project.naming import member_of
from headrace.project.peek import peek

DEFINITION = """
from headrace import Pipeline, Record, column, files, keyed, lake

class Token(Record, key="token"):
    token: str
    text: str | None
    n: int = column(ge=0)

tokens = Pipeline("tokens", source=files("in/", suffix=(".csv", ".ndjson", ".json", ".parquet", ".xlsx")), record=Token,
                  sinks=[lake("tokens"), keyed("by_token")], tolerate=1.0)
"""
RECORDS, TRIED, EXPLAINED = 1_200, 130, 4
Records = list[tuple[str, str, int]]


def records(rng: random.Random) -> Records:
    """(token, text, n): commas, quotes and line ends of all kinds in the text, and a negative n that is rejected."""
    parts = ["plain", "with, comma", 'a "quote"', "two\nlines", "crlf\r\nline", "\n\n", "é😀", " ", '""']

    def one(n: int) -> tuple[str, str, int]:
        text = "".join(rng.choices(parts, k=rng.randint(0, 4)))
        return str(uuid.UUID(int=rng.getrandbits(128))), text, -n if n % 50 == 7 else n

    return [one(n) for n in range(RECORDS)]


def as_csv(end: str) -> Callable[[Records], bytes]:
    """Every hundredth record is followed by a blank line and by one with a cell too few."""

    def write(found: Records) -> bytes:
        out = io.StringIO(newline="")
        writer = csv.writer(out, lineterminator=end)
        writer.writerow(["Token", "Text", "N"])
        for n, record in enumerate(found):
            writer.writerow(record)
            if n % 100 == 0:
                out.write(end + "misfit" + end)
        return out.getvalue().encode()

    return write


def as_ndjson(found: Records) -> bytes:
    lines = (json.dumps({"token": t, "text": x, "n": n}, ensure_ascii=False) for t, x, n in found)
    return "".join(line + "\n" * (1 + (i % 60 == 0)) for i, line in enumerate(lines)).encode()


def as_json(found: Records) -> bytes:
    return json.dumps([{"token": t, "text": x, "n": n} for t, x, n in found], indent=1).encode()


def as_parquet(found: Records) -> bytes:
    out = io.BytesIO()
    columns = dict(zip(("token", "text", "n"), map(list, zip(*found, strict=True)), strict=True))
    pq.write_table(pa.table(columns), out, row_group_size=500)
    return out.getvalue()


def as_workbook(found: Records) -> bytes:
    return workbook([["Token", "Text", "N"], *([t, x.replace("\r", ""), n] for t, x, n in found)])


WRITERS: dict[str, Callable[[Records], bytes]] = {
    "lf.csv": as_csv("\n"),
    "crlf.csv": as_csv("\r\n"),
    "packed.csv.gz": lambda found: gzip.compress(as_csv("\r\n")(found)),
    "lines.ndjson": as_ndjson,
    "array.json": as_json,
    "rows.parquet": as_parquet,
    "book.xlsx": as_workbook,
    "archive.zip": lambda found: zipped({"a/one.csv": as_csv("\n")(found)}),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project into which all files were loaded in one run."""
    folder = tmp_path_factory.mktemp("tokens")
    (folder / "headrace.toml").write_text('[project]\nmodule = "pipelines"\n[targets.local]\nkind = "local"\n')
    (folder / "pipelines.py").write_text(DEFINITION)
    for name, write in WRITERS.items():
        path = folder / "in" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(write(records(random.Random(name))))
    with open_project(folder) as opened:
        result = opened.run("tokens", [folder / "in"])
        assert [x.state for x in result.loads] == ["standing"] * len(WRITERS)
        assert result.totals["loaded"] == len(WRITERS) * (RECORDS - RECORDS // 50)
        yield opened


def tried(project: Project, name: str) -> list[dict[str, object]]:
    """Random loaded rows of a file, and the load they belong to."""
    query = f"SELECT token, n, _source_file, _source_row, _load_id FROM tokens WHERE _source_file LIKE 'in/{name}%'"
    rows = sorted(project.sql(query).rows(), key=lambda row: str(row["token"]))
    return random.Random(name).sample(rows, TRIED)


def starts(raw: bytes, line: int) -> bytes:
    """The text of a file from a physical line on."""
    return raw.split(b"\n", line - 1)[-1]


@pytest.mark.parametrize("name", WRITERS)
def test_every_row_leads_to_the_record_with_its_token(project: Project, name: str) -> None:
    rows = tried(project, name)
    (load,) = project.history("tokens", file=f"in/{name}")
    assert {row["_load_id"] for row in rows} == {load.id}
    member = member_of(str(rows[0]["_source_file"]), load.key)
    wanted = {member: [int(str(row["_source_row"])) for row in rows]}
    found = peek(project.home("tokens"), load.key, load.version, wanted)
    for row in rows:
        record = found[member, int(str(row["_source_row"]))]
        assert str(row["token"]) in record.raw
        cells = {header.lower(): cell for header, cell in record.cells.items()}
        assert (cells["token"], cells["n"]) == (row["token"], str(row["n"]))
        if name.endswith((".csv", ".csv.gz", ".ndjson")):
            data = (project.root / "landing" / load.key).read_bytes()
            text = gzip.decompress(data) if name.endswith(".gz") else data
            assert starts(text, record.line).startswith(record.raw.encode())


@pytest.mark.parametrize("name", WRITERS)
def test_explain_names_file_line_and_text_of_a_row(project: Project, name: str) -> None:
    for row in tried(project, name)[:EXPLAINED]:
        member = str(row["_source_file"]).partition("!")[2]
        where = f"{member}:{row['_source_row']}" if member else str(row["_source_row"])
        facts = project.explain(f"{row['_load_id']}:{where}").facts
        assert facts["file"] == row["_source_file"]
        assert (facts["verdict"], facts["record"], facts["read_again"]) == ("loaded", row["_source_row"], True)
        assert str(row["token"]) in facts["raw"]
        assert facts["row"]["token"] == row["token"]


def test_rejected_rows_hold_the_text_of_their_record(project: Project) -> None:
    for name in WRITERS:
        wrong = {t: n for t, _, n in records(random.Random(name)) if n < 0}
        raws = [
            r["raw"]
            for r in project.quarantine("tokens")
            if r["_source_file"].startswith(f"in/{name}") and r["rule"] == "ge"
        ]
        assert len(raws) == len(wrong)
        assert all(any(token in raw for raw in raws) for token in wrong)
