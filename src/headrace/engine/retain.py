"""Deleting what nothing refers to: trash of the base, strays of crashed attempts, old spool files.

A file is deleted only after the ledger stopped referring to it, and its row only after the file: a crash in between
leaves a row without a file, which the next call removes.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from headrace.engine.home import Home
from headrace.engine.sql import SPILL
from headrace.model.errors import DefinitionError
from headrace.model.loads import DataFile


def prune(home: Home) -> int:
    """Delete trash, and retired files whose time or room is up; returns how many. Called under the publisher's lock."""
    settings, now = home.settings, home.clock.now()
    upto = min((w.oldest() for w in home.writers.values()), default=0)
    retired = home.ledger.retired_files(upto)
    quarantined = [(f, at) for f, at in retired if f.kind == "rejected"]
    others = [(f, at) for f, at in retired if f.kind != "rejected"]
    paths = [
        *home.ledger.trash(),
        *_overdue(others, now - timedelta(seconds=settings.keep_retired), settings.keep_retired_bytes),
        *_overdue(quarantined, now - timedelta(seconds=settings.keep_rejected), settings.keep_rejected_bytes),
    ]
    home.files.delete(paths)
    home.ledger.forget_files(paths)
    return len(paths)


def _overdue(files: Sequence[tuple[DataFile, datetime]], before: datetime, room: int) -> list[str]:
    """Files retired before an instant, and the oldest of the others until the rest fits into `room` bytes."""
    excess = sum(file.size for file, _ in files) - room
    found = []
    for file, at in files:
        if at < before or excess > 0:
            found.append(file.path)
            excess -= file.size
    return found


def refuse_strangers(home: Home) -> None:
    """Raise DefinitionError HR241 if rows of another pipeline stand in this one's base: none may be touched."""
    if owners := home.ledger.strangers(home.base):
        raise DefinitionError(
            "HR241",
            f"pipeline {home.name!r}",
            f"the files in {home.base} hold rows of pipeline {' and '.join(map(repr, owners))}",
            f"call the pipeline {owners[0]!r} again, or give its lake another table name",
        )


def sweep(home: Home) -> int:
    """Delete base files that the ledger never heard of, from any pipeline. Where one process works alone: as it begins.

    The publisher's lock keeps out whoever is compacting or rebuilding meanwhile.
    """
    with home.lock():
        known = home.ledger.known_paths(home.base)
        strays = [path for path in home.files.paths(home.base) if path not in known]
        home.files.delete(strays)
        return len(strays)


def sweep_spool(spool: Path) -> None:
    """Empty the spool: copies that no worker of this root is reading. Only at start, locked."""
    for entry in spool.iterdir() if spool.exists() else ():
        if entry.name == SPILL:
            sweep_spool(entry)  # the folder stays: an instance of DuckDB that is open makes it only once
        elif entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
