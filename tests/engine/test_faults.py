"""Fault points: nothing in production, a crash at a named place where a test asks for one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from headrace.engine import faults
from headrace.model.errors import InfrastructureError

SCRIPT = (
    "from headrace.engine.faults import point\nfor n in range(5): point('other'); print(n, flush=True); point('here')"
)


def run(fault: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HEADRACE_FAULT": fault}
    return subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)


def test_a_point_does_nothing_unless_asked() -> None:
    faults.point("anything")
    assert run("elsewhere").stdout.split() == ["0", "1", "2", "3", "4"]


def test_a_process_is_killed_at_the_nth_passing() -> None:
    done = run("here:3")
    assert (done.returncode, done.stdout.split()) == (-signal.SIGKILL, ["0", "1", "2"])
    assert run("here").stdout.split() == ["0"]


def test_a_fault_is_raised_at_the_nth_passing_and_once() -> None:
    with faults.install(faults.parse("here:2=raise")):
        faults.point("here")
        with pytest.raises(InfrastructureError, match="HR699"):
            faults.point("here")
        faults.point("here")
    faults.point("here")


def test_an_installed_callable_sees_every_point() -> None:
    seen: list[str] = []
    with faults.install(seen.append):
        faults.point("a")
        faults.point("b")
    faults.point("c")
    assert seen == ["a", "b"]


@pytest.mark.parametrize("text", ["", ":3", "a=explode", "a:x"])
def test_a_fault_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        faults.parse(text)
