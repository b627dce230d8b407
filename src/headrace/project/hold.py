"""Who works on a root: `headrace up` holds it, and `run` hands its files over while it does.

An OS lock on `up.lock`, so that a killed process holds nothing; the process id inside is for people.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace.model.errors import UsageError

NAME = "up.lock"


@contextmanager
def held(root: Path) -> Iterator[None]:
    """Hold the root while the block runs. Raises UsageError HR125 if another process does."""
    root.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(root / NAME, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise UsageError("HR125", str(root), f"process {holder(root)} works on it", "stop that one first") from exc
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        os.close(descriptor)


def holder(root: Path) -> int | None:
    """The process that holds the root, or None."""
    try:
        descriptor = os.open(root / NAME, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 20, 0)
        return int(text) if text.isdigit() else 0
    else:
        return None
    finally:
        os.close(descriptor)
