"""Deleting what nothing refers to: trash of the base, strays of crashed attempts, old spool files.

A file is deleted only after the ledger stopped referring to it, and its row only after the file: a crash in between
leaves a row without a file, which the next call removes.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from headrace.engine.home import Home

KINDS = ("data", "losers", "rejected")


def prune(home: Home) -> int:
    """Delete trash whose time has come; returns how many files. Called by the publisher's thread, under its lock."""
    settings = home.settings
    before = home.clock.now() - timedelta(seconds=settings.keep_retired)
    paths = home.ledger.trash(before)
    retired = home.ledger.retired_bytes()
    if retired > settings.keep_retired_bytes:
        paths = home.ledger.trash(home.clock.now())
    for path in paths:
        (home.root / path).unlink(missing_ok=True)
    _remove_empty(home, {(home.root / p).parent for p in paths})
    home.ledger.forget_files(paths)
    return len(paths)


def sweep(home: Home) -> int:
    """Delete base files that the ledger never heard of. Only while no worker of this root runs: at start, locked."""
    known = home.ledger.known_paths()
    strays = [
        path
        for kind in KINDS
        for path in (home.root / home.base / kind).rglob("*.parquet")
        if str(path.relative_to(home.root)) not in known
    ]
    for path in strays:
        path.unlink(missing_ok=True)
    _remove_empty(home, {p.parent for p in strays})
    return len(strays)


def sweep_spool(spool: Path) -> None:
    """Empty the spool: copies that no worker of this root is reading. Only at start, locked."""
    import shutil

    for entry in spool.iterdir() if spool.exists() else ():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _remove_empty(home: Home, folders: Iterable[Path]) -> None:
    base = home.root / home.base
    for folder in folders:
        while folder != base and folder.is_relative_to(base):
            try:
                folder.rmdir()
            except OSError:  # not empty, or gone already: either is fine
                break
            folder = folder.parent
