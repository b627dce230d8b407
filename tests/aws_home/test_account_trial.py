"""The trial for a real account runs to its end on an emulator, and passes over no more than docs/aws/proven.md says."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from emulator import ACCOUNT, REGION, ROOT

STEP = re.compile(r"^\| `aws/test_account\.py::(\w+)` \| (\w+)", re.MULTILINE)


@pytest.mark.soak
def test_the_trial_for_an_account_does_what_an_emulator_lets_it_do(ministack: str) -> None:
    ended = trial(HEADRACE_AWS_ACCOUNT=ACCOUNT, HEADRACE_AWS_ENDPOINT=ministack, HEADRACE_AWS_REGION=REGION)
    assert ended.returncode == 0, ended.stdout
    told = dict(STEP.findall((ROOT / "docs" / "aws" / "proven.md").read_text("utf-8")))
    skipped = re.findall(r"::(test_\w+)(?:\[\w+\])? SKIPPED", ended.stdout)
    assert set(skipped) == {name for name, how in told.items() if how == "skipped"}
    assert set(told.values()) == {"yes", "skipped"}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "set HEADRACE_AWS_ACCOUNT to its number"),
        ({"HEADRACE_AWS_ACCOUNT": "mine"}, "is no number of an account"),
        ({"HEADRACE_AWS_ACCOUNT": "123456789012"}, "the credentials here are of 000000000000"),
    ],
)
def test_nothing_is_made_in_an_account_that_was_not_named(ministack: str, given: dict[str, str], why: str) -> None:
    ended = trial(**given, HEADRACE_AWS_ENDPOINT=ministack)
    assert ended.returncode == 0, ended.stdout
    assert why in ended.stdout
    assert " passed" not in ended.stdout


def trial(**environment: str) -> subprocess.CompletedProcess[str]:
    """`make account`, in an environment that names no account but the one given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_AWS_")}
    line = [sys.executable, "-m", "pytest", "-vv", "-rs", "-p", "no:xdist", "-p", "no:cacheprovider", "tests/aws"]
    return subprocess.run(
        line,
        cwd=ROOT,
        env={**kept, "COLUMNS": "200", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
    )
