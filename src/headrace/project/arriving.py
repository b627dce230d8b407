"""Local files on their way into a pipeline's landing prefix: which key each gets, and what a run of them came to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from headrace.engine.home import Home, matches
from headrace.model.errors import UsageError
from headrace.model.identity import STANDS
from headrace.model.loads import Counts, Load, LoadState
from headrace.model.pipeline import Files, Pipeline
from headrace.project.results import LoadResult, Retracted


def keys_for(source: Files, paths: Sequence[str | Path]) -> dict[str, Path]:
    """The key of each local file, in key order; folders stand for every file below them that the source takes.

    A path keeps what follows the prefix where it contains it, else its place below the files' common folder.
    Raises UsageError: HR121 no such file, HR122 the source would not take it, HR123 two files for one key, HR124 none.
    """
    files = list(_expanded(source, paths))
    if not files:
        raise UsageError("HR124", ", ".join(map(str, paths)), "holds no file that the source takes", _takes(source))
    common = Path(os.path.commonpath([f.parent for f in files]))
    keys: dict[str, Path] = {}
    for file in files:
        key = _key(source.prefix, file, common)
        if key in keys and keys[key] != file:
            raise UsageError(
                "HR123", key, f"is where both {keys[key]} and {file} would go", "run them from their common folder"
            )
        keys[key] = file
    return dict(sorted(keys.items()))


def short_name(path: Path) -> str:
    """The end of a file's name, which may be as long as names can be: a copy's has something before it."""
    return path.name.encode(errors="surrogateescape")[-80:].decode(errors="ignore")


def _expanded(source: Files, paths: Iterable[str | Path]) -> Iterable[Path]:
    for given in paths:
        path = Path(os.path.abspath(given))
        if os.path.isdir(path):  # unlike Path, it says of a name that is too long what it says of any that is not there
            for folder, folders, names in os.walk(path):
                folders[:] = sorted(n for n in folders if not n.startswith("."))
                yield from (
                    Path(folder) / n for n in sorted(names) if not n.startswith(".") and matches(n, source.suffix)
                )
        elif not os.path.isfile(path):
            raise UsageError("HR121", str(given), "there is no such file", "check the path")
        elif not matches(path.name, source.suffix):
            raise UsageError("HR122", str(given), "is not a file that the source takes", _takes(source))
        else:
            yield path


def _takes(source: Files) -> str:
    return f"it takes {', '.join(source.suffix) or 'any name'} (also packed: .gz, .zst, .zip)"


def _key(prefix: str, file: Path, common: Path) -> str:
    whole = file.as_posix()
    at = whole.rfind("/" + prefix) if prefix else -1
    if at >= 0:
        return whole[at + 1 :]
    below = file.relative_to(common).as_posix()
    return prefix + below if not prefix or prefix.endswith("/") else f"{prefix}/{below}"


def result_of(load: Load, pipeline: Pipeline, state: str | None = None) -> LoadResult:
    """A load as `run --json` tells it. An unchanged one tells no counts: they belong to the call that loaded it."""
    c = Counts() if state == "unchanged" else load.counts
    conflicts_rejected = pipeline.record.__options__.on_conflict == "reject"
    return LoadResult(
        pipeline=load.pipeline,
        object=load.key,
        version=load.version,
        state=state or str(load.state),
        read=c.read,
        loaded=c.loaded,
        rejected=c.rejected + (c.conflict if conflicts_rejected else 0),
        duplicate=c.duplicate + (0 if conflicts_rejected else c.conflict),
        filtered=c.filtered,
        seconds=0.0 if state == "unchanged" else round(load.seconds, 6),
        load=load.id,
        cause=load.cause,
        conflict=c.conflict,
        passed_over=() if state == "unchanged" else tuple(load.dialect.get("passed_over", ())),
    )


def replaced_rows(home: Home, loads: Iterable[Load]) -> dict[str, int]:
    """How many rows of an earlier version of its object each load replaced; loads that replaced none are left out."""
    by_place = {(x.key, x.decided): x for x in loads if x.decided is not None}
    found: dict[str, int] = {}
    for old in home.ledger.retired(key for key, _ in by_place):
        load = by_place.get((old.key, old.retired or 0))
        if load is not None and old.version != load.version:
            found[load.id] = found.get(load.id, 0) + old.counts.loaded
    return found


def retracted(home: Home, loads: Iterable[Load], after: int) -> list[Retracted]:
    """What the revisions after that number retired with nothing in its place; `loads` began meanwhile."""
    numbers = range(after + 1, home.ledger.head() + 1)
    retired = {id for number in numbers for id in home.ledger.revision(number).retired}
    if retired:  # most make room for a newer load of their object
        retired -= {old.id for old in home.ledger.retired({x.key for x in loads})}
    found = [home.ledger.find_load(id) for id in retired]
    live = home.ledger.live([x.key for x in found])
    gone = [x for x in found if not any(y.state in STANDS for y in live.get(x.key, ()))]
    return sorted((Retracted(x.key, x.counts.loaded) for x in gone), key=lambda x: x.object)


def exit_code(loads: Sequence[LoadResult], tolerate: float) -> int:
    """0 done, 1 more rejects than tolerated, 3 something is not settled, 4 an object is dead."""
    states = {x.state for x in loads}
    if states & {LoadState.SEEN, LoadState.STAGED, LoadState.DECIDED}:
        return 3
    if LoadState.DEAD in states:
        return 4
    read = sum(x.read for x in loads)
    rejected = sum(x.rejected for x in loads)
    return 1 if rejected > tolerate * read else 0
