"""From an object's local copy to plain files: gzip, Zstandard and zip undone into scratch, within limits.

Nothing is ever extracted under a name that an archive gives. Called by `open` and `probe` before any parsing.
"""

from __future__ import annotations

import gzip
import lzma
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

import zstandard

from headrace.formats.rows import Item
from headrace.model.errors import BadObject
from headrace.model.loads import source_file
from headrace.model.words import some

CHUNK = 1 << 20

TEXT = (".csv", ".tsv", ".tab", ".txt", ".psv", ".dat")
JSON = (".json",)
NDJSON = (".ndjson", ".jsonl", ".jsonlines")
PARQUET = (".parquet", ".pq")
EXCEL = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
STREAMS = (".gz", ".zst")
KNOWN = TEXT + JSON + NDJSON + PARQUET + EXCEL


@dataclass(frozen=True, slots=True)
class Limits:
    """How far an input may expand: beyond `free` bytes at most `ratio` times its size, and `total` in any case."""

    ratio: int = 250
    free: int = 256 << 20
    total: int = 64 << 30
    members: int = 10_000
    name: int = 1_024  # bytes of a member's: rows tell where they are from, and `contract.limits` keeps room for that


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Part:
    """One plain file to parse: a whole object, or one member of a zip. `name` has the suffix that tells the format."""

    item: int
    member: str | None
    which: str
    name: str
    path: Path
    scratch: Path
    own: str  # a name in scratch that no other part has

    @property
    def work(self) -> Path:
        """What is derived from the file goes here, with another suffix."""
        return self.scratch / self.own

    @property
    def suffix(self) -> str:
        """The suffix of the name, in lower case."""
        return "." + self.name.lower().rpartition(".")[2]


@dataclass(slots=True)
class Unpacked:
    """What is inside an item. `passed_over` names members of a zip that are of no known format, in its order."""

    parts: list[Part] = field(default_factory=list)
    passed_over: tuple[str, ...] = ()


def unpack(item: Item, scratch: Path, limits: Limits = LIMITS) -> Unpacked:
    """The plain files inside an item; the item's own file where nothing is packed.

    Raises BadObject: HR401 unknown suffix, HR402 cut off or damaged, HR403 expands beyond the limits, HR404 a zip
    that is encrypted, holds nothing readable, or two members of one name.
    """
    name = item.key.rsplit("/", 1)[-1]
    lower = name.lower()
    try:
        if lower.endswith(".zip"):
            return _members(item, scratch, limits)
        if lower.endswith(STREAMS):
            return Unpacked([_expanded(item, name.rsplit(".", 1)[0], scratch, limits)])
    except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError, zipfile.BadZipFile, lzma.LZMAError) as exc:
        raise BadObject("HR402", item.key, f"compressed data is cut off or damaged ({exc})", _AGAIN) from exc
    _known(item.key, name)
    return Unpacked([Part(item.index, None, item.key, name, item.path, scratch, f"{item.index}.part")])


_AGAIN = "upload it again, whole"


def _known(which: str, name: str) -> None:
    if not name.lower().endswith(KNOWN):
        raise BadObject(
            "HR401", which, "its suffix names no known format", f"known are {' '.join(KNOWN)}, .gz .zst .zip"
        )


def _expanded(item: Item, name: str, scratch: Path, limits: Limits) -> Part:
    _known(item.key, name)
    own = f"{item.index}.plain"
    into = scratch / own
    with open(item.path, "rb") as packed, _reader(packed, item.key) as plain:
        _copy(plain, into, item.key, item.path.stat().st_size, limits)
    return Part(item.index, None, item.key, name, into, scratch, own)


@contextmanager
def _reader(packed: IO[bytes], name: str) -> Iterator[Plain]:
    """What is packed by the name's suffix; a stream of any other name as it is. EOFError if nothing is in there."""
    if name.lower().endswith(STREAMS):
        if not packed.read(1):
            raise EOFError("it has no bytes")  # which both decompressors take for a good file that holds nothing
        packed.seek(0)
    if name.lower().endswith(".gz"):
        with gzip.GzipFile(fileobj=packed) as plain:
            yield plain
    else:
        yield _Frames(packed) if name.lower().endswith(".zst") else packed


class Plain(Protocol):
    """What decompressors have in common."""

    def read(self, size: int, /) -> bytes: ...


class _Frames:
    """Zstandard frames one after another. A stream reader would take a frame that is cut off for a short file."""

    STEP = 1 << 10  # packed bytes at a time: at most 32 MB come out of that many

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed, self._frame, self._waiting, self._fed = packed, self._new(), b"", False

    def read(self, size: int, /) -> bytes:
        """Some bytes (perhaps more than `size`), b"" at the end. EOFError when it ends inside a frame."""
        while True:
            data = self._waiting or self._packed.read(self.STEP)
            if not data:
                if self._fed:
                    raise EOFError("ends inside a frame")
                return b""
            out: bytes = self._frame.decompress(data)
            self._waiting, self._fed = b"", True
            if self._frame.eof:
                self._waiting, self._frame, self._fed = self._frame.unused_data, self._new(), False
            if out:
                return out

    @staticmethod
    def _new() -> Any:
        return zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()


def _members(item: Item, scratch: Path, limits: Limits) -> Unpacked:
    found, left = Unpacked(), limits.total
    with zipfile.ZipFile(item.path) as archive:
        infos = archive.infolist()
        if len(infos) > limits.members:
            raise BadObject("HR403", item.key, f"holds {len(infos):,} members", f"at most {limits.members:,}")
        data = [i for i in infos if not _no_data(i)]
        for n, info in enumerate(data):
            if len(info.filename.encode()) > limits.name:
                long = f"the name of its member {n + 1} has more than {limits.name:,} bytes"
                raise BadObject("HR404", item.key, long, "pack it under a shorter one")
        read = [i for i in data if _readable(i)]
        found.passed_over = tuple(i.filename for i in data if not _readable(i))
        if not read:
            only = f", only {some(found.passed_over)}" if data else ""
            none = f"holds no member of a known format{only}"
            raise BadObject("HR404", item.key, none, f"known are {' '.join(KNOWN)}, also packed as .gz or .zst")
        _told_apart(item.key, read)
        for n, info in enumerate(read):
            which = source_file(item.key, info.filename)
            if info.flag_bits & 1:
                raise BadObject("HR404", which, "is encrypted", "pack it without a password")
            own = f"{item.index}.{n}.plain"
            into = scratch / own
            try:
                with archive.open(info) as packed, _reader(packed, info.filename) as plain:
                    left -= _copy(plain, into, which, info.compress_size, limits, left)
            except NotImplementedError as exc:
                raise BadObject("HR404", which, f"uses an unknown compression ({exc})", "pack it with deflate") from exc
            found.parts.append(Part(item.index, info.filename, which, _plain_name(info), into, scratch, own))
    return found


def _no_data(info: zipfile.ZipInfo) -> bool:
    """Whether an entry is no data in any home: a folder, or hidden, as outside an archive; what macOS adds is as well.

    Dots that climb are only names here: nothing is extracted under them.
    """
    parts = info.filename.split("/")
    hidden = any(p.startswith(".") and p not in (".", "..") for p in parts)
    return info.is_dir() or hidden or parts[0] == "__MACOSX"


def _readable(info: zipfile.ZipInfo) -> bool:
    return _plain_name(info).lower().endswith(KNOWN)


def _plain_name(info: zipfile.ZipInfo) -> str:
    """A member's name without the suffix of a further packing, which is undone as it is outside an archive."""
    name = info.filename
    return name.rsplit(".", 1)[0] if name.lower().endswith(STREAMS) else name


def _told_apart(key: str, infos: Iterable[zipfile.ZipInfo]) -> None:
    """A row says where it is from by its member's name: of two with one name, a row could be of either."""
    times = Counter(info.filename for info in infos)
    twice = [name for name, n in times.items() if n > 1]
    if twice:
        found = f"several members have one name, so that their rows cannot be told apart: {some(twice)}"
        raise BadObject("HR404", key, found, "pack each under a name of its own")


def _copy(plain: Plain, into: Path, which: str, packed: int, limits: Limits, left: int | None = None) -> int:
    """Copy within limits, which hold for what comes out, never for what a header claims."""
    allowed = min(left if left is not None else limits.total, max(limits.free, packed * limits.ratio))
    size = 0
    with open(into, "wb") as out:
        while data := plain.read(CHUNK):
            size += len(data)
            if size > allowed:
                found = f"{packed:,} bytes expand to more than {allowed:,}"
                raise BadObject("HR403", which, found, "if it is no bomb, split it or upload it unpacked")
            out.write(data)
    return size
