"""Objects in a folder: the landing place of a local target. It reads, lists and puts; it decides nothing.

A key is the path below the root, with `/`, taken as it is: nothing is decoded. What is no object yet is never seen:
names that begin with a dot, and names that end in `.part` or `.tmp`. Write under such a name and rename.

| code | means | kind |
|---|---|---|
| HR301 | the landing folder is not there, not mounted or not readable | StoreUnavailable: retried, never a deletion |
| HR302 | an object changed or went while it was read | ObjectMoving: its next event reads it again |
| HR303 | one object cannot be read (permissions, a bad disk) | InfrastructureError: retried |
| HR304 | an object cannot be written (disk full, permissions) | InfrastructureError: retried |
| HR311 | a key that would leave the root, or names no file | BadObject |
| HR312 | a key that no folder can hold: a part over 255 bytes, or 1,024 in all | BadObject |
| HR313 | a key whose name says that it is still being written | BadObject |
| HR314 | a file name that is not UTF-8 | BadObject |
"""

from __future__ import annotations

import errno
import os
import stat as modes
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from headrace.local.archive import Archive
from headrace.local.clock import SystemClock
from headrace.local.disk import copy, fingerprint, make_folders, sync, unfinished, writing
from headrace.model.errors import BadObject, HeadraceError, InfrastructureError, ObjectMoving, StoreUnavailable
from headrace.model.keys import MOST_BYTES, ignored
from headrace.model.loads import Page, Stat
from headrace.ports import Clock

SENTINEL = ".headrace-landing"
"""Proof that the folder is the landing folder, and not the empty mount point below it."""

MOST_SEGMENT = 255  # bytes of one name in any common file system
PAGE = 1000
SYNCS = 8  # at a time: measured 2,900 a second one by one, 7,000 with eight, 8,100 with 32
FRESH = 2_000_000_000  # ns: the coarsest tick of a file system in use (FAT's); a write within it may leave no trace
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
F_GETPATH = 50  # macOS: the path of an open file


class FolderStore:
    """headrace.ports.Store over a folder. `create` makes one; constructing opens nothing.

    Links to files inside the root are followed; any other link is refused when it is read (HR311), so it shows as a
    dead object. Pipes, sockets and devices are no objects. Safe for threads and for several processes.
    """

    def __init__(self, root: Path, clock: Clock | None = None, archive: Path | None = None) -> None:
        self.root = root
        self.archived = archive or root.with_name("archive")
        self._archive = Archive(self.archived)
        self._clock: Clock = clock or SystemClock()
        self._real = ""  # where `root` really is, asked once
        self._last = 0  # creation time of the newest put, in ns
        self._lock = threading.Lock()

    @staticmethod
    def create(root: Path, clock: Clock | None = None) -> FolderStore:
        """Make the landing folder with its sentinel, durably, the first time; harmless from then on.

        That it was made is noted beside it: should it vanish later, or be a bare mount point, it is not made again, as
        an empty folder in its place would look like a deletion of everything.
        """
        made = root.with_name(f".{root.name}-made")
        if not made.exists():
            with writing(str(root)):
                make_folders(root)
                (root / SENTINEL).write_text("Headrace watches this folder. Do not delete this file.\n")
                sync(root)
                made.touch()
                sync(root.parent)
        return FolderStore(root, clock)

    def make_prefix(self, prefix: str) -> None:
        """The folder that a prefix names, for people to drop files into. Not while the landing folder is away."""
        self.check()
        folder, _, _ = prefix.rpartition("/")
        if folder:
            with writing(folder):
                make_folders(self._path(folder))

    def stat(self, key: str) -> Stat | None:
        path = self._name(key)
        if any(map(ignored, key.split("/"))):
            return None
        try:
            found = os.stat(path)
        except OSError as exc:
            unreadable = self._unreadable(key, exc)
            if unreadable is None:
                self._gone_or_raise(key, exc)
                return None
            found = unreadable
        if not modes.S_ISREG(found.st_mode) and os.path.islink(path):
            found = os.lstat(path)  # a linked folder: an object that `fetch` refuses, not an absent one
        return self._stat(key, found) if modes.S_ISREG(found.st_mode) or modes.S_ISLNK(found.st_mode) else None

    def list(self, prefix: str) -> Iterator[Stat]:
        """Every object under `prefix`, in key order. An error on the way is raised: a list that ends is complete.

        Objects that come or go meanwhile may be missed or named; they have events of their own.
        """
        self.check()
        folder, _, start = prefix.rpartition("/")
        if folder:
            self._path(folder)
        yield from self._walk(folder + "/" if folder else "", start)
        self.check()  # unmounted meanwhile: the caller must not take what it saw for everything

    def pages(self, prefix: str, after: str = "") -> Iterator[Page]:
        """`list` of what is beyond the key `after`, page by page."""
        beyond = (stat for stat in self.list(prefix) if stat.key > after)
        while len(some := tuple(islice(beyond, PAGE))) == PAGE:
            yield Page(some, some[-1].key)
        yield Page(some, None)

    def fetch(self, key: str, into: Path) -> tuple[Stat, str]:
        """Copy the object to `into` while hashing it. Returns what it was, and its version: the SHA-256 of the copy.

        The hash is taken of the very bytes that were written to `into`, so the version always tells what was read. A
        file that is still being written is not waited for: if it grew under the copy this raises ObjectMoving; if it
        grows later, that is another version with an event of its own, which replaces this one whole. A rename onto the
        key meanwhile is found by looking at the path again, and raises ObjectMoving too.
        """
        asked = self._now()
        with self._opened(key) as (source, before):
            version = copy(source, into, before.st_size, which=key)
            after = os.fstat(source)
        self._still(key, before, after)
        return self._stat(key, before, asked), version

    def digest(self, key: str) -> tuple[Stat, str]:
        """Like `fetch`, without a copy: for telling whether a changed fingerprint is a changed object."""
        asked = self._now()
        with self._opened(key) as (source, before):
            version = copy(source, None, before.st_size)
            after = os.fstat(source)
        self._still(key, before, after)
        return self._stat(key, before, asked), version

    def put(self, key: str, source: Path) -> Stat:
        """Store a copy durably, whole or not at all. Creation times of one store's puts strictly increase."""
        return self.put_many([(key, source)])[0]

    def put_many(self, items: Iterable[tuple[str, Path]]) -> Sequence[Stat]:
        """`put` for many, with creation times in their order; syncs them side by side, which is five times as fast.

        Each object is whole or not there; if one fails, none was stored unless the disk failed between two renames.
        """
        self.check()
        ready: list[tuple[str, Path, Path]] = []
        folders: set[Path] = set()
        try:
            for key, source in items:
                path = self._free(key, folders)
                with writing(key):
                    ready.append((key, unfinished(path), path))
                    self._copied(key, source, ready[-1][1])
            with ThreadPoolExecutor(min(SYNCS, len(ready) or 1)) as pool, writing("landing"):
                list(pool.map(sync, [temporary for _, temporary, _ in ready]))
            for key, temporary, path in ready:
                with writing(key):
                    os.replace(temporary, path)
        except BaseException:
            for _, temporary, _ in ready:
                temporary.unlink(missing_ok=True)
            raise
        with writing("landing"):
            for folder in folders:
                sync(folder)
            return [self._stat(key, os.stat(path)) for key, _, path in ready]  # renaming moves ctime, so only now

    def _free(self, key: str, folders: set[Path]) -> Path:
        """Where an object of this key is to be written; refuses what would not be seen, or seen outside.

        Makes its folder unless that is among `folders`, and adds it.
        """
        path = self._path(key)
        if any(ignored(part) for part in key.split("/")):
            raise BadObject("HR313", key, "this name marks a file that is still being written", "choose another name")
        if path.parent not in folders:
            if not self._inside(os.path.realpath(path.parent)):
                raise BadObject("HR311", key, "its folder is a link out of the landing folder", "choose another key")
            with writing(key):
                make_folders(path.parent)
            folders.add(path.parent)
        return path

    def archive(self, key: str, version: str) -> None:
        """Move the object to `archive/<first 16 of version>/<key>` if it still is that version; else ObjectMoving."""
        found, now = self.digest(key)
        if now != version:
            raise ObjectMoving("HR302", key, "it is another version by now", "nothing was moved")
        source = self._path(key)
        self._archive.keep(source, key, version, lambda into: self.fetch(key, into)[1])
        self._archive.take(source, key, version, found.fingerprint)

    def has_archived(self, key: str, version: str) -> bool:
        """Whether `fetch_archived` would find something; it is not read."""
        self._name(key)
        return self._archive.has(key, version)

    def fetch_archived(self, key: str, version: str, into: Path) -> bool:
        """Copy what `archive` moved away to `into`; False if it is not there any more, or not what it was."""
        self._name(key)
        return self._archive.fetch(key, version, into)

    def remove(self, key: str) -> None:
        """Delete the object; harmless if it is gone. Only tests and the demo need this."""
        with writing(key):
            self._path(key).unlink(missing_ok=True)

    def check(self) -> None:
        """Raise StoreUnavailable unless the landing folder is there, with its sentinel, and can be listed."""
        try:
            os.stat(self.root / SENTINEL)
            os.scandir(self.root).close()
        except OSError as exc:
            raise self._unavailable(exc) from exc

    def _unavailable(self, exc: OSError) -> StoreUnavailable:
        found = exc.strerror or str(exc)
        if isinstance(exc, FileNotFoundError):
            found = f"{SENTINEL} is not there" if self.root.exists() else "the landing folder is not there"
        advice = f"mount or restore it, or put an empty {SENTINEL} there if this is it; nothing is taken for deleted"
        return StoreUnavailable("HR301", str(self.root), found, advice)

    def _path(self, key: str) -> Path:
        return Path(self._name(key))

    def _name(self, key: str) -> str:
        """The path of a key as text: a Path for each of ten thousand small objects would cost more than its stat."""
        parts = key.split("/")
        if not key or "\0" in key or any(part in ("", ".", "..") for part in parts):
            raise BadObject("HR311", repr(key), "a key is a path of names below the landing folder", "rename it")
        try:
            sizes = [len(part.encode()) for part in parts]
        except UnicodeEncodeError as exc:
            raise BadObject("HR314", repr(key), "the name is not UTF-8", "rename it") from exc
        if max(sizes) > MOST_SEGMENT or sum(sizes) + len(parts) - 1 > MOST_BYTES:
            found = f"the longest part has {max(sizes)} bytes, all {sum(sizes) + len(parts) - 1}"
            raise BadObject("HR312", key[:80] + "…", found, f"a folder holds {MOST_SEGMENT} and {MOST_BYTES}")
        return f"{self.root}/{key}"

    def _inside(self, path: str) -> bool:
        self._real = self._real or os.path.realpath(self.root) + os.sep
        return (path + os.sep).startswith(self._real)

    def _unreadable(self, key: str, exc: OSError) -> os.stat_result | None:
        """What is under a key all the same, as `list` shows it: an object that `fetch` refuses, not an absent one."""
        try:
            if exc.errno == errno.ELOOP:
                return os.lstat(self._name(key))
            raw = _raw(self.root, key)
            return os.lstat(raw) if raw else None
        except OSError:
            return None

    def _gone_or_raise(self, key: str, exc: OSError) -> None:
        """Return if `exc` means that nothing stands under `key`; raise what it means otherwise."""
        if exc.errno == errno.ELOOP:
            raise BadObject("HR311", key, "a link that leads to itself", "put a file there") from exc
        if not isinstance(exc, FileNotFoundError | NotADirectoryError):
            self.check()
            raise InfrastructureError("HR303", key, exc.strerror or str(exc), "make it readable") from exc
        self.check()
        raw = _raw(self.root, key)
        if raw and os.path.lexists(raw):
            raise BadObject("HR314", key, "the file's name is not UTF-8", "rename it") from exc

    @contextmanager
    def _opened(self, key: str) -> Iterator[tuple[int, os.stat_result]]:
        """The object opened for reading, never outside the root; wraps what reading it raises."""
        path = self._name(key)
        try:
            source = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not block
        except OSError as exc:
            self._gone_or_raise(key, exc)
            raise ObjectMoving("HR302", key, "it is gone", "its removal has an event of its own") from exc
        try:
            found = os.fstat(source)
            if not modes.S_ISREG(found.st_mode):
                raise BadObject("HR311", key, "not a file", "put a file there")
            if not self._inside(_path_of(source)):
                raise BadObject("HR311", key, "a link out of the landing folder", "copy the file instead")
            yield source, found
        except HeadraceError:
            raise
        except OSError as exc:
            self.check()
            raise InfrastructureError("HR303", key, exc.strerror or str(exc), "make it readable") from exc
        finally:
            os.close(source)

    def _still(self, key: str, before: os.stat_result, after: os.stat_result) -> None:
        now = self.stat(key)
        first = fingerprint(before)
        if now is None or fingerprint(after) != first or now.fingerprint != first:
            raise ObjectMoving("HR302", key, "it changed while it was read", "its next event reads it again")

    def _copied(self, key: str, source: Path, temporary: Path) -> None:
        with open(source, "rb", buffering=0) as reading:
            copy(reading.fileno(), temporary, os.fstat(reading.fileno()).st_size, hashed=False, which=key)
        with self._lock:
            self._last = max(self._now(), self._last + 1000)
            os.utime(temporary, ns=(self._last, self._last))

    def _walk(self, below: str, start: str) -> Iterator[Stat]:
        try:
            with os.scandir(self.root / below) as entries:
                # a folder sorts as "name/", so that keys come in their own order
                folders = ((e.name + "/" * e.is_dir(follow_symlinks=False), e) for e in entries)
                names = sorted((_shown(name), name, entry) for name, entry in folders)
        except (FileNotFoundError, NotADirectoryError):
            return  # went meanwhile, or never was: `list` checks the root before and after
        except OSError as exc:
            place, why = str(self.root / below), exc.strerror or str(exc)
            raise StoreUnavailable("HR301", place, why, "make the folder readable") from exc
        for _, name, entry in names:
            if ignored(entry.name) or not name.startswith(start):
                continue
            if name[-1] == "/":
                yield from self._walk(below + name, "")
                continue
            found = self._entry(below + name, entry)
            if found is not None:
                yield found

    def _stat(self, key: str, found: os.stat_result, asked: int | None = None) -> Stat:
        """`asked`: when it was looked at, if reading it took a while. What was fresh then may have changed since."""
        created = EPOCH + timedelta(microseconds=found.st_mtime_ns // 1000)
        age = (self._now() if asked is None else asked) - found.st_ctime_ns
        return Stat(key, found.st_size, created, fingerprint(found), fresh=age < FRESH)

    def _now(self) -> int:
        return (self._clock.now() - EPOCH) // timedelta(microseconds=1) * 1000

    def _entry(self, key: str, entry: os.DirEntry[str]) -> Stat | None:
        try:
            found = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise StoreUnavailable("HR301", entry.path, exc.strerror or str(exc), "make it readable") from exc
        if modes.S_ISLNK(found.st_mode):
            try:
                target = os.stat(entry.path)
            except FileNotFoundError:
                return None
            except OSError:
                target = found  # shown as it is: reading it says what is wrong with it
            found = target if modes.S_ISREG(target.st_mode) else found  # a linked folder is refused when it is read
        if not (modes.S_ISREG(found.st_mode) or modes.S_ISLNK(found.st_mode)):
            return None
        return self._stat(_shown(key), found)


def _shown(name: str) -> str:
    """A name as keys have it: bytes that are not UTF-8 are escaped, so that they can be told."""
    return name if name.isascii() else name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _raw(root: Path, key: str) -> bytes | None:
    """The path that `_entry` made into a key by escaping bytes which are not UTF-8; None if it escaped nothing."""
    if r"\x" not in key:
        return None
    try:
        name = key.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1")
    except ValueError:
        return None  # a backslash that somebody put there
    return os.fsencode(root) + b"/" + name


def _path_of(descriptor: int) -> str:
    if sys.platform == "darwin":
        import fcntl

        return fcntl.fcntl(descriptor, F_GETPATH, b"\0" * 1024).rstrip(b"\0").decode(errors="surrogateescape")
    return os.readlink(f"/proc/self/fd/{descriptor}")
