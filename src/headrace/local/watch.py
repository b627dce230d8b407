"""Tells at once which keys of a landing folder changed. Only a hint: a reconciling scan finds what a watcher misses.

On Linux inotify by way of ctypes (a rename is told within a millisecond); elsewhere `watchfiles`. Neither sees what
another machine writes to a network file system.

| code | means |
|---|---|
| HR306 | the system has no watch left (fs.inotify.max_user_watches), or refused one |
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import stat as modes
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from headrace.model.errors import InfrastructureError, StoreUnavailable
from headrace.model.keys import ignored

PAUSE = 0.1
"""Seconds after which a watcher looks whether it is to stop."""

# inotify(7)
_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x8, 0x40, 0x80, 0x100, 0x200
_DELETE_SELF, _MOVE_SELF, _UNMOUNT, _OVERFLOW, _GONE, _FOLDER = 0x400, 0x800, 0x2000, 0x4000, 0x8000, 0x40000000
_ONLY_FOLDERS, _NO_LINKS = 0x1000000, 0x2000000
_WATCHED = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _ONLY_FOLDERS | _NO_LINKS
_EVENT = struct.Struct("iIII")


@dataclass(frozen=True, slots=True)
class Changes:
    """Keys that came, changed or went; with `rescan`, more may have, so list everything."""

    keys: tuple[str, ...]
    rescan: bool = False


def watch(root: Path, stop: threading.Event) -> Iterator[Changes]:
    """Changes below `root` as they happen, until `stop` is set. The first one comes when the watch is in place, and
    asks for a rescan: what came before it was not seen.

    A file that is written in place is told when its writer closes it, a renamed one at once. Names that the store
    ignores are not told. Raises StoreUnavailable (HR301) when the root itself goes, HR306 when watching is impossible.
    """
    if sys.platform == "linux":
        yield from _watch_linux(root, stop)
    else:
        yield from _watch_elsewhere(root, stop)


def _watch_linux(root: Path, stop: threading.Event) -> Iterator[Changes]:
    with _Tree.opened(root) as tree:
        poll = select.poll()
        poll.register(tree.descriptor, select.POLLIN)
        yield Changes((), rescan=True)
        while not stop.is_set():
            if poll.poll(PAUSE * 1000):
                found = tree.read()
                if found.keys or found.rescan:
                    yield found


class _Tree:
    """The watches of all folders below a root, kept in step with the folders."""

    def __init__(self, root: Path, libc: ctypes.CDLL, descriptor: int) -> None:
        self.root = root
        self.descriptor = descriptor
        self._libc = libc
        self._folders: dict[int, str] = {}  # watch -> "" or "a/b/"
        self._keys: dict[str, None] = {}  # an ordered set
        self._rescan = False

    @classmethod
    @contextmanager
    def opened(cls, root: Path) -> Iterator[_Tree]:
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if descriptor < 0:
            raise _refused(root, ctypes.get_errno())
        try:
            tree = cls(root, libc, descriptor)
            tree._add("", tell=False)
            if not tree._folders:
                raise _lost(root)
            yield tree
        finally:
            os.close(descriptor)

    def read(self) -> Changes:
        """What happened since; waits for nothing. A burst is read as a whole."""
        while True:
            try:
                data = os.read(self.descriptor, 1 << 16)
            except BlockingIOError:
                break
            offset = 0
            while offset < len(data):
                watch, mask, _, length = _EVENT.unpack_from(data, offset)
                start = offset + _EVENT.size
                offset = start + length
                self._take(watch, mask, os.fsdecode(data[start:offset].rstrip(b"\0")))
        changes = Changes(tuple(self._keys), self._rescan)
        self._keys, self._rescan = {}, False
        return changes

    def _take(self, watch: int, mask: int, name: str) -> None:
        if mask & _OVERFLOW:
            self._rescan = True
            self._add("", tell=False)  # folders may have come unseen
            return
        folder = self._folders.get(watch)
        if folder is None:
            return
        if mask & (_GONE | _UNMOUNT | _DELETE_SELF | _MOVE_SELF):
            self._folders.pop(watch, None)
            if folder == "":
                raise _lost(self.root)
            self._rescan = True
        elif name and not ignored(name):
            self._entry(folder + name, mask)

    def _entry(self, key: str, mask: int) -> None:
        if not mask & _FOLDER:
            if not mask & _CREATE or self._is_link(key):  # else its close or its rename will tell
                self._tell(key)
        elif mask & (_CREATE | _MOVED_TO):
            self._add(key + "/", tell=True)
        else:
            self._forget(key + "/")
            self._rescan = True  # which keys were in it is not told

    def _is_link(self, key: str) -> bool:
        """A link is complete when it is made, hard or symbolic, and nothing else is told of it."""
        try:
            found = os.lstat(self.root / key)
        except OSError:
            return False
        return modes.S_ISLNK(found.st_mode) or found.st_nlink > 1

    def _add(self, folder: str, tell: bool) -> None:
        """Watch a folder and those in it; then tell what is there already, as it may have come before the watch."""
        path = self.root / folder
        mask = _WATCHED | (_DELETE_SELF | _MOVE_SELF if folder == "" else 0)
        watch = self._libc.inotify_add_watch(self.descriptor, os.fsencode(path), mask)
        if watch < 0:
            code = ctypes.get_errno()
            if code in (errno.ENOENT, errno.ENOTDIR):
                return  # it went again
            raise _refused(path, code)
        self._folders[watch] = folder
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if ignored(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        self._add(f"{folder}{entry.name}/", tell)
                    elif tell:
                        self._tell(folder + entry.name)
        except FileNotFoundError:
            return
        except OSError as exc:
            raise _refused(path, exc.errno or errno.EIO) from exc

    def _forget(self, folder: str) -> None:
        for watch, below in list(self._folders.items()):
            if below.startswith(folder):
                self._libc.inotify_rm_watch(self.descriptor, watch)
                del self._folders[watch]

    def _tell(self, key: str) -> None:
        try:
            key.encode()
        except UnicodeEncodeError:
            self._rescan = True  # the store has a way to show such a name
        else:
            self._keys[key] = None


def _watch_elsewhere(root: Path, stop: threading.Event) -> Iterator[Changes]:
    """By `watchfiles`. What it tells of folders is incomplete, so anything about one asks for a rescan."""
    import watchfiles  # not on Linux, where it would only cost time

    real = os.path.realpath(root)
    if not os.path.isdir(real):
        raise _lost(root)
    watching = watchfiles.watch(
        real,
        watch_filter=None,
        step=1,
        debounce=10,
        rust_timeout=int(PAUSE * 1000),
        yield_on_timeout=True,
        stop_event=stop,
        raise_interrupt=False,
    )
    rescan = True  # once the watch is in place, which its first answer proves
    for found in watching:
        if not os.path.isdir(real):
            raise _lost(root)
        told = {os.path.relpath(path, real): change for change, path in found}
        keys = sorted(key for key in told if not any(map(ignored, key.split("/"))))
        files = tuple(key for key in keys if not os.path.isdir(os.path.join(real, key)))
        gone = any(told[key] is watchfiles.Change.deleted for key in files)  # perhaps a folder with all its keys
        if rescan or keys:
            yield Changes(files, rescan or gone or len(files) < len(keys))
        rescan = False


def _refused(path: Path, code: int) -> InfrastructureError:
    advice = "raise fs.inotify.max_user_watches" if code in (errno.ENOSPC, errno.EMFILE) else "make it readable"
    return InfrastructureError("HR306", str(path), f"cannot be watched: {os.strerror(code)}", advice)


def _lost(root: Path) -> StoreUnavailable:
    return StoreUnavailable("HR301", str(root), "the landing folder went away", "mount or restore it")
