"""The base's files in the lake bucket: each is stored under its own path, and copied here when it is to be read.

Files are immutable and never named twice, so a copy is always right. Copies take no more room than they may, but for
what is needed at once.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from headrace.aws.bucket import Bucket, on_disk, side_by_side
from headrace.aws.clock import SystemClock
from headrace.aws.session import Session
from headrace.engine import log
from headrace.model.errors import InfrastructureError, ObjectMoving
from headrace.model.loads import DataFile
from headrace.ports import Clock

SPOOL = "spool"
KINDS = ("data", "losers", "rejected")
SETTLED = timedelta(hours=1)
"""Age from which no attempt under way can still be about to tell the ledger of a file: functions live 15 minutes."""
FEW = 100
"""Files that are asked for one by one: a list of the bucket costs twelve times as much a request."""
FOREIGN = 15 * 60.0
"""Seconds for which a file here that this process did not bring is left alone: another may be writing it."""


class S3Base:
    """headrace.ports.Base over a bucket, with copies below `root`. Safe for threads: each call is alone."""

    def __init__(self, session: Session, bucket: str, root: Path, most_bytes: int, clock: Clock | None = None) -> None:
        self.root = root
        self.most_bytes = most_bytes
        self._bucket = Bucket(session, bucket)
        self._clock: Clock = clock or SystemClock()
        self._here: dict[str, None] = {}  # paths of copies that may go, the longest unused first
        self._lock = threading.Lock()

    def lost(self, paths: Iterable[str]) -> set[str]:
        """Asked one by one, or where they are many, by a list of all that is there: a thousand in each request."""
        asked = list(dict.fromkeys(paths))
        if len(asked) > FEW:
            return set(asked).difference(x.key for x in self._bucket.objects(os.path.commonpath(asked)))
        found = side_by_side(self._bucket.head, asked)
        return {path for path, there in zip(asked, found, strict=True) if there is None}

    def bring(self, files: Iterable[DataFile]) -> list[DataFile]:
        """Copy what is not here, side by side. One whose size is not the one the ledger names is lost as well."""
        wanted = list({file.path: file for file in files}.values())
        with self._lock:
            self._make_room(wanted)
            with self._counted(wanted):
                brought = side_by_side(self._bring, wanted)
        return [file for file, here in zip(wanted, brought, strict=True) if not here]

    def _bring(self, file: DataFile) -> bool:
        path = self.root / file.path
        return (path.is_file() and path.stat().st_size == file.size) or self._copied(file, path)

    def _copied(self, file: DataFile, path: Path) -> bool:
        part = path.with_name(f".{secrets.token_hex(8)}.part")
        with on_disk(file.path):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            found, _ = self._bucket.receive(file.path, part)
            if found.size != file.size:
                told = {"path": file.path, "bytes": found.size, "expected": file.size}
                log.event("base.damaged", logging.ERROR, **told)
                return False
            with on_disk(file.path):
                os.replace(part, path)
            return True
        except ObjectMoving:
            return False  # it is gone
        finally:
            part.unlink(missing_ok=True)

    def keep(self, files: Sequence[DataFile]) -> None:
        """Send files, side by side. If one fails, others may have been sent: nobody refers to them."""
        with self._lock:
            self._make_room(files)
            with self._counted(files):
                side_by_side(self._keep, files)

    def _keep(self, file: DataFile) -> None:
        path = self.root / file.path
        with on_disk(file.path):
            size = path.stat().st_size
        if size != file.size:
            found = f"it has {size} bytes here and should have {file.size}"
            raise InfrastructureError("HR882", file.path, found, "it is written anew")
        self._bucket.send(file.path, path)

    def delete(self, paths: Iterable[str]) -> None:
        """Delete objects, and their copies. Where the bucket keeps versions, its lifecycle takes those later."""
        gone = list(paths)
        with self._lock:
            for path in gone:
                self._remove(path)
            self._bucket.delete(gone)

    def paths(self, below: str) -> Iterator[str]:
        """Those that are older than any attempt under way can be."""
        young = self._clock.now() - SETTLED
        for kind in KINDS:
            for found in self._bucket.objects(f"{below}/{kind}/"):
                if found.key.endswith(".parquet") and found.modified < young:
                    yield found.key

    # copies

    def clear(self) -> None:
        """Remove what work that failed left here, and more copies than there may be. Where no other process works, and
        no work of this one is under way: what nobody brought or kept is nobody's then.
        """
        with self._lock:
            for path in self._on_disk().keys() - self._here.keys():
                self._remove(path)
            self._make_room([])

    def _make_room(self, wanted: Sequence[DataFile]) -> None:
        """Remove what was unused longest, until this call's files find room beside all others; never one of them."""
        on_disk, needed = self._on_disk(), {file.path: file.size for file in wanted}
        self._take_stock(on_disk)
        used = sum(size for _, size in on_disk.values())
        used += sum(size for path, size in needed.items() if path not in on_disk)
        for path in [path for path in self._here if path not in needed]:
            if used <= self.most_bytes:
                return
            used -= on_disk[path][1]
            self._remove(path)

    def _take_stock(self, on_disk: Mapping[str, tuple[float, int]]) -> None:
        """Copies that another process removed are none; what one before this left counts as the longest unused."""
        settled = self._clock.now().timestamp() - FOREIGN
        left = sorted((at, path) for path, (at, _) in on_disk.items() if path not in self._here and at < settled)
        known = [path for path in self._here if path in on_disk]
        self._here = dict.fromkeys([*(path for _, path in left), *known])

    def _on_disk(self) -> dict[str, tuple[float, int]]:
        """When every file of the base was written here and its bytes, whoever left it. The spool is no part of it."""
        found: dict[str, tuple[float, int]] = {}
        for path in self.root.rglob("*.parquet"):
            name = path.relative_to(self.root)
            with suppress(FileNotFoundError):  # another process made room
                told = path.stat()
                if name.parts[0] != SPOOL:
                    found[name.as_posix()] = (told.st_mtime, told.st_size)
        return found

    @contextmanager
    def _counted(self, files: Sequence[DataFile]) -> Iterator[None]:
        """Know what is here of the files afterwards, also where some of them failed: it must make room one day."""
        try:
            yield
        finally:
            for file in files:
                if (self.root / file.path).is_file():
                    self._here.pop(file.path, None)  # the last was used last
                    self._here[file.path] = None

    def _remove(self, path: str) -> None:
        with on_disk(path):
            (self.root / path).unlink(missing_ok=True)
        self._here.pop(path, None)
