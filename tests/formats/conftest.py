from collections.abc import Iterator
from pathlib import Path

import pytest
import reading


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[reading.Reader]:
    reader = reading.Reader(tmp_path)
    yield reader
    reader.db.close()


@pytest.fixture(scope="session", autouse=True)
def close_the_database() -> Iterator[None]:
    yield
    reading.database.close()
    del reading.database
