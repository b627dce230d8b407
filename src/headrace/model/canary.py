"""The reserved name of an object that tries a pipeline out and never becomes a row.

`verify` puts one, every part that an event passes marks it, and nothing takes it for input: see `aws/canary.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

RESERVED = ".headrace-canary-"
"""What the last part of a canary's key holds. No source takes such a name, in any home."""


def is_canary(key: str) -> bool:
    return RESERVED in key.rpartition("/")[2]


def canary_key(prefix: str, suffixes: Sequence[str], token: str) -> str:
    """A key whose event takes the way of every other object's: below the prefix, with a suffix that is notified."""
    return f"{prefix}{RESERVED}{token}{suffixes[0] if suffixes else ''}"
