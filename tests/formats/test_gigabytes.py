"""A gigabyte on one line, in each text format: a clear reason, in bounded memory. Run by `make soak`."""

import resource
from pathlib import Path

import duckdb
import pytest
from reading import contract

from headrace.formats.open import Item, open_input
from headrace.formats.rows import BadItem

pytestmark = pytest.mark.soak


@pytest.mark.parametrize(
    ("key", "begin", "code"),
    [
        ("x.csv", b"a,b\n1,", "HR406"),
        ("quoted.csv", b'a,b\n1,"', "HR406"),
        ("x.ndjson", b'{"a": "', "HR406"),
        ("x.json", b'[{"a": "', "HR411"),
    ],
)
def test_a_gigabyte_on_one_line_is_refused_in_bounded_memory(tmp_path: Path, key: str, begin: bytes, code: str) -> None:
    path = tmp_path / "spooled"
    filler = (b"x\n" if key == "quoted.csv" else b"xy") * (1 << 19)
    with open(path, "wb") as file:
        file.write(begin)
        for _ in range(1024):
            file.write(filler)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadItem) as failure:
        open_input(duckdb.connect(), contract("a", "b"), [Item(0, key, path)], tmp_path, {})
    assert failure.value.code == code
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes
