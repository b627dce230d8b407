"""The AWS target: everything of a deployed stack. Opens a pipeline's ports; the engine takes it from there.

landing bucket  objects                  ledger table   ledger, leases, markers    root   copies on this machine:
lake bucket     base files, tables,      keyed tables   one per keyed sink                spool/, files of the base
                bodies of revisions      Glue database  Iceberg's catalog
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from headrace.aws.base import S3Base
from headrace.aws.catalog import GlueCatalog
from headrace.aws.clock import SystemClock
from headrace.aws.folder import S3Folder
from headrace.aws.keyed import DynamoWriter
from headrace.aws.keyed_control import FUNCTION_LEASE
from headrace.aws.ledger import DynamoLedger
from headrace.aws.lock import exclusive
from headrace.aws.notify import SnsNotifier
from headrace.aws.options import AwsOptions, Role
from headrace.aws.places import Places
from headrace.aws.queue import SqsQueue
from headrace.aws.session import Session
from headrace.aws.store import S3Store
from headrace.contract.compile import compile_contract, partitions
from headrace.engine.home import Home, base_of
from headrace.engine.settings import Settings
from headrace.model.contract import Contract
from headrace.model.pipeline import Keyed, Lake, Pipeline
from headrace.ports import Clock, Writer
from headrace.sinks.lake import LakeWriter

LEASE = 60.0
"""Seconds for which a publisher's lease outlives its function: clocks differ, and a kill takes a moment."""
PATIENCE = 2.0
"""Seconds to wait for another publisher of the same pipeline: to ring again costs less than to wait."""
GRACE = 900.0
"""Seconds for which metadata that nothing refers to is kept: a query that has looked it up may still be planning."""


class AwsTarget:
    """One stack, from within a function or from anywhere else with the rights. `root` holds copies alone.

    `waiting`: it asks, puts events and waits until functions have taken them, and works on nothing itself. `role`: as
    which function it works.
    """

    def __init__(
        self,
        session: Session,
        places: Places,
        options: AwsOptions,
        root: Path,
        settings: Settings | None = None,
        clock: Clock | None = None,
        project: Path | None = None,
        *,
        waiting: bool = False,
        role: Role = "publish",
    ) -> None:
        self.session, self.places, self.options = session, places, options
        self.root = root.resolve()
        self.settings = settings or options.settings
        self.clock = clock or SystemClock()
        self.seconds_left: Callable[[], float] | None = None  # of the function's invocation that works here
        self._project = project or Path.cwd()
        (self.root / "spool").mkdir(parents=True, exist_ok=True)
        self.store = S3Store(session, places.landing, self.clock)
        # What is staged is not read again where it was staged: there, all room is for the next object.
        copies = options.storage(role) * 10**6 // 2 if role == "publish" else 0
        self.files = S3Base(session, places.lake, self.root, copies)
        self.queue = SqsQueue(session, places, self.clock, marked=waiting)
        self._works = not waiting
        self._contracts: dict[str, Contract] = {}
        self._homes: dict[str, Home] = {}

    def home(self, pipeline: Pipeline) -> Home:
        """Open a pipeline here. Where it is worked on, its present contract becomes known to the ledger."""
        ledger = self.ledger(pipeline, self.queue)
        contract = compile_contract(pipeline)
        if self._works:  # who only asks may have a definition that is not deployed, and need not be allowed to write
            ledger.keep_contract(contract)
        home = Home(
            pipeline=pipeline,
            contract=contract,
            partitions=partitions(pipeline),
            store=self.store,
            queue=self.queue,
            ledger=ledger,
            files=self.files,
            writers=self._writers(pipeline),
            notifier=SnsNotifier(self.session, self.places.topic),
            root=self.root,
            quick=self.root / "spool",
            base=base_of(pipeline),
            project=str(self._project),
            settings=self.settings,
            clock=self.clock,
            lock=lambda: self._lock(ledger),
        )
        self._homes[pipeline.name] = home
        return home

    def ledger(self, pipeline: Pipeline, queue: SqsQueue) -> DynamoLedger:
        """The pipeline's ledger, acknowledging events at `queue`."""
        return DynamoLedger(self.session, self.places.ledger, self.places.lake, queue, pipeline.name, self.clock)

    def _lock(self, ledger: DynamoLedger) -> AbstractContextManager[object]:
        """A lease for as long as this function can live: so a killed one is followed soon."""
        left = float(self.options.publish_timeout) if self.seconds_left is None else self.seconds_left()
        return exclusive(ledger, left + LEASE, wait=PATIENCE)

    def _writers(self, pipeline: Pipeline) -> Mapping[str, Writer]:
        return {sink.table: self._writer(pipeline, sink) for sink in pipeline.sinks}

    def _writer(self, pipeline: Pipeline, sink: Lake | Keyed) -> Writer:
        key = pipeline.record.__options__.key
        if isinstance(sink, Lake):
            folder = S3Folder(self.session, self.places.lake, f"lake/{sink.table}")
            catalog = GlueCatalog(self.session, self.places.database, sink.table, folder.location)
            return LakeWriter(folder, catalog, sink.table, partitions(pipeline), key, GRACE)
        return DynamoWriter(
            self.session,
            self.files,
            self.root,
            self.places.pipeline(pipeline.name).tables[sink.table],
            sink.table,
            key,
            sink.index,
            self.settings.engine_memory,
            self.settings.threads,
            seconds_left=lambda: math.inf if self.seconds_left is None else self.seconds_left(),
            lease=FUNCTION_LEASE,  # the lock outlasts the function, so whoever takes the table over knows it dead
        )

    def close(self) -> None:
        for home in self._homes.values():
            for writer in home.writers.values():
                writer.close()
        self._homes.clear()
