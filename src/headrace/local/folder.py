"""The files of one Iceberg table below a local root. Used by `sinks.lake`. Twin of `aws/folder.py`.

Without PyIceberg: `number` asks for the metadata's bytes alone, and must not wait for that import.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SCHEME = "file://"


class LocalFolder:
    """`ports.TableFolder` for the folder `below` of a root."""

    def __init__(self, root: Path, below: str) -> None:
        self.root = root.resolve()
        self.location = location_of(self.root / below)

    def locate(self, path: str) -> str:
        return location_of(self.root / path)

    def path(self, location: str) -> str:
        return str(path_of(location).relative_to(self.root))

    def read(self, location: str) -> bytes | None:
        try:
            return path_of(location).read_bytes()
        except FileNotFoundError:
            return None

    def metadata(self) -> Iterator[tuple[str, datetime]]:
        for file in (path_of(self.location) / "metadata").iterdir():
            yield location_of(file), datetime.fromtimestamp(file.stat().st_mtime, UTC)

    def delete(self, locations: Iterable[str]) -> None:
        for location in locations:
            path_of(location).unlink(missing_ok=True)

    def io(self) -> Any:
        from headrace.local.metadata import DurableFileIO

        return DurableFileIO()


def location_of(path: Path) -> str:
    """How Iceberg names a local file."""
    return f"{SCHEME}{path}"


def path_of(location: str) -> Path:
    """The file that `location` names. Locations are not URL-encoded: `%20` is part of a Hive folder's name."""
    return Path(location.removeprefix(SCHEME))
