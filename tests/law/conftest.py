"""Where histories are lived."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

MEMORY = Path("/dev/shm")


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """One folder for all histories of this process: an engine is opened once per folder, which takes its time.

    In memory where the system has such a folder: what a power loss leaves is asked elsewhere.
    """
    with TemporaryDirectory(prefix="histories-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Path(folder)
