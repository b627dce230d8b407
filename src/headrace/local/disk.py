"""Files and folders as `local.store` and `local.archive` write them: whole, durable, and with errors that say which."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace.model.errors import InfrastructureError

CHUNK = 1 << 20


def copy(source: int, into: Path | None, size: int, hashed: bool = True, which: str = "") -> str:
    """Hash the first `size` bytes of `source`, writing the same bytes to `into`; stops early where the file ends.

    Bounded, because a file that somebody appends to faster than we copy would otherwise fill the disk. A fault in
    writing is raised as HR304 of `which` (or `into`), one in reading as the OSError that it is: the caller knows what
    it reads.
    """
    hasher = hashlib.sha256()
    target = -1
    if into is not None:
        with writing(which or str(into)):
            target = os.open(into, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        while size > 0 and (chunk := os.read(source, min(CHUNK, size))):
            size -= len(chunk)
            if hashed:
                hasher.update(chunk)
            if target >= 0:
                with writing(which or str(into)):
                    _write(target, chunk)
    finally:
        if target >= 0:
            os.close(target)
    return hasher.hexdigest()


def _write(target: int, chunk: bytes) -> None:
    written = 0
    while written < len(chunk):
        written += os.write(target, chunk[written:] if written else chunk)


def fingerprint(found: os.stat_result) -> str:
    """What changes whenever a file is written or replaced, but for writes within one tick of the clock."""
    return f"{unmoved(found)}:{found.st_ctime_ns}"


def unmoved(found: os.stat_result) -> str:
    """The part of the fingerprint that a new name leaves as it is."""
    return f"{found.st_dev}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}"


def unfinished(path: Path) -> Path:
    """A name beside `path` under which no store sees an object."""
    return path.with_name(f".{secrets.token_hex(8)}.part")


def make_folders(folder: Path) -> None:
    """Make a folder and its parents, each durable in its own parent."""
    if folder.is_dir():
        return
    make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    sync(folder.parent)


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(which: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise InfrastructureError("HR304", which, exc.strerror or str(exc), "free or grant space, then retry") from exc
