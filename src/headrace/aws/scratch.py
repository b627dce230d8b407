"""A function's own folder on its disk, which outlives the process: the next one on the machine clears it away.

Whose folder it is, a lock tells, not a number: the system lets go of it with its process, and gives numbers anew.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

FOLDER = "headrace-function-"
"""What the names of such folders begin with, once their lock is held."""
LOCK = "lock"


def own_folder(within: Path) -> Path:
    """A new folder that is this process's for as long as it lives; those of processes that are no more are deleted."""
    for left in within.glob(f"{FOLDER}*"):
        _clear(left)
    made = Path(tempfile.mkdtemp(prefix=f".{FOLDER}", dir=within))
    held = os.open(made / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)  # closed by the process's end alone
    fcntl.flock(held, fcntl.LOCK_EX)
    mine = within / made.name.removeprefix(".")
    made.rename(mine)  # only now do others see it: nobody finds it without its lock
    return mine


def _clear(left: Path) -> None:
    try:
        lock = os.open(left / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        shutil.rmtree(left, ignore_errors=True)  # the deletion of it was ended by a kill
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(left, ignore_errors=True)
    except BlockingIOError:
        pass  # its process lives
    finally:
        os.close(lock)
