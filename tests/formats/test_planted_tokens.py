"""A token planted in a record is found again by the record's number: in each format, whatever surrounds it."""

import csv
import gzip
import io
import json
import random
import uuid
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reading import Reader, contract, workbook, zipped

N = 3_000
TRIED = 300

Records = list[tuple[str, str]]


def records(rng: random.Random) -> Records:
    """(token, surrounding text): commas, quotes and line ends of all kinds in the text."""
    parts = ["plain", "with, comma", 'a "quote"', "two\nlines", "crlf\r\nline", "\n\n", "é😀", " ", "tab\t", '""']
    tokens = [str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(N)]
    return [(token, "".join(rng.choices(parts, k=rng.randint(0, 4)))) for token in tokens]


def as_csv(newline: str, pad: int = 0) -> Callable[[Records], bytes]:
    def write(found: Records) -> bytes:
        out = io.StringIO(newline="")
        writer = csv.writer(out, lineterminator=newline)
        writer.writerow(["token", "text"])
        for n, (token, text) in enumerate(found):
            writer.writerow([token, text + "x" * pad])
            if n % 97 == 0:
                out.write(newline)
        return out.getvalue().encode()

    return write


def as_json(found: Records) -> bytes:
    return json.dumps([{"token": t, "text": x} for t, x in found], indent=1, ensure_ascii=False).encode()


def as_ndjson(found: Records) -> bytes:
    lines = [json.dumps({"token": t, "text": x}) + "\n" * (n % 50 == 0) for n, (t, x) in enumerate(found)]
    return "\n".join(lines).encode()


def as_parquet(found: Records) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"token": [t for t, _ in found], "text": [x for _, x in found]}), out, row_group_size=700)
    return out.getvalue()


def as_workbook(found: Records) -> bytes:
    return workbook([["token", "text"], *([t, x.replace("\r", "")] for t, x in found)])


WRITERS: dict[str, Callable[[Records], bytes]] = {
    "lf.csv": as_csv("\n"),
    "crlf.csv": as_csv("\r\n"),
    "long.csv": as_csv("\n", pad=4_000),  # more than a block, and on its own
    "packed.csv.gz": lambda found: gzip.compress(as_csv("\r\n")(found)),
    "array.json": as_json,
    "lines.ndjson": as_ndjson,
    "rows.parquet": as_parquet,
    "book.xlsx": as_workbook,
    "member.zip": lambda found: zipped({"in/side.csv": as_csv("\n")(found)}),
}


@pytest.mark.parametrize("key", WRITERS)
def test_every_loaded_row_leads_to_its_very_record(reader: Reader, key: str) -> None:
    rng = random.Random(key)
    data = WRITERS[key](records(rng))
    read = reader.read(contract("token", "text"), (key, data))
    assert len(read.cells) == N
    lines = data.split(b"\n")
    places = rng.sample(sorted(read.cells), TRIED)
    member = places[0][1]
    found = read.groups[0].raw({(0, member): [record for _, _, record in places]})
    for place in places:
        token = read.cells[place][0]
        line, text = found[place]
        assert token and token in text
        if key.endswith((".csv", ".ndjson")):
            assert lines[line - 1].startswith((token.encode(), b'{"token": "' + token.encode()))
        if key.endswith(".json"):  # indented: the record's brace is on the line before its token
            assert token.encode() in lines[line]


def test_tokens_of_many_files_read_together_are_not_mixed_up(reader: Reader) -> None:
    rng = random.Random(1)
    all_records = [records(rng)[: rng.randint(0, 60)] for _ in range(40)]
    files = [(f"{i}.csv", as_csv("\n")(found)) for i, found in enumerate(all_records)]
    read = reader.read(contract("token", "text"), *files)
    assert len(read.groups) == 1
    for (item, _, record), cells in read.cells.items():
        assert all_records[item][record - 1][0] == cells[0]
    for item, _, record in rng.sample(sorted(read.cells), 100):
        found = read.raw(item, record)
        assert found is not None and all_records[item][record - 1][0] in found[1]
