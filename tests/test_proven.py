"""docs/aws/proven.md says what is proven where: each test that it names exists, and none of this home is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "aws" / "proven.md"
NAMED = re.compile(r"`([\w/]+\.py)(?:::(\w+))?`")
MARKS = {"process", "stub", "MiniStack", "functions", "account"}
TRIAL = "aws/test_account.py"
HOMES = ("aws_home", "homes", "ports")
"""Folders of tests that are about this home: all of them have to be named."""


def page() -> str:
    return PAGE.read_text("utf-8")


def stories(file: str) -> set[str]:
    return set(re.findall(r"^def (test_\w+)", (ROOT / "tests" / file).read_text("utf-8"), re.MULTILINE))


def promises() -> list[list[str]]:
    """The rows of the tables before the trial's own: promise, where, by what, what an account adds."""
    told = page().partition("\n## The law\n")[2].partition("\n## The trial in an account\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in told.splitlines() if line.startswith("|")]
    return [row for row in rows if row[1] != "proven" and set(row[0]) != {"-"}]


def test_every_test_that_the_page_names_exists() -> None:
    for file, name in NAMED.findall(page()):
        assert (ROOT / "tests" / file).is_file(), file
        assert not name or name in stories(file), f"{file}::{name}"


@pytest.mark.parametrize("row", promises(), ids=lambda row: row[0][:60])
def test_a_promise_says_where_it_is_proven_and_by_what(row: list[str]) -> None:
    promise, where, by, account = row
    marks = set(where.split(", "))
    assert marks <= MARKS, promise
    assert NAMED.search(by), f"{promise}: no test is named"
    assert ("account" in marks) <= (TRIAL in by + account), f"{promise}: no step of the trial is named"


def test_no_test_of_this_home_and_no_port_is_left_out() -> None:
    tests = ROOT / "tests"
    there = {str(path.relative_to(tests)) for folder in HOMES for path in (tests / folder).glob("test_*.py")}
    assert there == {file for file, _ in NAMED.findall(page())} & there


def test_the_steps_of_the_trial_are_told_in_their_order() -> None:
    told = page().partition("\n## The trial in an account\n")[2]
    order = re.findall(r"^def (test_\w+)", (ROOT / "tests" / TRIAL).read_text("utf-8"), re.MULTILINE)
    assert [name for file, name in NAMED.findall(told) if file == TRIAL] == order
