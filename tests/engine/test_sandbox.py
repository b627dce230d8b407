"""The confined child: what it can do, what it cannot, and how its death is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.engine.sandbox import ChildDied, InProcess, Sandbox
from headrace.engine.settings import Settings
from headrace.formats.rows import BadItem
from headrace.model.errors import BadObject, InfrastructureError

LINUX = sys.platform == "linux"
PRELOAD = ("duckdb", "sandbox_handlers")


def ask(sandbox: Sandbox | InProcess, what: str, timeout: float = 60, **payload: Any) -> dict[str, Any]:
    return sandbox.call(f"sandbox_handlers:{what}", payload, timeout)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Settings(), preload=PRELOAD) as made:
        yield made


def gone(pid: int) -> bool:
    """Whether the process ends within five seconds (a zombie has ended)."""
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] if LINUX else "?"
            os.kill(pid, 0)
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


def test_a_call_is_answered_and_the_child_stays_warm(sandbox: Sandbox) -> None:
    payload = {"text": "ü" * 100_000, "list": [1, None, 2.5, True], "nested": {"a": {}}}
    assert ask(sandbox, "echo", **payload) == payload
    first = sandbox.pid
    assert ask(sandbox, "echo", big="x" * 3_000_000) == {"big": "x" * 3_000_000}
    assert sandbox.pid == first


def test_the_worker_can_do_other_things_meanwhile(sandbox: Sandbox) -> None:
    ask(sandbox, "echo")
    started = time.monotonic()
    sandbox.submit("sandbox_handlers:sleep", {"seconds": 0.3}, 60)
    assert time.monotonic() - started < 0.2
    with pytest.raises(RuntimeError, match="under way"):
        sandbox.submit("sandbox_handlers:echo", {}, 60)
    assert sandbox.result() == {}
    with pytest.raises(RuntimeError, match="no call"):
        sandbox.result()


def test_the_child_has_a_session_of_its_own_and_a_bare_environment(sandbox: Sandbox, monkeypatch: Any) -> None:
    found = ask(sandbox, "identity")
    assert found["session"] == found["pid"] == sandbox.pid != os.getsid(0)
    assert set(found["environment"]) <= {
        "LANG",
        "TZ",
        "LC_CTYPE",
        "TMPDIR",
        "LD_LIBRARY_PATH",
        "__CF_USER_TEXT_ENCODING",
    }


def test_errors_of_a_handler_arrive_as_what_they_are(sandbox: Sandbox) -> None:
    with pytest.raises(BadObject, match=r"HR401 a\.csv: no header; add one"):
        ask(sandbox, "bad")
    with pytest.raises(BadItem, match="HR402") as caught:
        ask(sandbox, "bad_item")
    assert caught.value.index == 3
    with pytest.raises(InfrastructureError, match="HR304 root: no space"):
        ask(sandbox, "fault")
    with pytest.raises(InfrastructureError, match=r"HR607 .*ZeroDivisionError.*sandbox_handlers.py"):
        ask(sandbox, "surprise", zero=0)
    with pytest.raises(InfrastructureError, match=r"HR607 .*a step must not end the child"):
        ask(sandbox, "leave")
    assert ask(sandbox, "echo") == {}


def test_numbers_keep_their_values_on_the_way(sandbox: Sandbox) -> None:
    numbers = [2**70, -(2**63), 1e-320, float("inf"), 0.1, "\ud800", None]
    assert ask(sandbox, "echo", numbers=numbers) == {"numbers": numbers}


def test_what_cannot_be_sent_is_an_error_of_that_call_alone(sandbox: Sandbox) -> None:
    ask(sandbox, "echo")
    pid = sandbox.pid
    with pytest.raises(TypeError):
        ask(sandbox, "echo", path=Path("x"))
    with pytest.raises(InfrastructureError, match=r"HR607 .*not JSON serializable"):
        ask(sandbox, "unsendable")
    assert (ask(sandbox, "echo"), sandbox.pid) == ({}, pid)


@pytest.mark.skipif(not LINUX, reason="/dev/full")
def test_a_full_disk_is_told_as_such(sandbox: Sandbox) -> None:
    with pytest.raises(InfrastructureError, match="HR606"):
        ask(sandbox, "fill_disk")


def test_calls_in_process_behave_alike() -> None:
    here = InProcess()
    assert ask(here, "echo", a=(1, 2)) == {"a": [1, 2]}
    with pytest.raises(BadItem, match="HR402"):
        ask(here, "bad_item")
    with pytest.raises(InfrastructureError, match="HR607"):
        ask(here, "surprise", zero=0)


def test_duckdb_stages_and_copies_inside(sandbox: Sandbox, tmp_path: Path) -> None:
    assert ask(sandbox, "duckdb_round_trip", folder=str(tmp_path)) == {
        "rows": 500000,
        "sum": sum(i % 7 for i in range(500000)),
    }


@pytest.mark.skipif(not LINUX, reason="only Linux filters system calls")
def test_the_child_reaches_neither_network_nor_programs_nor_processes(sandbox: Sandbox) -> None:
    refused = {"socket", "unix", "resolve", "exec", "run", "fork", "signal parent", "io_uring", "ptrace"}
    found = ask(sandbox, "attempts")
    assert {name for name, outcome in found.items() if outcome == "PermissionError"} == refused
    assert {name for name, outcome in found.items() if outcome == "done"} == {"signal itself", "thread"}
    assert sandbox.granted["leaving"] and sandbox.granted["privileges"] and sandbox.granted["memory"]


@pytest.mark.skipif(not LINUX, reason="only Linux has Landlock")
def test_the_child_writes_nowhere_but_where_it_may(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "ledger.db").write_text("precious")
    with Sandbox(Settings(), writable=[inside], preload=PRELOAD) as sandbox:
        found = ask(
            sandbox,
            "attempts",
            outside=str(outside / "new"),
            victim=str(outside / "ledger.db"),
            inside=str(inside / "new"),
        )
        if not sandbox.granted["writes"]:
            pytest.skip("this kernel has no Landlock")
        assert ask(sandbox, "duckdb_round_trip", folder=str(inside))["rows"] == 500000
    outcomes = {name: outcome for name, outcome in found.items() if name.endswith("side")}
    assert outcomes.pop("write inside") == "done"
    assert set(outcomes.values()) == {"PermissionError"} and len(outcomes) == 4
    assert (outside / "ledger.db").read_text() == "precious"


@pytest.mark.skipif(not LINUX, reason="only Linux bounds memory")
@pytest.mark.parametrize("hog", ["hog", "hog_of_duckdb"])
def test_a_memory_hog_dies_alone(hog: str) -> None:
    with Sandbox(Settings(child_memory=800_000_000), preload=PRELOAD) as sandbox:
        with pytest.raises(ChildDied, match="HR602") as caught:
            ask(sandbox, hog)
        assert caught.value.reason == "memory"
        assert ask(sandbox, "echo", still="here") == {"still": "here"}


@pytest.mark.parametrize(("way", "reason"), [("crash", "crash"), ("vanish", "crash"), ("sleep", "timeout")])
def test_a_death_is_told_and_the_next_call_finds_a_fresh_child(sandbox: Sandbox, way: str, reason: str) -> None:
    ask(sandbox, "echo")
    before = sandbox.pid
    with pytest.raises(ChildDied) as caught:
        ask(sandbox, way, timeout=0.5 if reason == "timeout" else 60, seconds=30)
    assert caught.value.reason == reason
    assert ask(sandbox, "echo", a=1) == {"a": 1}
    assert sandbox.pid != before and before is not None and gone(before)


def test_a_child_killed_from_outside_is_told_apart(sandbox: Sandbox) -> None:
    ask(sandbox, "echo")
    sandbox.submit("sandbox_handlers:sleep", {"seconds": 30}, 60)
    assert sandbox.pid is not None
    os.kill(sandbox.pid, signal.SIGKILL)
    with pytest.raises(ChildDied, match="HR601") as caught:
        sandbox.result()
    assert caught.value.reason == "killed"
    ask(sandbox, "echo")
    os.kill(sandbox.pid, signal.SIGKILL)  # between two calls: noticed by the next
    with pytest.raises(ChildDied, match="HR601"):
        ask(sandbox, "echo")
    assert ask(sandbox, "echo") == {}


def test_a_worn_child_is_replaced_between_calls() -> None:
    with Sandbox(Settings(child_calls=2), preload=("sandbox_handlers",)) as sandbox:
        pids = [ask(sandbox, "identity")["pid"] for _ in range(4)]
    assert pids[0] == pids[1] != pids[2] == pids[3]
    with Sandbox(Settings(child_growth=50_000_000), preload=("sandbox_handlers",)) as sandbox:
        pids = [ask(sandbox, "grow", bytes=n)["pid"] for n in (10_000_000, 100_000_000, 0)]
    assert pids[0] == pids[1] != pids[2]


def test_a_child_that_cannot_start_says_why() -> None:
    with Sandbox(Settings(), preload=("no_such_module",)) as sandbox, pytest.raises(ChildDied, match="HR605") as caught:
        ask(sandbox, "echo")
    assert "no_such_module" in str(caught.value)


PARENT = """
import sys, threading
from headrace.engine.sandbox import Sandbox
from headrace.engine.settings import Settings
sandbox = Sandbox(Settings(), preload=("sandbox_handlers",))
sandbox.call("sandbox_handlers:echo", {}, 60)
thread = threading.Thread(target=lambda: sandbox.submit("sandbox_handlers:sleep", {"seconds": 60}, 60))
thread.start(); thread.join()  # that a thread ends must not end the child
print(sandbox.pid, flush=True)
sys.stdin.read()
"""


def test_the_child_dies_with_a_parent_that_is_killed() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    time.sleep(0.2)
    os.kill(child, 0)  # it lives
    parent.kill()
    parent.communicate()
    assert gone(child)


def test_a_round_trip_is_short(sandbox: Sandbox) -> None:
    """The goal is 0.3 ms on an idle machine; a test machine is allowed to be ten times as slow."""
    ask(sandbox, "echo")
    times = []
    for _ in range(200):
        started = time.perf_counter()
        ask(sandbox, "echo")
        times.append(time.perf_counter() - started)
    assert sorted(times)[100] < 0.003
