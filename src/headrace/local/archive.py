"""Where objects go that `after="archive"` moves out of the way: `<root>/<first 16 of the version>/<key>`.

Used by `local.store` alone, which has checked the key and the version. First the bytes are in the archive, durably,
then the object goes: a crash in between leaves both, and the next scan moves it again.
"""

from __future__ import annotations

import os
import stat as modes
from collections.abc import Callable
from pathlib import Path

from headrace.local.disk import copy, make_folders, sync, unfinished, unmoved, writing
from headrace.model.errors import InfrastructureError, ObjectMoving


class Archive:
    """A folder of objects that stood. Reading raises HR303 for what is there and cannot be read."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: str, version: str) -> Path:
        return self.root / version[:16] / key

    def has(self, key: str, version: str) -> bool:
        path = self.path(key, version)
        try:
            return modes.S_ISREG(os.stat(path).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as exc:
            raise _unreadable(path, exc) from exc

    def fetch(self, key: str, version: str, into: Path) -> bool:
        """Copy what was kept to `into`; False if it is not there any more, or not what it was."""
        path = self.path(key, version)
        if not self.has(key, version):
            return False
        try:
            source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError as exc:
            raise _unreadable(path, exc) from exc
        try:
            return copy(source, into, os.fstat(source).st_size) == version
        except OSError as exc:
            raise _unreadable(path, exc) from exc
        finally:
            os.close(source)

    def keep(self, source: Path, key: str, version: str, copied: Callable[[Path], str]) -> None:
        """Have the object's bytes here as well: under a second name, or where that cannot be, as a copy.

        `copied` writes them to a path and returns their version.
        """
        target = self.path(key, version)
        part = unfinished(target)
        with writing(str(target)):
            make_folders(target.parent)
        try:
            if not _linked(source, part) and copied(part) != version:
                raise ObjectMoving("HR302", key, "it is another version by now", "nothing was moved")
            with writing(str(target)):
                sync(part)
                os.replace(part, target)
                sync(target.parent)
        finally:
            part.unlink(missing_ok=True)

    def take(self, source: Path, key: str, version: str, fingerprint: str) -> None:
        """Remove the object that is kept, unless it is another by now: then it is put back, and ObjectMoving raised."""
        taken = unfinished(source)
        with writing(key):
            try:
                os.replace(source, taken)
            except FileNotFoundError as exc:
                raise ObjectMoving("HR302", key, "it is gone", "its removal has an event of its own") from exc
            same = fingerprint.startswith(unmoved(os.stat(taken)) + ":")
            if not same:
                kept = self.path(key, version)
                if kept.exists() and kept.samefile(taken):  # somebody wrote to both
                    kept.unlink()
                _put_back(taken, source)
            taken.unlink(missing_ok=True)
            sync(source.parent)
        if not same:
            raise ObjectMoving("HR302", key, "it was replaced while it was archived", "it was put back")


def _linked(source: Path, part: Path) -> bool:
    """Give a file a second name; False for a link, another file system, or one that has no second names."""
    if source.is_symlink():
        return False
    try:
        os.link(source, part)
    except OSError:
        return False  # copying it says what is wrong, if anything is
    return True


def _put_back(taken: Path, source: Path) -> None:
    try:
        os.link(taken, source)  # refuses to overwrite a third version, which overtakes this one
    except FileExistsError:
        pass
    except OSError:  # no second names here
        if not os.path.lexists(source):
            os.replace(taken, source)


def _unreadable(path: Path, exc: OSError) -> InfrastructureError:
    return InfrastructureError("HR303", str(path), exc.strerror or str(exc), "make it readable")
