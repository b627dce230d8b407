"""Locks between real processes."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from headrace.local.lock import LockHeld, exclusive, holder

HOLD = """
import sys
from pathlib import Path
from headrace.local.lock import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_lock_has_one_holder_whose_pid_is_told(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "lv.lock"
    assert holder(path) is None
    other = hold(path)
    assert holder(path) == other.pid
    with (
        pytest.raises(LockHeld, match=rf"HR521 lv\.lock: process {other.pid} holds this lock") as caught,
        exclusive(path),
    ):
        raise AssertionError("not reached")
    assert caught.value.pid == other.pid
    other.communicate("")
    assert holder(path) is None
    with exclusive(path):
        assert holder(path) == os.getpid()


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "lv.lock"
    other = hold(path)
    other.kill()
    other.communicate()
    with exclusive(path):
        assert holder(path) == os.getpid()


def test_two_threads_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    path = tmp_path / "lv.lock"
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(20):
            with exclusive(path, wait=None):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1 and len(most) == 80


def test_a_lock_is_waited_for_as_long_as_asked(tmp_path: Path) -> None:
    path = tmp_path / "lv.lock"
    other = hold(path)
    started = time.monotonic()
    with pytest.raises(LockHeld), exclusive(path, wait=0.15):
        pass
    assert time.monotonic() - started >= 0.15
    threading.Timer(0.1, lambda: other.communicate("")).start()
    with exclusive(path, wait=10):
        assert holder(path) == os.getpid()


def test_a_lock_is_released_when_its_block_raises(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path / "x"):
        _ = 1 / 0
    with exclusive(tmp_path / "x"):
        pass


def test_the_next_holder_is_told_whether_the_last_one_ended_in_peace(tmp_path: Path) -> None:
    path = tmp_path / "lv.lock"
    with exclusive(path) as clean:
        assert clean  # nobody ever held it
    other = hold(path)
    other.communicate("")
    with exclusive(path) as clean:
        assert clean
    other = hold(path)
    other.kill()
    other.communicate()
    with pytest.raises(ZeroDivisionError), exclusive(path) as clean:
        assert not clean
        raise ZeroDivisionError
    with exclusive(path) as clean:
        assert not clean


def test_who_only_asks_keeps_nobody_out(tmp_path: Path) -> None:
    path = tmp_path / "work.lock"
    with exclusive(path):
        pass
    descriptor = os.open(path, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_SH)  # as `holder` does, for an instant
    threading.Timer(0.1, os.close, [descriptor]).start()
    with exclusive(path, wait=0):
        assert holder(path) == os.getpid()
