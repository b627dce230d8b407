"""How a target is: what stands, what waits, what needs a person, how much disk it uses, and what the machine allows."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headrace.engine.alarms import alarms, rejected
from headrace.engine.base import base_lost
from headrace.engine.home import Home
from headrace.engine.settings import Settings
from headrace.engine.shapes import blocked
from headrace.model.errors import HeadraceError
from headrace.model.loads import Counts, FileKind
from headrace.model.pipeline import Keyed
from headrace.model.words import count
from headrace.project.results import PipelineStatus
from headrace.sinks.keyed import missing_table


def pipeline_status(home: Home) -> PipelineStatus:
    """One pipeline's figures, with an alarm for each thing that waits for a person."""
    ledger = home.ledger
    census, totals = ledger.census(home.contract.digest), ledger.totals()
    waiting, leased = home.queue.depth(home.name)
    figures = PipelineStatus(
        pipeline=home.name,
        revision=home.ledger.head(),
        standing=census.standing,
        rows=totals.loaded,
        rejected=rejected(home, totals),
        conflicts=totals.conflict,
        waiting=waiting + leased + census.states.get("staged", 0),
        dead=census.states.get("dead", 0),
        held=census.held,
        outdated=census.outdated,
        stale=census.stale,
        last_arrival=ledger.last_arrival(),
        sinks=ledger.sinks(),
    )
    alarms = tuple(_alarms(home, figures, totals))
    faults = tuple(_faults(home, figures))
    return replace(figures, alarms=alarms, faults=faults)


def _alarms(home: Home, s: PipelineStatus, totals: Counts) -> list[str]:
    found = []
    if s.dead:
        found.append(f"{count(s.dead, 'object')} cannot load: headrace dlq ls {home.name}")
    if s.held:
        found.append(f"{count(s.held, 'retraction')} to be confirmed: headrace retract {home.name} --confirm")
    if s.stale:
        found.append(
            f"{count(s.stale, 'object')} in an older version than the store holds: headrace dlq ls {home.name}"
        )
    return found + [f"{alarm.found}: {alarm.next}" for alarm in alarms(home, totals)]


def _faults(home: Home, s: PipelineStatus) -> list[str]:
    found = []
    try:
        next(iter(home.store.list(home.pipeline.source.prefix)), None)
    except HeadraceError as exc:
        found.append(str(exc))
    if (error := blocked(home)) is not None:
        found.append(str(error))  # and until then no rebuild can fill a table that lacks its rows
    if gone := home.files.lost(home.ledger.standing_paths()):
        kinds: tuple[FileKind, ...] = ("data", "losers", "rejected")
        missing = [file for kind in kinds for file in home.ledger.files(kind) if file.path in gone]
        found += [str(base_lost(home.name, missing))] if missing else []
    for sink in home.pipeline.sinks:
        at = s.sinks.get(sink.table, 0)
        if isinstance(sink, Keyed) and at and error is None and not home.writers[sink.table].number():
            found.append(str(missing_table(sink.table, at)))
    late = {name: n for name, n in s.sinks.items() if n < s.revision}
    found += [f"sink {name} is at revision {n} of {s.revision}: headrace run {home.name}" for name, n in late.items()]
    return found


def disk_use(root: Path) -> dict[str, int]:
    """Bytes below the root, by the folder or file at its top."""
    used: dict[str, int] = {}
    for folder, _, names in os.walk(root):
        top = Path(folder).relative_to(root).parts[:1]
        for name in names:
            try:
                size = os.lstat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                continue  # a file in work was finished or cleared meanwhile
            part = top[0] if top else name
            used[part] = used.get(part, 0) + size
    return dict(sorted(used.items()))


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `doctor` looked at."""

    name: str
    ok: bool
    found: str
    next: str = ""
    needed: bool = True  # False: worth knowing, but the work can go on without it


def examine(root: Path, settings: Settings) -> list[Finding]:
    """What this machine and this root are like. Writes one small file and removes it, and starts one confined child."""
    import duckdb

    python = sys.version_info
    findings = [
        Finding("python", python >= (3, 11), platform.python_version(), "use Python 3.11 or newer"),
        Finding("platform", sys.platform in ("linux", "darwin"), platform.platform(), "use Linux or macOS"),
        Finding("duckdb", int(duckdb.__version__.split(".")[0]) >= 2, duckdb.__version__, "pip install 'duckdb>=2'"),
        *_libraries(),
    ]
    existing = next(p for p in (root, *root.parents) if p.exists())
    disk = shutil.disk_usage(existing)
    free = disk.free / 1e9
    findings.append(Finding("disk", free > 1, f"{free:,.1f} GB free at {existing}", "make room"))
    findings.append(_fsync(existing))
    findings += _state(root)
    return findings + _confinement(existing, settings)


def _state(root: Path) -> list[Finding]:
    """Each state file's own check and the version of its layout; none where there is no root yet."""
    from headrace.local import database, keyed_layout

    findings = []
    for path in [root / "ledger.db", *sorted((root / "keyed").glob("*.db"))]:
        if not path.exists():
            continue
        try:
            with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=60)) as db:
                (sound,) = db.execute("PRAGMA quick_check(1)").fetchone()
                (version,) = db.execute("PRAGMA user_version").fetchone()
        except sqlite3.Error as exc:
            findings.append(Finding(path.name, False, str(exc), "restore a backup of the whole root"))
            continue
        newest = database.STATE_VERSION if path.parent == root else keyed_layout.STATE_VERSION
        found = f"{'sound' if sound == 'ok' else sound}, state version {version}"
        next = "restore a backup of the whole root"
        if version > newest:
            found, next = (
                f"written by a newer Headrace (state version {version}, this one knows {newest})",
                "upgrade it",
            )
        elif version < newest and path.parent != root:
            next = f"refill it with `headrace rebuild {path.stem}`"
        known = version == newest or (version < newest and path.parent == root)
        findings.append(Finding(path.name, sound == "ok" and known, found, next))
        if path == root / "ledger.db" and sound == "ok" and version == newest:
            findings.append(_base(root, path))
    return findings


def _base(root: Path, ledger: Path) -> Finding:
    """Whether every file is there that the ledger says stands."""
    query = "select path from files where added is not null and removed is null"
    with closing(sqlite3.connect(f"{ledger.as_uri()}?mode=rw", uri=True, timeout=60)) as db:
        paths = [root / path for (path,) in db.execute(query)]
    missing = [path for path in paths if not path.exists()]
    found = f"{len(paths):,} files" + (f", {len(missing):,} of them missing, such as {missing[0]}" if missing else "")
    return Finding("base files", not missing, found, "headrace status, then headrace replay PIPELINE --all")


_MEASURES = {
    "memory": "the child's memory is limited",
    "privileges": "the child gives up root's privileges",
    "writes": "the child can write to its folders alone (Landlock)",
    "leaving": "the child has no network and starts no programs (seccomp)",
}


def _confinement(folder: Path, settings: Settings) -> list[Finding]:
    from headrace.engine.sandbox import Sandbox

    with tempfile.TemporaryDirectory(prefix="headrace-doctor-") as scratch:
        try:
            with Sandbox(settings, writable=[Path(scratch)], preload=[]) as child:
                child.call("headrace.project.health:answer", {}, 60)
                granted = child.granted
        except HeadraceError as exc:
            return [Finding("sandbox", False, str(exc), "files cannot be read without the child")]
    missing = "this system does not grant it; limits and DuckDB's own lock remain"
    return [
        Finding(f"sandbox {name}", granted.get(name, False), words, missing, needed=False)
        for name, words in _MEASURES.items()
    ]


def answer(payload: dict[str, Any]) -> dict[str, Any]:
    """In the child: nothing, to see that it answers."""
    return {}


def _libraries() -> list[Finding]:
    from importlib.metadata import PackageNotFoundError, version

    findings = []
    for name in ("pyarrow", "pyiceberg", "msgspec", "fastexcel", "sqlglot", "watchfiles"):
        try:
            findings.append(Finding(name, True, version(name)))
        except PackageNotFoundError:
            findings.append(Finding(name, False, "not installed", f"pip install {name}"))
    return findings


def _fsync(folder: Path) -> Finding:
    path = folder / f".doctor-{os.getpid()}.tmp"
    started = time.perf_counter()
    try:
        with path.open("wb") as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as exc:
        return Finding("fsync", False, f"cannot write below {folder}: {exc}", "check permissions and the disk")
    finally:
        path.unlink(missing_ok=True)
    took = (time.perf_counter() - started) * 1000
    return Finding("fsync", True, f"{took:.1f} ms for 4 kB")
