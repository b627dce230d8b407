"""Project: definitions and a target, and what can be done with both. Called through `headrace.project`."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from headrace import config
from headrace.engine.home import Home
from headrace.engine.settings import Settings
from headrace.model.errors import UsageError
from headrace.model.hints import asking
from headrace.model.loads import Correction, Load
from headrace.model.where import meant
from headrace.project.given import Paths, Since, instant, listed
from headrace.project.results import Explanation, Listed, LoadResult, RunResult, Status, Table, Undelivered
from headrace.project.side import Progress, Side

if TYPE_CHECKING:
    from headrace.model.pipeline import Pipeline
    from headrace.ports import Lookup
    from headrace.project.checking import Against, Checked
    from headrace.project.correcting import Corrected


def open_project(directory: str | Path = ".", target: str = "local") -> Project:
    """The project that holds `directory`, at one of its targets. Reads definitions; opens state when it is needed.

    Raises DefinitionError with file and line for a definition that says something impossible, UsageError for a folder
    without a project or an unknown target.
    """
    found = config.read(Path(directory))
    return Project(found, found.target(target))


class Project:
    """What can be done with a project's pipelines at one target. Close it, or use it as a context manager."""

    def __init__(self, found: config.Config, place: config.TargetConfig) -> None:
        self.config, self.place = found, place
        self.pipelines: dict[str, Pipeline] = config.load_pipelines(found)
        self.settings, self._side = _side(found, place, self.pipelines)

    # -- places --------------------------------------------------------------------------------------------------

    @property
    def directory(self) -> Path:
        """The folder of `headrace.toml`."""
        return self.config.directory

    @property
    def root(self) -> Path:
        """Where the target keeps everything."""
        return self.place.root

    @property
    def begun(self) -> bool:
        """Whether there is any state at the target yet. Makes none."""
        return self._side.begun()

    @property
    def homes(self) -> Mapping[str, Home]:
        """Every pipeline with its opened ledger, store and sinks."""
        return self._side.homes

    def pipeline(self, name: str) -> Pipeline:
        """Raises UsageError HR120 for a name that no pipeline has."""
        if name not in self.pipelines:
            raise UsageError("HR120", name, "there is no such pipeline", meant(name, self.pipelines))
        return self.pipelines[name]

    def home(self, name: str) -> Home:
        self.pipeline(name)
        return self.homes[name]

    def close(self) -> None:
        """Close what was opened. The project can be used again."""
        self._side.close()

    def __enter__(self) -> Project:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # -- checking ------------------------------------------------------------------------------------------------

    def check(self) -> Checked:
        """All errors of all definitions, or what they say."""
        from headrace.project.checking import check

        return check(self.pipelines)

    def check_against(self, pipeline: str, files: Paths) -> Against:
        """What a run of these files would do; nothing is kept."""
        from headrace.project.checking import check_against

        return check_against(self.pipeline(pipeline), listed(files), self.settings, str(self.directory))

    # -- running -------------------------------------------------------------------------------------------------

    def run(self, pipeline: str, files: Paths = (), *, on_progress: Progress | None = None) -> RunResult:
        """Put local files into the landing prefix and work until idle; without files, take what lies there.

        While another process holds the root (`headrace up`), that one does the work and this one waits.
        """
        from headrace.project.running import run

        return run(self._side, self.home(pipeline), listed(files), on_progress)

    def plan(self, pipeline: str, files: Paths) -> dict[str, Path]:
        """The key that each file would get. Opens nothing."""
        from headrace.project.arriving import keys_for

        return keys_for(self.pipeline(pipeline).source, listed(files))

    def up(self, stop: threading.Event | None = None, *, on_progress: Progress | None = None) -> None:
        """Watch the landing folder and work until `stop` is set. Raises LockHeld (HR521) if another process does."""
        self._side.serve(stop or threading.Event(), on_progress)

    def work(self, names: Iterable[str], *, on_progress: Progress | None = None) -> None:
        """Work until these pipelines are idle, here or in the process that holds the root."""
        self._side.work([self.home(n) for n in names], on_progress)

    # -- asking --------------------------------------------------------------------------------------------------

    def sql(self, query: str) -> Table:
        """The answer to one read-only statement over the standing rows."""
        return self._side.sql(query)

    def get(
        self,
        table: str,
        key: Any,
        *,
        at: Any = None,
        begins_with: str | None = None,
        start: Any = None,
        end: Any = None,
        limit: int | None = None,
    ) -> Listed[dict[str, Any]]:
        """Items of one partition key in sort order; `start` and `end` (--from and --to) are inclusive."""
        if at is not None and any(x is not None for x in (begins_with, start, end)):
            next = "leave one of them out"
            raise UsageError("HR722", "get", "at is one sort key, beside it stand bounds of many", next)
        found = self._lookup(table)
        rows = found.get(table, key, at=at, begins_with=begins_with, start=start, end=end, limit=limit)
        return Listed(rows, dict)

    def _lookup(self, table: str) -> Lookup:
        from headrace.model.pipeline import Keyed

        tables = {s.table: p for p in self.pipelines.values() for s in p.sinks if isinstance(s, Keyed)}
        if table in (s.table for p in self.pipelines.values() for s in p.sinks) and table not in tables:
            next = f"ask it with `{asking(table)}`"
            raise UsageError("HR128", table, "is a table of the lake, it has no items by key", next)
        if table not in tables:
            raise UsageError("HR128", table, "there is no such keyed table", meant(table, tables))
        return self._side.lookup(tables[table], table)

    def history(
        self,
        pipeline: str | None = None,
        *,
        file: str | None = None,
        since: Since = None,
        limit: int | None = None,
    ) -> Listed[Load]:
        """Loads as they were first seen, newest last; `file` is an object's key."""
        from headrace.project.explaining import load_facts

        homes = [self.home(pipeline)] if pipeline else list(self.homes.values())
        found: list[Load] = []
        for home in homes:
            found += home.ledger.history(file, instant(home, since), limit)
        found.sort(key=lambda x: (x.seen_at is not None, x.seen_at))
        return Listed(found[-limit:] if limit else found, load_facts)

    def explain(self, what: str) -> Explanation:
        """What is known about an error code, a load, a row or an object."""
        from headrace.project.explaining import explain

        return explain(self.homes, what)

    def status(self) -> Status:
        """Health now."""
        from headrace.project.health import pipeline_status

        statuses = tuple(pipeline_status(home) for home in self.homes.values())
        return Status(self.place.name, str(self.root), pipelines=statuses, **self._side.condition())

    # -- mending -------------------------------------------------------------------------------------------------

    def quarantine(
        self, pipeline: str, *, file: str | None = None, rule: str | None = None, limit: int | None = None
    ) -> Listed[dict[str, Any]]:
        """Rejected rows, with raw text, rule, column, value, file and record."""
        from headrace.project.quarantine import rows

        return Listed(rows(self.home(pipeline), file=file, rule=rule, limit=limit), dict)

    def correct(self, pipeline: str, path: str | Path, *, on_progress: Progress | None = None) -> Corrected:
        """Bring edited rows of an export back, load their objects again with them, and tell what became of each.

        Raises UsageError HR127, and stores nothing, where the file asks for what cannot be.
        """
        from headrace.project.correcting import correct

        return correct(self, self.home(pipeline), Path(path), on_progress)

    def corrections(self, pipeline: str, *, file: str | None = None) -> list[Correction]:
        """Corrections in force: those bound to a version that stands."""
        from headrace.project.correcting import stored

        return stored(self.home(pipeline), file)

    def drop_corrections(
        self, pipeline: str, *, file: str | None = None, on_progress: Progress | None = None
    ) -> Listed[LoadResult]:
        """Forget corrections, and load their objects again as they are."""
        from headrace.project.correcting import drop

        return Listed(drop(self, self.home(pipeline), file, on_progress), LoadResult.public)

    def dlq(self, pipeline: str | None = None) -> Listed[Load]:
        """Objects that cannot load as they are, with their causes."""
        from headrace.project.explaining import load_facts

        homes = [self.home(pipeline)] if pipeline else self.homes.values()
        return Listed([load for home in homes for load in home.ledger.dead()], load_facts)

    def undelivered(self, pipeline: str | None = None) -> list[Undelivered]:
        """Messages that a stack's queues gave up, of the pipelines that have any. They stay where they are."""
        names = [self.pipeline(pipeline).name] if pipeline else list(self.pipelines)
        return [found for name in names if (found := self._side.undelivered(name)) is not None]

    def put_back(self, pipeline: str, *, on_progress: Progress | None = None) -> int:
        """Deliver what the queue gave up again, and wait until it is taken. Returns how many messages."""
        moved = self._side.put_back(self.pipeline(pipeline).name)
        if moved:
            self.work([pipeline], on_progress=on_progress)
        return moved

    def redrive(self, pipeline: str, keys: str | Iterable[str], *, on_progress: Progress | None = None) -> int:
        """Try objects again, now. Returns how many were asked for."""
        from headrace.engine.replay import redrive

        asked = redrive(self.home(pipeline), listed(keys))
        self.work([pipeline], on_progress=on_progress)
        return asked

    def replay(
        self,
        pipeline: str,
        *,
        since: Since = None,
        files: str | Iterable[str] = (),
        outdated: bool = False,
        all: bool = False,
        on_progress: Progress | None = None,
    ) -> Listed[LoadResult]:
        """Load standing objects again under the present definition, each replacing its old load whole.

        Say which: by `since`, `files`, `outdated`, or `all` (else UsageError HR137). Tells what came of each, from
        the ledger: an object that the landing folder holds no more cannot be read again; it stays as it stood and its
        state is `gone`, or `damaged` where the archive holds other bytes in its place.
        Raises DefinitionError HR240 if they keep a changed definition from coming into force: see `let_go`.
        """
        from headrace.project.again import replay, replayable

        if not (since or files or outdated or all):
            raise UsageError("HR137", "replay", "which loads?", "say since=, files=, outdated=True or all=True")
        home = self.home(pipeline)
        return Listed(
            replay(self, home, replayable(home, since, listed(files), outdated), on_progress), LoadResult.public
        )

    def replayable(
        self,
        pipeline: str,
        *,
        since: Since = None,
        files: str | Iterable[str] = (),
        outdated: bool = False,
    ) -> list[Load]:
        """Standing loads that `replay` would take. Raises UsageError HR129 for a file that does not stand."""
        from headrace.project.again import replayable

        return replayable(self.home(pipeline), since, listed(files), outdated)

    def unreadable(self, pipeline: str, keys: Iterable[str]) -> dict[str, str]:
        """Those of the standing objects that cannot be read again, and why: `gone`, or `damaged` in the archive."""
        from headrace.project.kept import lost

        home = self.home(pipeline)
        standing = home.ledger.standing()
        return {key: str(state) for key, state in lost(home, [standing[key] for key in keys]).items()}

    def held(self, pipeline: str) -> list[str]:
        """Keys whose retraction waits for a person."""
        return self.home(pipeline).ledger.held()

    def retract(self, pipeline: str, *, on_progress: Progress | None = None) -> int:
        """Confirm the held retractions and carry them out. Returns how many objects stand no more."""
        from headrace.project.again import retract

        return retract(self, self.home(pipeline), on_progress)

    def gone(self, pipeline: str, *, files: str | Iterable[str] = ()) -> list[str]:
        """Standing objects that cannot be read again; with `files` those, if they are not in the landing folder.

        Raises UsageError HR129 for a file that does not stand, HR141 for one that is still there.
        """
        from headrace.project.again import gone

        return gone(self.home(pipeline), listed(files))

    def let_go(self, pipeline: str, keys: str | Iterable[str], *, on_progress: Progress | None = None) -> int:
        """Take the rows of objects away that are gone. Returns how many stand no more.

        The others leave in the revision that brings a changed definition into force, as soon as a replay allows it.
        """
        from headrace.project.again import let_go

        return let_go(self, self.home(pipeline), listed(keys), on_progress)

    def rebuild(self, sink: str, on_progress: Progress | None = None) -> str:
        """Fill a sink again from the staged base, without parsing; returns the pipeline's name.

        On AWS `on_progress` hears how many rows a keyed table has taken meanwhile, if that takes long.

        Raises LockHeld (HR521) while another process works on the root.
        """
        home = self._home_of_sink(sink)
        self._side.rebuild(home, sink, on_progress)
        return home.name

    def compact(self, pipeline: str | None = None) -> int:
        """Merge small files of the base, or of all, into large ones: a revision like any other. Returns how many went.

        Raises LockHeld (HR521) while another process works on the root; `up` compacts by itself.
        """
        homes = [self.home(pipeline)] if pipeline else list(self.homes.values())
        return sum(self._side.compact(home) for home in homes)

    def _home_of_sink(self, table: str) -> Home:
        owners = {s.table: p.name for p in self.pipelines.values() for s in p.sinks}
        if table not in owners:
            raise UsageError("HR128", table, "there is no such sink", meant(table, owners))
        return self.homes[owners[table]]

    def __repr__(self) -> str:
        return f"Project({str(self.directory)!r}, target={self.place.name!r}, pipelines={list(self.pipelines)})"


__all__ = ["Progress", "Project", "open_project"]


def _side(found: config.Config, place: config.TargetConfig, pipelines: Mapping[str, Pipeline]) -> tuple[Settings, Side]:
    """How much the target may use, and who does its work."""
    which = f"{config.FILE} [targets.{place.name}]"
    if place.kind == "aws":
        from headrace.project.there import There

        there = There.of(found, place, pipelines, which)
        return there.settings, there
    from headrace.project.here import Here

    settings = Settings.from_mapping(place.settings, which)
    return settings, Here(found, place, settings, pipelines)
