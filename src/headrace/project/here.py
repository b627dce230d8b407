"""A project's work on this machine: by this process, or by the one that holds the root (`headrace up`)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.config import FILE, Config, TargetConfig
from headrace.engine.home import Home
from headrace.engine.settings import Settings
from headrace.model.errors import InfrastructureError
from headrace.model.loads import Event
from headrace.model.pipeline import Pipeline
from headrace.project.results import Table

if TYPE_CHECKING:
    from headrace.engine.query import Relation
    from headrace.engine.sandbox import Sandbox
    from headrace.local.keyed_lookup import KeyedLookup
    from headrace.local.target import LocalTarget
    from headrace.project.side import Progress

POLL = 0.05
"""Seconds between looks at the ledger while another process works."""
PATIENCE = 60.0
"""Seconds without any change in the ledger, and nothing visibly in work, after which the other process is stuck."""


class Here:
    """`Side` for targets of kind "local"."""

    def __init__(self, config: Config, place: TargetConfig, settings: Settings, pipelines: Mapping[str, Pipeline]):
        self.directory, self.root, self.settings = config.directory, place.root, settings
        self._pipelines = pipelines
        self._lookups: dict[str, KeyedLookup] = {}
        self._logging: logging.Handler | None = None

    @property
    def landing(self) -> Path:
        """Where files arrive."""
        return self.target.landing

    @property
    def lock_file(self) -> Path:
        """Held by the one process that works on the root: `up`, or a `run` while it lasts."""
        return self.root / "locks" / "work.lock"

    @cached_property
    def target(self) -> LocalTarget:
        from headrace.engine import log
        from headrace.local.target import LocalTarget

        try:
            self._logging = log.configure(self.root / "logs", self.settings)
            return LocalTarget(self.root, self.settings, project=self.directory)
        except OSError as exc:
            next = f"make it writable, or give another root in {FILE}"
            raise InfrastructureError("HR534", str(self.root), f"cannot be used as a root: {exc}", next) from exc

    @cached_property
    def homes(self) -> dict[str, Home]:
        return {name: self.target.home(pipeline) for name, pipeline in self._pipelines.items()}

    def children(self) -> Sandbox:
        """A confined child for one worker: it may write to the pipelines' bases and the spool, and nowhere else.

        So not to the ledger, the sinks' own files, the landing folder or the logs.
        """
        from headrace.engine.sandbox import Sandbox

        folders = [self.root / "spool", *(self.root / home.base for home in self.homes.values())]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        return Sandbox(self.settings, writable=folders)

    def begun(self) -> bool:
        return (self.root / "ledger.db").exists()

    def put(self, home: Home, files: Mapping[str, Path]) -> None:
        """A file that lies under its key already is left as it is."""
        landing = self.landing.resolve()
        home.store.put_many([(key, path) for key, path in files.items() if path.resolve() != landing / key])
        home.queue.put([Event(home.name, key, "created") for key in files])

    # -- working -------------------------------------------------------------------------------------------------

    def work(self, homes: Sequence[Home], on_progress: Progress | None, *, thorough: bool = False) -> None:
        """Here; or wait while the process that holds the root does, and take over should it end."""
        from headrace.engine.loop import work_until_idle
        from headrace.local.lock import LockHeld

        while True:
            with ExitStack() as held:
                try:
                    held.enter_context(self.holding(thorough=thorough))
                except LockHeld:
                    if self._wait(homes):
                        return
                    continue
                work_until_idle(list(homes), self.children, on_progress)
                return

    def _wait(self, homes: Sequence[Home]) -> bool:
        from headrace.local.lock import holder
        from headrace.project.waiting import wait

        def worker() -> str | None:
            pid = holder(self.lock_file)
            return None if pid is None else f"process {pid}" if pid else "the process that holds this root"

        def in_work(home: Home) -> float:
            """An object is being read, or a revision made."""
            leased = home.queue.depth(home.name)[1] > 0
            publishing = holder(self.lock_file.with_name(f"{home.name}.lock")) is not None
            return home.settings.child_timeout if leased or publishing else 0.0

        return wait(homes, worker, in_work, patience=PATIENCE, poll=POLL)

    def serve(self, stop: threading.Event, on_progress: Progress | None) -> None:
        """Watch the landing folder. Raises LockHeld (HR521) if another process does."""
        from headrace.project.serving import serve_root

        serve_root(self, stop, on_progress)

    @contextmanager
    def holding(self, *, thorough: bool = False) -> Iterator[None]:
        """Hold the root, and begin with what a process that died left lying; `thorough`: look for it in any case.

        Raises LockHeld (HR521) while another process works on the root, DefinitionError HR241 like `_tidy`.
        """
        from headrace.local.lock import exclusive

        with exclusive(self.lock_file) as clean:
            self._tidy(strays=thorough or not clean)
            yield

    def _tidy(self, *, strays: bool) -> None:
        """Delete what a process that died left lying: copies, files of unfinished attempts.

        `strays` False leaves the bases as they are, whose every file would have to be looked at.
        Raises DefinitionError HR241 before anything is touched if a base holds another pipeline's rows.
        """
        from headrace.engine.retain import refuse_strangers, sweep, sweep_spool

        for home in self.homes.values():
            refuse_strangers(home)
        for home in self.homes.values() if strays else ():
            sweep(home)
        for folder in (self.root / "spool", self.target.quick):
            sweep_spool(folder)

    def undelivered(self, pipeline: str) -> None:
        """The queue gives nothing up: who leases an event of it and dies is found out, and the ledger buries it."""
        return None

    def put_back(self, pipeline: str) -> int:
        return 0

    def rebuild(self, home: Home, sink: str, on_progress: Progress | None = None) -> None:
        """Raises LockHeld (HR521) while another process works on the root."""
        from headrace.engine.replay import rebuild

        with self.holding():
            rebuild(home, sink)

    def compact(self, home: Home) -> int:
        """Raises LockHeld (HR521) while another process works on the root; `up` compacts by itself."""
        from headrace.engine.compact import compact

        with self.holding():
            return compact(home)

    # -- asking --------------------------------------------------------------------------------------------------

    def lookup(self, pipeline: Pipeline, table: str) -> KeyedLookup:
        from headrace.local.keyed_lookup import KeyedLookup

        def expected() -> int:
            """The revision that the ledger knows the sink to be at; 0 without a ledger."""
            return self.homes[pipeline.name].ledger.sinks().get(table, 0) if self.begun() else 0

        if table not in self._lookups:
            self._lookups[table] = KeyedLookup(self.root / "keyed" / f"{table}.db", table, expected)
        return self._lookups[table]

    def tables(self) -> dict[str, Relation]:
        """Every relation that `sql` sees."""
        from headrace.project.tables import relations

        return {name: relation for home in self.homes.values() for name, relation in relations(home).items()}

    def sql(self, query: str) -> Table:
        from headrace.engine.query import Limits, run_sql

        limits = Limits(memory=self.settings.memory_limit, threads=self.settings.threads)
        return Table(run_sql(self.tables(), query, limits))

    def condition(self) -> dict[str, Any]:
        from headrace.local.lock import holder
        from headrace.project.health import disk_use

        return {"running": holder(self.lock_file), "disk": disk_use(self.root), "faults": ()}

    def close(self) -> None:
        from headrace.engine import log
        from headrace.engine.sql import close_instances

        for lookup in self._lookups.values():
            lookup.close()
        self._lookups.clear()
        self.__dict__.pop("homes", None)
        target: LocalTarget | None = self.__dict__.pop("target", None)
        if target is not None:
            target.close()
            close_instances(target.root)
        if self._logging is not None:
            log.stop(self._logging)
            self._logging = None
