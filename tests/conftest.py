"""What all tests share: where the real files are. Property and crash tests have their helpers beside them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real files that the example systems run on; the test is skipped where it is absent."""
    given = os.environ.get("HEADRACE_REAL_DATA")
    folder = Path(given) if given else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real files at {folder}; set HEADRACE_REAL_DATA to their folder to run this test")
    return folder


@pytest.fixture(scope="session")
def example() -> Path:
    """The folder of the substation example, to be copied and never written to."""
    return ROOT / "examples" / "substation_load"
