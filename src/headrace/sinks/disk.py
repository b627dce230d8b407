"""Folders and files that are still there after a power loss. For sinks; the base's own files are `engine.base`'s."""

from __future__ import annotations

import os
from pathlib import Path

SCHEME = "file://"


def location_of(path: Path) -> str:
    """How Iceberg names a local file."""
    return f"{SCHEME}{path}"


def path_of(location: str) -> Path:
    """The file that `location` names. Locations are not URL-encoded: `%20` is part of a Hive folder's name."""
    return Path(location.removeprefix(SCHEME))


def make(folder: Path) -> None:
    """Make a folder and whatever lies above it, each synced into its parent."""
    if not folder.exists():
        make(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's entries, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
