"""A project's work by a deployed stack: what is asked goes into its queue and its functions do it.

Nothing works on this machine but what only shows: single records are read again here, and rejected rows, whose files
are copied below `root`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.config import FILE, Config, TargetConfig
from headrace.engine.home import Home
from headrace.engine.settings import Settings
from headrace.model.errors import UsageError
from headrace.model.loads import LoadState
from headrace.model.pipeline import Keyed, Lake, Pipeline
from headrace.project.results import Table, Undelivered

if TYPE_CHECKING:
    from headrace.aws.keyed_lookup import DynamoLookup
    from headrace.aws.options import AwsOptions
    from headrace.aws.session import Session
    from headrace.aws.target import AwsTarget
    from headrace.ports import Lookup
    from headrace.project.side import Progress

POLL = 1.0
"""Seconds between looks at the ledger while the stack works."""
PATIENCE = 180.0
"""Seconds without any change in the ledger after which nothing is coming: a function starts within seconds."""


class There:
    """`Side` for targets of kind "aws"."""

    def __init__(
        self, config: Config, place: TargetConfig, options: AwsOptions, pipelines: Mapping[str, Pipeline]
    ) -> None:
        self.directory, self.root, self.options = config.directory, place.root, options
        self._name, self._pipelines = place.name, pipelines
        self._expected: dict[str, dict[str, str]] = {}

    @staticmethod
    def of(config: Config, place: TargetConfig, pipelines: Mapping[str, Pipeline], which: str) -> There:
        """Raises DefinitionError HR81x for a target that says something impossible."""
        from headrace.aws.options import AwsOptions

        return There(config, place, AwsOptions.from_mapping(place.settings, which), pipelines)

    @property
    def settings(self) -> Settings:
        return self.options.settings

    @cached_property
    def session(self) -> Session:
        """Raises UsageError HR104 where the AWS library is not installed."""
        try:
            from headrace.aws.session import Session
        except ModuleNotFoundError as exc:
            library = (exc.name or "").partition(".")[0]
            if library not in ("boto3", "botocore"):
                raise
            found = f"needs the package {library}, which is not installed"
            raise UsageError("HR814", f"{FILE} [targets.{self._name}]", found, "pip install 'headrace[aws]'") from exc
        return Session(self.options.region, self.options.profile)

    @cached_property
    def target(self) -> AwsTarget:
        from headrace.aws.operate.stack import Stack
        from headrace.aws.places import Places
        from headrace.aws.target import AwsTarget

        places = Places.from_outputs(Stack(self.session, self.options.stack).deployed().outputs)
        return AwsTarget(self.session, places, self.options, self.root, project=self.directory, waiting=True)

    @cached_property
    def homes(self) -> dict[str, Home]:
        return {name: self.target.home(pipeline) for name, pipeline in self._pipelines.items()}

    def begun(self) -> bool:
        from headrace.aws.operate.stack import Stack

        found = Stack(self.session, self.options.stack).facts()
        return found is not None and found.stands

    # -- working -------------------------------------------------------------------------------------------------

    def put(self, home: Home, files: Mapping[str, Path]) -> None:
        """Upload; the bucket tells the queue by itself."""
        stats = home.store.put_many(files.items())
        self._expected.setdefault(home.name, {}).update({stat.key: stat.fingerprint for stat in stats})

    def work(self, homes: Sequence[Home], on_progress: Progress | None, *, thorough: bool = False) -> None:
        """Wait until the stack has done it. Raises InfrastructureError HR126 if nothing moves for minutes."""
        from headrace.project.waiting import settled, wait

        for home in homes:
            if home.bell.take():
                self._ring(home)
        seen = {home.name: home.ledger.last_seq() for home in homes}

        def done(home: Home) -> bool:
            if on_progress is not None:
                last = home.ledger.last_seq()
                on_progress(home, last - seen[home.name])
                seen[home.name] = last
            return self._arrived(home) and not self.target.queue.asked(home.name) and settled(home)

        def in_work(home: Home) -> float:
            return float(self.options.ingest_timeout)

        stack = f"stack {self.options.stack!r}"
        wait(homes, lambda: stack, in_work, done=done, patience=PATIENCE, poll=POLL)

    def _arrived(self, home: Home) -> bool:
        """Whether the ledger knows what was put, in the very version that was put, or a later one."""
        expected = self._expected.get(home.name, {})
        for key, loads in home.ledger.live(list(expected)).items():
            if any(load.fingerprint == expected[key] for load in loads if load.state is not LoadState.SEEN):
                del expected[key]
        return not expected

    def _ring(self, home: Home) -> None:
        from headrace.aws.bell import ring

        ring(self.session, self.target.places.pipeline(home.name).bell, home.name)

    def serve(self, stop: threading.Event, on_progress: Progress | None) -> None:
        found = "its stack works by itself whenever a file arrives"
        raise UsageError("HR815", f"target {self._name!r}", found, f"`headrace logs --target {self._name} --follow`")

    def undelivered(self, pipeline: str) -> Undelivered | None:
        """What SQS gave up because the function died each time, before it could tell the ledger."""
        from headrace.aws.operate.dead_letters import given_up

        found = given_up(self.session, self.target.places, pipeline)
        return Undelivered(pipeline, found.messages, found.keys) if found.messages else None

    def put_back(self, pipeline: str) -> int:
        from headrace.aws.operate.dead_letters import put_back

        return put_back(self.session, self.target.places, pipeline)

    def rebuild(self, home: Home, sink: str, on_progress: Progress | None = None) -> None:
        """Wait for whoever publishes now; then for as many lives of the function as it takes."""
        from headrace.project.filling import ask_patiently, filled

        # Whoever is at work ends before its function's time is up, and is followed by us or by another.
        patience = 2.0 * self.options.publish_timeout + PATIENCE

        def ask() -> dict[str, Any]:
            return self._ask(home, {"do": "rebuild", "sink": sink})

        def tell(rows: int) -> None:
            if on_progress is not None:
                on_progress(home, rows)

        if not ask_patiently(ask, home.name, patience=patience, poll=POLL):
            look = self._lookup(home.pipeline, sink).control
            filled(look, tell, f"keyed {sink!r}", patience=patience, poll=POLL)

    def compact(self, home: Home) -> int:
        return int(self._ask(home, {"do": "compact"})["files"])

    def _ask(self, home: Home, event: Mapping[str, Any]) -> dict[str, Any]:
        from headrace.aws.bell import ask

        return ask(self.session, self.target.places.pipeline(home.name).publish, event, self.options.publish_timeout)

    # -- asking --------------------------------------------------------------------------------------------------

    def lookup(self, pipeline: Pipeline, table: str) -> Lookup:
        return self._lookup(pipeline, table)

    def _lookup(self, pipeline: Pipeline, table: str) -> DynamoLookup:
        from headrace.aws.keyed_lookup import DynamoLookup

        def expected() -> int:
            """The revision that the ledger knows the sink to be at."""
            return self.homes[pipeline.name].ledger.sinks().get(table, 0)

        physical = self.target.places.pipeline(pipeline.name).tables[table]
        return DynamoLookup(self.session, physical, table, expected=expected)

    def sql(self, query: str) -> Table:
        """Athena answers for the lake's tables; rejected and lost rows, which it does not know, are read here."""
        from headrace.engine.query import Limits, allow, run_sql
        from headrace.project.tables import relations

        tables = {name: r for home in self.homes.values() for name, r in relations(home).items()}
        asked = allow(query, tables)
        if any(name.endswith(("__rejected", "__losers")) for name in asked):
            limits = Limits(memory=self.settings.memory_limit, threads=self.settings.threads)
            return Table(run_sql(tables, query, limits))
        self._refuse_keyed(asked)
        from headrace.aws.athena import ask

        places = self.target.places
        columns = {name: [column for column, _ in relation.columns] for name, relation in tables.items()}
        return Table(ask(self.session, places.workgroup, places.database, query, columns))

    def _refuse_keyed(self, asked: set[str]) -> None:
        """A table of DynamoDB is read by key; its rows are in a lake as well, where the pipeline has one."""
        for pipeline in self._pipelines.values():
            lake = next((s.table for s in pipeline.sinks if isinstance(s, Lake)), None)
            for sink in pipeline.sinks:
                if isinstance(sink, Keyed) and sink.table.casefold() in asked:
                    also = f", or ask {lake}, which has its rows" if lake else ""
                    found, advice = "is keyed: on AWS it is read by key", f"`headrace get {sink.table} KEY`{also}"
                    raise UsageError("HR816", f"table {sink.table!r}", found, advice)

    def condition(self) -> dict[str, Any]:
        from headrace.aws.operate.health import stack_health

        health = stack_health(self.session, self.target.places)
        told = {name: getattr(health, name) for name in ("alarms", "faults", "queues")}
        return {"running": None, "disk": {}, "stack": health.state, **told}

    def close(self) -> None:
        self.__dict__.pop("homes", None)
        target: AwsTarget | None = self.__dict__.pop("target", None)
        if target is not None:
            target.close()
