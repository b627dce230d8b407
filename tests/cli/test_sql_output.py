"""What `sql` prints: all of it into a pipe, what a person can read on a terminal; and what it says of mistakes."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_project import Command, csv

from headrace import open_project


@pytest.fixture
def loaded(command: Command, project: Path) -> Path:
    csv(project / "a.csv", *(f"s{n % 2},2025-05-01T00:00:{n:02},{n}" for n in range(60)))
    assert command("run", "readings", "a.csv").code == 0
    return project


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT sensr FROM readings", 'Candidate bindings: "sensor"'),
        ("SELECT abz(1)", 'Did you mean "abs"?'),
        ("SELEC 1", 'HR701 query: cannot be read as SQL: Parser Error: syntax error at or near "SELEC"'),
        ("SELECT 1\n FRM readings x", "(line 2)"),
        ("EXPORT DATABASE 'x'", "HR703 query: EXPORT is not allowed"),
        ("", "HR701 query: is empty"),
        ("-- nothing", "HR701 query: is empty"),
        ("PIVOT read_csv('/etc/passwd') ON column0", "HR703"),
        ("PIVOT '/etc/passwd' ON column0", "HR702"),
    ],
)
def test_a_mistake_is_told_in_the_words_of_the_engine(command: Command, loaded: Path, query: str, said: str) -> None:
    answer = command("sql", query)
    assert answer.code == 2 and said in answer.err and "\x1b" not in answer.err and answer.err.count("\n") == 1


def test_a_pivot_reads(command: Command, loaded: Path) -> None:
    answer = command("sql", "PIVOT readings ON sensor USING count(*)  GROUP BY note", "--json").json
    assert answer == [{"note": None, "s0": 30, "s1": 30}]


def test_plans_and_intervals_are_printed_as_the_engine_does(command: Command, loaded: Path) -> None:
    assert "\n" in command("sql", "EXPLAIN SELECT 1").out and "⏎" not in command("sql", "EXPLAIN SELECT 1").out
    query = "SELECT INTERVAL '14 months 2 days 3 hours' AS i, INTERVAL '-1.5 seconds' AS j"
    assert command("sql", query, "--json").json == [{"i": "1 year 2 months 2 days 03:00:00", "j": "-00:00:01.500000"}]


def test_a_terminal_is_shown_forty_rows_and_short_versions(command: Command, loaded: Path) -> None:
    query = "SELECT value, _source_version FROM readings ORDER BY value"
    piped = command("sql", query).out
    assert len(piped.splitlines()) == 61 and "…" not in piped
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover - another process
        os.chdir(loaded)
        code = "import sys; from headrace.cli import main; sys.exit(main())"
        os.execv(sys.executable, [sys.executable, "-c", code, "sql", query])
    seen = b""
    try:
        while data := os.read(terminal, 65536):
            seen += data
    except OSError:
        pass  # Linux says so when the other end closes
    assert os.waitpid(pid, 0)[1] == 0, seen.decode(errors="replace")
    lines = seen.decode().splitlines()
    assert len(lines) == 43 and "60 rows, 40 shown" in lines[-1] and lines[1].endswith("…")


def test_get_says_where_a_lake_table_is_asked_and_what_its_options_are(command: Command, loaded: Path) -> None:
    assert "`headrace sql" in command("get", "readings", "s1").err
    both = command("get", "by_sensor", "s1", "--at", "2025-05-01", "--from", "2025-05-01")
    assert both.code == 2 and "HR722" in both.err


FINE = "2025-05-01T00:00:00.100"


def test_fractions_of_a_second_are_printed_and_what_is_printed_can_be_asked(command: Command, project: Path) -> None:
    csv(project / "a.csv", f"s1,{FINE},1", "s1,2025-05-01T00:00:00.9,2", "s1,2025-05-02T00:00:00,3")
    command("run", "readings", "a.csv")
    times = ["2025-05-01 00:00:00.1", "2025-05-01 00:00:00.9", "2025-05-02 00:00:00"]
    asked = command("sql", "SELECT time FROM readings ORDER BY time").out
    assert [line.strip() for line in asked.splitlines()[1:]] == times
    got = command("get", "by_sensor", "s1").out
    assert all(time in got for time in times)
    for n, printed in enumerate(times, 1):
        (row,) = command("get", "by_sensor", "s1", "--at", printed, "--json").json
        assert row["value"] == n
    zoned = "SELECT TIMESTAMPTZ '2020-01-01 00:00:00.25+00' AS t"
    assert "2020-01-01 00:00:00.25Z" in command("sql", zoned).out


def test_lists_structs_and_blobs_are_no_python_in_csv_and_text(command: Command, loaded: Path) -> None:
    query = "SELECT [1, NULL] l, {'a': DATE '2020-01-01'} s, 'x\\xFF'::BLOB b, true t, 0.0000000000::DECIMAL(18,10) d"
    row = '"[1,null]","{""a"":""2020-01-01""}",eP8=,true,0.0000000000'
    assert command("sql", query, "--csv").out == f"l,s,b,t,d\n{row}\n"
    assert command("sql", query).out.splitlines()[1].split() == [
        "[1,null]", '{"a":"2020-01-01"}', "eP8=", "true", "0.0000000000",
    ]  # fmt: skip
    assert command("sql", query, "--json").json[0]["b"] == "eP8="


def test_times_beyond_the_years_of_python_are_printed_as_the_engine_has_them(command: Command, loaded: Path) -> None:
    query = (
        "SELECT * FROM (VALUES (TIMESTAMPTZ '10000-01-01 00:00:00+00', 'infinity'::DATE, ['0044-03-15 (BC)'::DATE]),"
        " (TIMESTAMPTZ '2020-01-01 00:00:00+00', DATE '2020-01-01', [DATE '2020-01-01'])) v(a, b, c)"
    )
    assert command("sql", query, "--json").json == [
        {"a": "10000-01-01 00:00:00+00", "b": "infinity", "c": "['0044-03-15 (BC)']"},
        {"a": "2020-01-01T00:00:00Z", "b": "2020-01-01", "c": ["2020-01-01"]},
    ]
    assert command("sql", query, "--csv").out.splitlines()[1] == "10000-01-01 00:00:00+00,infinity,['0044-03-15 (BC)']"
    assert "infinity" in command("sql", query).out
    with open_project(loaded) as project:
        answer = project.sql(query)
        assert "10000-01-01" in repr(answer) and "infinity" in answer._repr_html_()
        assert answer.rows()[1]["a"].year == 2020


def test_a_query_that_is_interrupted_ends_as_any_command_does(loaded: Path) -> None:
    endless = "SELECT count(*) FROM range(100000000000) a WHERE a.range % 7 = 1 AND sin(a.range) > 2"
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    (loaded / "main.py").write_text(code + "from headrace.cli import main; sys.exit(main())\n")
    words = [sys.executable, "main.py", "sql", endless]
    asked = subprocess.Popen(words, cwd=loaded, stderr=subprocess.PIPE, text=True)
    try:
        time.sleep(3)  # by then it works: nothing that could be waited for tells so
        asked.send_signal(signal.SIGINT)
        _, said = asked.communicate(timeout=20)
    finally:
        asked.kill()
    assert asked.returncode == 130 and said.startswith("interrupted")
