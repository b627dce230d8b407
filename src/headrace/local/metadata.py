"""Iceberg metadata on a local disk, synced before anything can refer to it. Twin of `aws/metadata.py`.

`local.folder` hands this FileIO to the lake; PyIceberg's own syncs nothing. The table's metadata JSON is the last file
of a commit: closing it syncs the folder too, so that the manifests and the manifest list before it are found after a
power loss. Imports PyIceberg at its top: imported only to write.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from pyiceberg.io import FileIO, InputFile, OutputFile

from headrace.local.disk import make_folders, sync
from headrace.local.folder import path_of


class DurableFile(InputFile, OutputFile):
    """One local file, to read or to write whole."""

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.path = path_of(location)

    def __len__(self) -> int:
        return self.path.stat().st_size

    def exists(self) -> bool:
        return self.path.exists()

    def open(self, seekable: bool = True) -> Any:
        return self.path.open("rb")

    def create(self, overwrite: bool = False) -> Any:
        make_folders(self.path.parent)
        return SyncedFile(self.path, overwrite=overwrite)

    def to_input_file(self) -> DurableFile:
        return self


class SyncedFile(io.BytesIO):
    """Collects what is written; closing puts it on the disk. Metadata files are small."""

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        super().__init__()
        self._path, self._mode = path, "wb" if overwrite else "xb"

    def close(self) -> None:
        if self.closed:
            return
        with self._path.open(self._mode) as file:
            file.write(self.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        super().close()
        if self._path.name.endswith(".metadata.json"):
            sync(self._path.parent)


class DurableFileIO(FileIO):
    """Local files whose content is on the disk when their stream is closed."""

    def new_input(self, location: str) -> DurableFile:
        return DurableFile(location)

    def new_output(self, location: str) -> DurableFile:
        return DurableFile(location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        path_of(location if isinstance(location, str) else location.location).unlink()
