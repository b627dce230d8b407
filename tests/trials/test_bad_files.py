"""What becomes of bad input, end to end: each file of the table below in one run with good ones, which it never harms.

The two columns are `id`, a whole number that must be there, and `text`, which may be absent. The rows that a file does
not load are in quarantine with their text, or the file is set aside with its cause. Trouble with folders, disks and
files that move is in test_bad_places.py.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from making import workbook, zipped

from headrace import open_project
from headrace.model.loads import Event
from headrace.project import Project, RunResult

DEFINITION = """
from headrace import Pipeline, Record, files, keyed, lake

class Row(Record):
    id: int
    text: str | None = None

rows = Pipeline("rows", source=files("in/", suffix=(".csv", ".json", ".ndjson", ".xlsx")), record=Row,
                sinks=[lake("rows")], tolerate=1.0)
"""
LONG = "in/" + "/".join(["x" * 250] * 4) + "/" + "y" * (1024 - 3 - 4 * 251 - 4) + ".csv"
BIG = 2**63


@dataclass(frozen=True)
class Is:
    """The outcome of one file: what is loaded, how many rows are rejected and why, or why all of it is set aside."""

    texts: tuple[str | None, ...] | int = ()  # of the loaded rows in file order, or how many rows are loaded
    rejected: int = 0
    because: str = ""
    dead: str = ""

    @property
    def loaded(self) -> int:
        return self.texts if isinstance(self.texts, int) else len(self.texts)


def csv(*lines: str, end: str = "\n") -> bytes:
    return (end.join(["id,text", *lines]) + end).encode()


def gzip_cut_short() -> bytes:
    return gzip.compress(csv(*(f"{n},{n * 7919 % 10007}" for n in range(5000))))[:-2000]


def entities(system: str) -> str:
    return f"<?xml version='1.0'?><!DOCTYPE r [<!ENTITY e SYSTEM '{system}'>]>"


DEEP = b'{"id": 1, "text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
WIDE = ",".join(["id", "text", *(f"c{n}" for n in range(9_998))]), ",".join(["1", "wide", *["x"] * 9_998])
LATE_QUOTE = [*(f"{n},plain" for n in range(1, 67_000)), '67000,"a, b"', '67001,"c\nd"']

# fmt: off
TABLE: dict[str, tuple[str, bytes, Is]] = {
    "an empty file":                   ("empty.csv", b"", Is()),
    "a header only":                   ("header.csv", b"id,text\n", Is()),
    "a byte order mark":               ("bom.csv", b"\xef\xbb\xbf" + csv("1,a"), Is(("a",))),
    "UTF-16":                          ("utf16.csv", csv("1,é€").decode().encode("utf-16"), Is(("é€",))),
    "UTF-16 without a mark":           ("utf16le.csv", csv("1,é€").decode().encode("utf-16-le"), Is(("é€",))),
    "Latin-1":                         ("latin.csv", csv("1,Zürich").decode().encode("latin-1"), Is(("Zürich",))),
    "a NUL byte in text":              ("nul.csv", csv("1,a\0b"), Is(("a\0b",))),
    "a NUL byte in a number":          ("nulint.csv", csv("1\x002,a", "3,b"), Is(("b",), 1, "id: ")),
    "mixed line ends":                 ("ends.csv", b"id,text\r\n1,a\n2,b\r3,c\r\n", Is(("a", "b", "c"))),
    "quoted newlines":                 ("lines.csv", csv('1,"a\r\nb\nc"', "2,d"), Is(("a\r\nb\nc", "d"))),
    "a quote first at row 67,000":     ("quote.csv", csv(*LATE_QUOTE), Is(67_001)),
    "ragged rows":                     ("ragged.csv", csv("1,a", "2", "3,c,d", "4,e"), Is(("a", "e"), 2, "cell")),
    "a truncated gzip":                ("cut.csv.gz", gzip_cut_short(), Is(dead="HR402")),
    "a bomb":                          ("bomb.csv.gz", gzip.compress(bytes(300 << 20)), Is(dead="HR403")),
    "10,000 columns":                  ("wide.csv", "\n".join(WIDE).encode(), Is(("wide",))),
    "10,000 columns, a bad row":       ("widebad.csv", f"{WIDE[0]}\nx{WIDE[1]}\n".encode(), Is((), 1, "id: ")),
    "a header twice, and wanted":      ("twice.csv", b"id,text,text\n1,a,b\n", Is(dead="HR408")),
    "a header twice, and not wanted":  ("other.csv", b"id,x,x,text\n1,2,3,a\n", Is(("a",))),
    "a blank header":                  ("blank.csv", b"id,,text\n1,2,a\n", Is(("a",))),
    "changed column order":            ("order.csv", b"text,id\na,1\n", Is(("a",))),
    "an optional column gone":         ("fewer.csv", b"id,new\n1,a\n", Is((None,))),
    "a required column gone":          ("without.csv", b"text,new\na,b\n", Is(dead="HR451")),
    "an integer beyond 64 bits":       ("beyond.csv", csv(f"{BIG},a", f"{BIG - 1},b"), Is(("b",), 1, "id: ")),
    "13995.7 for an integer":          ("decimal.csv", csv("13995.7,a", "13995.0,b"), Is(("b",), 1, "id: ")),
    "1e3 for an integer":              ("exponent.csv", csv("1e3,a"), Is((), 1, "id: ")),
    "an integer beyond, in JSON":      ("beyond.json", b"[{\"id\": %d}, {\"id\": 7}]" % BIG, Is((None,), 1, "id: ")),
    "NaN in JSON":                     ("nan.json", b'[{"id": NaN}]', Is(dead="HR409")),
    "Infinity in NDJSON":              ("inf.ndjson", b'{"id": 1}\n{"id": -Infinity}\n', Is((None,), 1, "JSON")),
    "a key twice in a JSON object":    ("keys.json", b'[{"id": 1, "id": 2}, {"id": 3}]', Is((None,), 1, "twice")),
    "JSON 100,000 deep":               ("deep.json", b"[" + DEEP + b"]", Is(dead="HR410")),
    "NDJSON 100,000 deep":             ("deep.ndjson", DEEP + b'\n{"id": 2, "text": "b"}\n', Is(("b",), 1, "deep")),
    "truncated JSON":                  ("cut.json", b'[{"id": 1}, {"id"', Is(dead="HR409")),
    "a workbook":                      ("book.xlsx", workbook([["id", "text"], [1, "a"]]), Is(("a",))),
    "a workbook with entities":        ("xxe.xlsx", workbook([["id"], [1]], entities("file:///etc/passwd")),
                                        Is(dead="HR416")),
    "a workbook that is none":         ("none.xlsx", b"id,text\n1,a\n", Is(dead="HR414")),
    "a member name with ..":           ("up.zip", zipped({"../../out.csv": csv("1,a")}), Is(("a",))),
    "two members of one name":         ("same.zip", zipped({"x.csv": csv("1,a"), "y.csv": csv("2,b")})
                                        .replace(b"y.csv", b"x.csv"), Is(dead="HR404")),
    "a member packed once more":       ("again.zip", zipped({"x.csv.gz": gzip.compress(csv("1,a"))}), Is(("a",))),
    "hidden and unknown members":      ("rest.zip", zipped({".x.csv": csv("1,h"), "x": b"", "y.csv": csv("3,a")}),
                                        Is(("a",))),
    "a key with %2F":                  ("a%2Fb.csv", csv("1,a"), Is(("a",))),
    "a key with + and spaces":         ("a+b c  d.csv", csv("1,a"), Is(("a",))),
    "a key with quotes":               ("it's \"so\".csv", csv("1,a"), Is(("a",))),
    "a key in unicode":                ("Übergröße/東京 😀.csv", csv("1,a"), Is(("a",))),
    "a key of 1,024 bytes":            (LONG.removeprefix("in/"), csv("1,a"), Is(("a",))),
}
# fmt: on
GOOD = {f"good/{n}.csv": csv(*(f"{n * 100 + i},g" for i in range(50))) for n in range(20)}
ESCAPES = ("in/../../escape.csv", "in/./dot.csv", "in//double.csv", "in/../escape.csv")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("bad")
    (folder / "headrace.toml").write_text('[project]\nmodule = "pipelines"\n[targets.local]\nkind = "local"\n')
    (folder / "pipelines.py").write_text(DEFINITION)
    with open_project(folder) as opened:
        for name, data in {**GOOD, **{name: data for name, data, _ in TABLE.values()}}.items():
            path = opened.root / "landing" / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (opened.root / "escape.csv").write_bytes(csv("1,outside"))
        (opened.root / "landing" / "escape.csv").write_bytes(csv("1,beside"))
        opened.home("rows").queue.put([Event("rows", key, "created") for key in (*ESCAPES, LONG + "z.csv")])
        yield opened


@pytest.fixture(scope="module")
def result(project: Project) -> RunResult:
    """One run over everything."""
    return project.run("rows")


@pytest.mark.parametrize("what", TABLE)
def test_bad_input_has_its_stated_outcome(project: Project, result: RunResult, what: str) -> None:
    name, _, outcome = TABLE[what]
    key = f"in/{name}"
    (load,) = (x for x in result.loads if x.object == key)
    assert load.state == ("dead" if outcome.dead else "standing"), load.cause
    assert load.cause.startswith(outcome.dead)
    assert (load.loaded, load.rejected, load.duplicate, load.filtered) == (outcome.loaded, outcome.rejected, 0, 0)
    assert load.read == load.loaded + load.rejected
    quarantined = project.quarantine("rows", file=key)
    assert len(quarantined) == outcome.rejected
    assert all(outcome.because in row["reason"] and row["raw"] for row in quarantined)
    if not isinstance(outcome.texts, int):
        query = "SELECT text FROM rows WHERE split_part(_source_file, '!', 1) = '{}' ORDER BY _source_row"
        found = project.sql(query.format(key.replace("'", "''"))).rows()
        assert tuple(row["text"] for row in found) == outcome.texts


def test_good_files_of_the_same_run_are_loaded_whole(project: Project, result: RunResult) -> None:
    good = [x for x in result.loads if x.object.startswith("in/good/")]
    assert [(x.state, x.loaded) for x in good] == [("standing", 50)] * len(GOOD)
    assert result.exit_code == 4
    assert result.totals["read"] == result.totals["loaded"] + result.totals["rejected"]


@pytest.mark.parametrize("key", ESCAPES)
def test_a_key_cannot_leave_the_landing_folder(project: Project, result: RunResult, key: str) -> None:
    (load,) = project.history("rows", file=key)
    assert (load.state, load.counts.read) == ("dead", 0)
    assert load.cause.startswith("HR311")


def test_a_key_too_long_for_any_folder_is_dead(project: Project, result: RunResult) -> None:
    (load,) = project.history("rows", file=LONG + "z.csv")
    assert load.cause.startswith("HR312")


def test_nothing_is_written_outside_and_a_second_run_changes_nothing(project: Project, result: RunResult) -> None:
    assert not [p for p in (Path("/out.csv"), project.root / "out.csv", project.directory / "out.csv") if p.exists()]
    before = {x.id: x.state for x in project.history("rows")}
    assert project.run("rows").changed == ()
    assert {x.id: x.state for x in project.history("rows")} == before
