"""Zip files whose bytes depend on their contents alone: sorted, of one date and one mode, nothing compressed anew.

Members of a wheel keep the compressed bytes that the wheel holds, other contents are stored: so no library of this
machine has a say in the result. It knows no function. Called by `package.py` and `libraries.py`.
"""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

_LOCAL, _CENTRAL, _END = struct.Struct("<4s5H3L2H"), struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s4H2LH")
_VERSION, _UNIX, _UTF8 = 20, 3 << 8, 0x800
_DATE = (1 << 5) | 1  # the first day that a zip can tell: 1 January 1980
_MODE = 0o100644 << 16
_PART = 1 << 20


@dataclass(frozen=True, slots=True)
class Member:
    """One file to be. `offset` is where its `packed` bytes lie in `source`, or where the local header of them does."""

    name: str
    method: int
    crc: int
    packed: int
    size: int
    source: Path | bytes
    offset: int = 0

    @staticmethod
    def of(name: str, data: bytes) -> Member:
        """A stored file."""
        return Member(name, ZIP_STORED, zlib.crc32(data), len(data), len(data), data)


def members(archive: Path, rename: Callable[[str], str | None] = str) -> Iterator[Member]:
    """The files of a zip, by their new names; those without one are left out. Raises OSError and BadZipFile."""
    with ZipFile(archive) as opened:
        for info in opened.infolist():
            name = None if info.is_dir() else rename(info.filename)
            if name is None:
                continue
            if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
                raise OSError(f"{archive.name}: {info.filename} is packed in a way that is not known here")
            yield Member(
                name, info.compress_type, info.CRC, info.compress_size, info.file_size, archive, info.header_offset
            )


def write(into: Path, content: Iterable[Member]) -> tuple[str, ...]:
    """Write a zip, whole or not at all; returns the names in it. Raises OSError, ValueError for two of one name."""
    ordered = sorted(content, key=lambda m: m.name)
    names = tuple(m.name for m in ordered)
    twice = next((a for a, b in pairwise(names) if a == b), None)
    if twice is not None:
        raise ValueError(twice)
    into.parent.mkdir(parents=True, exist_ok=True)
    with replacing(into) as out, ExitStack() as stack:
        sources = {m.source for m in ordered if isinstance(m.source, Path)}
        opened = {path: stack.enter_context(path.open("rb")) for path in sources}
        directory = [_append(out, m, opened) for m in ordered]
        start = out.tell()
        out.writelines(directory)
        size = out.tell() - start
        out.write(_END.pack(b"PK\5\6", 0, 0, len(directory), len(directory), size, start, 0))
    return names


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file beside `path` that takes its place when all went well; of the mode that the user's umask gives."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as out:
            yield out
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _append(out: BinaryIO, member: Member, opened: Mapping[Path, BinaryIO]) -> bytes:
    """Write one file with its header; returns its line of the directory."""
    name = member.name.encode()
    flags = 0 if name.isascii() else _UTF8
    said = (_VERSION, flags, member.method, 0, _DATE, member.crc, member.packed, member.size, len(name), 0)
    at = out.tell()
    out.write(_LOCAL.pack(b"PK\3\4", *said) + name)
    if isinstance(member.source, bytes):
        out.write(member.source)
    else:
        _copy(opened[member.source], member, out)
    return _CENTRAL.pack(b"PK\1\2", _UNIX | _VERSION, *said, 0, 0, 0, _MODE, at) + name


def _copy(source: BinaryIO, member: Member, out: BinaryIO) -> None:
    source.seek(member.offset)
    header = _LOCAL.unpack(source.read(_LOCAL.size))
    source.seek(header[-2] + header[-1], os.SEEK_CUR)  # name and extra field
    left = member.packed
    while left and (part := source.read(min(left, _PART))):
        out.write(part)
        left -= len(part)
    if left:
        raise OSError(f"{member.source!s} ends within {member.name}")
