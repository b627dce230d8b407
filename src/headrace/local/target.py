"""The local target: everything embedded below one folder. Opens a pipeline's ports; the engine takes it from there.

landing/   objects            ledger.db    ledger and queue        spool/   copies being parsed
lake/T/    base of a lake     staged/P/    base without a lake     keyed/   one SQLite file per keyed table
catalog.db Iceberg's catalog  logs/        structured logs         locks/   who publishes
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from headrace.contract.compile import compile_contract, partitions
from headrace.engine.home import Home, base_of
from headrace.engine.settings import Settings
from headrace.local.base import FolderBase
from headrace.local.catalog import SqliteCatalog
from headrace.local.clock import SystemClock
from headrace.local.database import Database
from headrace.local.disk import make_folders
from headrace.local.folder import LocalFolder
from headrace.local.ledger import SCHEMA, SqliteLedger
from headrace.local.lock import exclusive
from headrace.local.notify import FileNotifier
from headrace.local.queue import SqliteQueue
from headrace.local.store import FolderStore
from headrace.model.pipeline import Keyed, Lake, Pipeline
from headrace.ports import Clock, Writer
from headrace.sinks.lake import LakeWriter

MEMORY = Path("/dev/shm")
PATIENCE = 30.0
"""Seconds to wait for another publisher of the same pipeline to finish its revision."""


class LocalTarget:
    """One root. Safe to open in several processes; only the holder of the root's lock works on it."""

    def __init__(
        self, root: Path, settings: Settings | None = None, clock: Clock | None = None, project: Path | None = None
    ) -> None:
        self.root = root.resolve()
        self.settings = settings or Settings()
        self.clock = clock or SystemClock()
        self._project = project or Path.cwd()
        make_folders(self.root)  # its own name, too, must outlast a power loss
        for folder in ("spool", "locks", "logs"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        self.quick = _quick(self.root)
        self.database = Database(self.root / "ledger.db", SCHEMA)
        self.queue = SqliteQueue(self.database, self.clock)
        self.store = FolderStore.create(self.root / "landing", self.clock)
        self._homes: dict[str, Home] = {}

    @property
    def landing(self) -> Path:
        return self.root / "landing"

    def home(self, pipeline: Pipeline) -> Home:
        """Open a pipeline here; its present contract becomes known to the ledger."""
        contract = compile_contract(pipeline)
        ledger = SqliteLedger(self.database, self.queue, pipeline.name, self.clock)
        ledger.keep_contract(contract)
        home = Home(
            pipeline=pipeline,
            contract=contract,
            partitions=partitions(pipeline),
            store=self.store,
            queue=self.queue,
            ledger=ledger,
            files=FolderBase(self.root),
            writers={s.table: self._writer(pipeline, s) for s in pipeline.sinks},
            notifier=FileNotifier(self.root / "logs" / "notifications.jsonl", self.clock),
            root=self.root,
            quick=self.quick,
            base=base_of(pipeline),
            project=str(self._project),
            settings=self.settings,
            clock=self.clock,
            lock=lambda: exclusive(self.root / "locks" / f"{pipeline.name}.lock", wait=PATIENCE),
        )
        self._homes[pipeline.name] = home
        return home

    def _writer(self, pipeline: Pipeline, sink: Lake | Keyed) -> Writer:
        key = pipeline.record.__options__.key
        if isinstance(sink, Lake):
            folder = LocalFolder(self.root, f"lake/{sink.table}")
            catalog = SqliteCatalog(self.root / "catalog.db", sink.table)
            return LakeWriter(folder, catalog, sink.table, partitions(pipeline), key)
        from headrace.local.keyed import KeyedWriter  # imports PyArrow, which a lake alone can do without

        path, settings = self.root / "keyed" / f"{sink.table}.db", self.settings
        return KeyedWriter(
            self.root, path, sink.table, key, sink.index, memory_limit=settings.engine_memory, threads=settings.threads
        )

    def close(self) -> None:
        for home in self._homes.values():
            for writer in home.writers.values():
                writer.close()
        self._homes.clear()
        self.database.close()


def _quick(root: Path) -> Path:
    """A folder in memory that belongs to this root alone, or its spool where the system has none."""
    if not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK)):
        return root / "spool"
    folder = MEMORY / f"headrace-{os.getuid()}-{hashlib.sha256(str(root).encode()).hexdigest()[:16]}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        return root / "spool"
    owned = folder.lstat()
    private = owned.st_uid == os.getuid() and stat.S_ISDIR(owned.st_mode) and not owned.st_mode & 0o077
    return folder if private else root / "spool"
