"""Locks between processes of one machine: one publisher per pipeline, one `up` per root.

The system releases them however their holder ends, so there is nothing to clean up after a crash.

| code | means |
|---|---|
| HR521 | another process (named, with its pid) holds the lock |
| HR522 | the lock file cannot be opened |
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace.model.errors import InfrastructureError

PAUSE = 0.02  # seconds between two tries; flock with a time limit does not exist
GLANCE = 0.5  # and for how long nobody's name in the file may mean that somebody is only asking who holds it


class LockHeld(InfrastructureError):
    """Somebody else holds the lock. `pid` is the holder's, or None if it could not be told."""

    def __init__(self, path: Path, pid: int | None) -> None:
        self.pid = pid
        who = "another process" if pid is None else f"process {pid}"
        super().__init__("HR521", path.name, f"{who} holds this lock", "wait for it, or stop it")


@contextmanager
def exclusive(path: Path, wait: float | None = 0) -> Iterator[bool]:
    """Hold the lock file for the block. `wait`: seconds to try (None: for ever), then LockHeld.

    Yields whether its last holder left the block in peace: its pid stays in the file where it was killed or raised.

    Two holders in one process exclude each other, too: the lock belongs to the open file. The file stays when the lock
    is released; deleting it would let two processes lock two files of one name.
    """
    descriptor = _open(path)
    try:
        _acquire(descriptor, path, wait)
        clean = os.fstat(descriptor).st_size == 0
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield clean
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)  # releases it


def holder(path: Path) -> int | None:
    """The pid of the process that holds the lock now; None if nobody does, 0 if it could not be told."""
    if not path.exists():
        return None
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid(descriptor) or 0
    else:
        return None
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, wait: float | None) -> None:
    if wait is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    until = time.monotonic() + wait
    looked = time.monotonic() + GLANCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holding = _pid(descriptor)
            if time.monotonic() >= (until if holding else max(until, looked)):
                raise LockHeld(path, holding) from None
        time.sleep(PAUSE)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as exc:
        raise InfrastructureError("HR522", str(path), exc.strerror or str(exc), "make its folder writable") from exc


def _pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 20, 0).decode(errors="replace")
    return int(text) if text.isdigit() else None
