"""What `_source_file` names: an object's key, or `key!member` of a zip. A key may hold the sign itself.

A row says of which load it is, and the ledger knows that load's key; only what somebody typed has to be tried.
"""

from __future__ import annotations

from collections.abc import Iterator

from headrace.model.keys import MOST_BYTES


def member_of(file: str, key: str) -> str:
    """The member that a row's file names beside its object's key; empty where there is none."""
    return file[len(key) + 1 :]


def row_name(load: str, member: str, record: int) -> str:
    """What `explain` takes for a record: `lv.42:17`, or `lv.42:readings.csv:17` for a member of a zip."""
    return ":".join([load, *([member] if member else []), str(record)])


def names_key(asked: str, key: str) -> bool:
    """Whether what was asked for is this key, or the end of it after a slash."""
    return f"/{key}".endswith(f"/{asked}")


def possible(key: str) -> bool:
    """Whether a text can be a key at all: no store is asked for what it could never hold."""
    return 0 < len(key.encode(errors="surrogatepass")) <= MOST_BYTES


def readings(file: str) -> Iterator[tuple[str, str]]:
    """Every (key, member) that the text may mean, the longest key first; the first has no member."""
    yield file, ""
    at = len(file)
    while (at := file.rfind("!", 0, at)) > 0:
        yield file[:at], file[at + 1 :]
