"""What `_source_file` names: an object's key, or `key!member` of a zip. A key may hold the sign itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.engine.home import Home


def split(home: Home, file: str) -> tuple[str, str]:
    """(key, member): the longest key that the ledger knows; the member is empty where all of it is the key.

    Where no reading is known, all of it is taken for the key.
    """
    known = (reading for reading in readings(file) if home.ledger.history(reading[0], limit=1))
    return next(known, (file, ""))


def readings(file: str) -> Iterator[tuple[str, str]]:
    """Every (key, member) that the text may mean, the longest key first."""
    yield file, ""
    at = len(file)
    while (at := file.rfind("!", 0, at)) > 0:
        yield file[:at], file[at + 1 :]
