"""The base's files in folders below the root: they are durable where they were written.

`engine.base` writes and syncs them; here they are looked for and deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from headrace.model.loads import DataFile

KINDS = ("data", "losers", "rejected")


class FolderBase:
    """ports.Base below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def lost(self, paths: Iterable[str]) -> set[str]:
        return {path for path in paths if not (self.root / path).exists()}

    def bring(self, files: Iterable[DataFile]) -> list[DataFile]:
        """They are where they are to be read."""
        return [file for file in files if not (self.root / file.path).exists()]

    def keep(self, files: Sequence[DataFile]) -> None:
        """Nothing is left to do: whoever wrote them has synced them, with their folders."""

    def delete(self, paths: Iterable[str]) -> None:
        """Files, and the Hive folders that are empty without them."""
        folders = set()
        for path in paths:
            (self.root / path).unlink(missing_ok=True)
            folders.add((self.root / path).parent)
        for folder in folders:
            self._remove_empty(folder)

    def paths(self, below: str) -> Iterator[str]:
        """All of them: whoever asks works alone, and has begun nothing yet."""
        for kind in KINDS:
            for path in (self.root / below / kind).rglob("*.parquet"):
                yield str(path.relative_to(self.root))

    def _remove_empty(self, folder: Path) -> None:
        while folder.name not in KINDS and folder != self.root:
            try:
                folder.rmdir()
            except OSError:  # not empty, or gone already: either is fine
                return
            folder = folder.parent
