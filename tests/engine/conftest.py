"""A root of its own for each test of the engine, told as in the law's stories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from law.place import Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path / "root")
    yield found
    found.close()
