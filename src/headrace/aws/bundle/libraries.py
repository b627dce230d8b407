"""The libraries of one function as a zip of their own, kept in this user's cache: they change with the lock alone.

Called by `package.py`, which puts the project's and Headrace's modules beside them.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from zipfile import ZipFile

from headrace.aws.bundle import bytecode, contents, wheels, zipped
from headrace.aws.bundle.wheels import Architecture, Wheel


def libraries(wanted: Sequence[Wheel], architecture: Architecture, python: Path | None, cache: Path) -> Path:
    """The zip of these libraries, trimmed and with bytecode, from the cache or made anew. Raises HR821 to HR827."""
    kept = cache / "libraries" / f"{key_of(wanted, architecture, python)}.zip"
    if kept.is_file():
        return kept
    files = wheels.fetch(wanted, architecture, cache)
    found = [m for name in sorted(files) for m in zipped.members(files[name], partial(contents.place, name))]
    if python is not None:
        found += _bytecode(files, python)
    zipped.write(kept, found)
    return kept


def key_of(wanted: Sequence[Wheel], architecture: Architecture, python: Path | None) -> str:
    """What such a zip depends on: the wheels, the Python that compiles, and the rules in these modules."""
    told = [architecture, *sorted(w.line for w in wanted)]
    if python is not None:
        state = python.stat()
        told.append(f"{python.resolve()} {state.st_size} {state.st_mtime_ns}")
    rules = [Path(str(module.__file__)).read_bytes() for module in (bytecode, contents, wheels, zipped)]
    return hashlib.sha256("\n".join(told).encode() + b"".join([*rules, Path(__file__).read_bytes()])).hexdigest()[:32]


def _bytecode(files: dict[str, Path], python: Path) -> list[zipped.Member]:
    with tempfile.TemporaryDirectory(prefix="headrace-") as scratch:
        modules = []
        for library, path in sorted(files.items()):
            with ZipFile(path) as opened:
                for info in opened.infolist():
                    name = None if info.is_dir() else contents.place(library, info.filename)
                    if name is not None and name.endswith(".py"):
                        place = Path(scratch, name)
                        place.parent.mkdir(parents=True, exist_ok=True)
                        place.write_bytes(opened.read(info))
                        modules.append(name)
        made = bytecode.compiled(python, Path(scratch), modules)
    return [zipped.Member.of(name, data) for name, data in made.items()]
