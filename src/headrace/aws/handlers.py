"""What Lambda calls: the same engine as a laptop's worker and publisher, with one invocation's events and its time.

`ingest` is fed by the pipeline's queue; `publish` by the doorbell, by a sweep each minute, and by commands. A function
opens its pipeline once, and keeps it for the invocations that follow.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from headrace import config
from headrace.aws import canary
from headrace.aws.bell import ring
from headrace.aws.lock import LockHeld
from headrace.aws.options import AwsOptions, Role
from headrace.aws.places import PIPELINE, Places
from headrace.aws.queue import DeliveredQueue
from headrace.aws.scanning import Course, go_on
from headrace.aws.scratch import own_folder
from headrace.aws.session import Session
from headrace.aws.target import AwsTarget
from headrace.engine import alarms, log
from headrace.engine.home import Home
from headrace.engine.retain import sweep_spool
from headrace.engine.sandbox import Sandbox
from headrace.engine.time_left import SecondsLeft
from headrace.model.errors import DefinitionError, InfrastructureError, OutOfTime

TARGET = "HEADRACE_TARGET"
"""The variable with the name of the target that this function was deployed for."""
RESERVE = 30.0
"""Seconds of a publisher's life, but a fifth of it at most, in which nothing more is begun: there to end what was."""
AGAIN = 3
"""Seconds until a doorbell that found another publisher at work rings again."""

Event = Mapping[str, Any]
Reply = dict[str, Any]


class Function:
    """One pipeline, opened in this process. Copies lie in a folder of its own: several may share a machine."""

    def __init__(self, role: Role, environment: Mapping[str, str], code: Path) -> None:
        found = config.read(code)
        table = found.target(environment[TARGET]).settings
        options = AwsOptions.from_mapping(table, f"{config.FILE} [targets.{environment[TARGET]}]")
        self.role, self.options = role, options
        self.places = Places.from_environment(environment)
        self.session = Session(self.places.region)
        self.pipeline = config.load_pipelines(found)[environment[PIPELINE]]
        root = own_folder(Path(tempfile.gettempdir()))
        settings = options.settings_for(role)
        self.alarms: set[str] = set()
        self.untidy = False  # housekeeping is due
        self.target = AwsTarget(self.session, self.places, options, root, settings, project=code, role=role)

    @cached_property
    def home(self) -> Home:
        return self.target.home(self.pipeline)

    @cached_property
    def scan(self) -> Course:
        return Course(self.target.ledger(self.pipeline, self.target.queue))

    @cached_property
    def child(self) -> Sandbox:
        """The confined process that parses what arrives."""
        folders = [self.home.spool, self.target.root / self.home.base]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        return Sandbox(self.target.settings, writable=folders)

    def to_spare(self, context: Any) -> SecondsLeft:
        """How long the publisher may still begin something: what is begun then, has its time to end."""
        left, reserve = _seconds_left(context), min(RESERVE, self.options.publish_timeout / 5)
        return lambda: left() - reserve

    def tidy(self) -> None:
        """Clear away what an invocation left that failed, or whose child was killed: the next may need all of the disk.

        No work of this process is under way between two invocations, and the child waits for its next job.
        """
        sweep_spool(self.target.root / "spool")
        self.target.files.clear()

    def delivered(self, event: Event) -> tuple[Home, DeliveredQueue]:
        """The home with the events of this invocation as its queue."""
        queue = DeliveredQueue(self.session, self.places, self.target.clock, dict(event))
        return replace(self.home, queue=queue, ledger=self.target.ledger(self.pipeline, queue)), queue

    def ring(self, canaries: list[str] | None = None) -> None:
        """Tell the publisher that there is something to decide."""
        ring(self.session, self.places.pipeline(self.pipeline.name).bell, self.pipeline.name, canaries or ())


@lru_cache(maxsize=2)
def function(role: Role) -> Function:
    """This process's function, opened at its first call."""
    log.to_stream(sys.stdout)
    return Function(role, os.environ, Path(os.environ.get("LAMBDA_TASK_ROOT", ".")))


def ingest(event: Event, context: Any) -> Reply:
    """Take the records of an event to staged loads; what was not settled is reported, message by message."""
    opened = function("ingest")
    with _reported(opened, context):
        opened.tidy()
        home, queue = opened.delivered(event)
        leases = queue.lease(home.name, sys.maxsize, timedelta(0))  # they are leased already
        canaries = canary.mark(
            opened.session, opened.places.ledger, home.name, leases, home.clock, str(context.aws_request_id)
        )
        from headrace.engine.ingest import ingest

        failure: InfrastructureError | None = None
        try:
            ingest(home, opened.child, leases, _seconds_left(context))
        except InfrastructureError as exc:  # its events were given back; what others came to is kept
            log.event("ingest.failed", pipeline=home.name, error=str(exc))
            failure = exc
        if home.bell.take() or canaries:
            _ring(opened, canaries)
        failures = queue.failures()
        if failure is not None and len(failures) == len(event.get("Records", ())):
            raise failure  # nothing of it was settled: then the service counts an error, for the alarm
        return {"batchItemFailures": [{"itemIdentifier": message} for message in failures]}


def _ring(opened: Function, canaries: list[str]) -> None:
    """What is staged is staged, whether or not the bell is heard: the sweep of each minute looks as well."""
    try:
        opened.ring(canaries)
    except InfrastructureError as exc:
        log.event("ring.failed", pipeline=opened.pipeline.name, error=str(exc))


def publish(event: Event, context: Any) -> Reply:
    """Decide whatever waits; or do what a command asks: {"do": "scan" | "compact" | "rebuild", …}."""
    opened = function("publish")
    opened.target.seconds_left = _seconds_left(context)
    left = opened.to_spare(context)
    with _reported(opened, context):
        opened.tidy()
        match event.get("do", "publish"):
            case "publish":
                reply = _publish(opened, event, context)
                if "Records" not in event:  # a sweep, which has time; also while another publishes
                    _scan_on(opened, left)
                return reply
            case "scan":
                return _scan(opened, left)
            case "compact":
                from headrace.engine.compact import compact

                return {"files": compact(opened.home, seconds_left=left)}
            case "rebuild":
                return _rebuild(opened, str(event["sink"]))
            case other:
                raise DefinitionError("HR817", "publish", f"there is nothing to do that is called {other!r}")


def _rebuild(opened: Function, sink: str) -> Reply:
    """Fill a sink again. `done` is false where another publisher is at work, or the time was up: then it goes on."""
    from headrace.engine.replay import rebuild

    try:
        rebuild(opened.home, sink)
    except LockHeld as exc:
        return {"sink": sink, "done": False, "busy": exc.found}
    except OutOfTime:  # the next sweep goes on with it, before anything else is decided
        return {"sink": sink, "done": False}
    return {"sink": sink, "done": True}


def _publish(opened: Function, event: Event, context: Any) -> Reply:
    """Drain what is staged. While another publisher works the bell is rung again: it may have looked too early."""
    messages = event.get("Records", [])
    home = opened.home
    alarms.send(home, opened.alarms)
    keys = [key for message in messages for key in canary.of_message(_body(message))]
    try:
        _drain(opened, opened.to_spare(context))
    except LockHeld:
        log.event("publish.waits", pipeline=home.name)
        return {"batchItemFailures": [_again(opened, message) for message in messages]}
    except OutOfTime:
        # A sink is filled, or takes a large revision: the next life goes on at its mark, asked by the same message.
        # A function that sent itself new ones would be stopped by Lambda as a loop.
        return {"batchItemFailures": [_again(opened, message) for message in messages]}
    canary.mark_published(
        opened.session, opened.places.ledger, home.name, keys, home.clock, str(context.aws_request_id)
    )
    return {"batchItemFailures": []}


def _drain(opened: Function, left: SecondsLeft) -> None:
    """One revision after the other, while there is time for one as long as the longest; then the housekeeping, if there
    is half of the time for it. What is due waits for an invocation that has it.
    """
    from headrace.engine.loop import HOUSEKEEPING, chores, keep_house

    home, longest, before = opened.home, 0.0, left()
    while _once(home, left):
        opened.untidy |= home.ledger.head() % HOUSEKEEPING == 0
        longest, before = max(longest, before - left()), left()
        if before <= longest:
            return
    if opened.untidy and left() > opened.options.publish_timeout / 2:
        opened.untidy = False
        keep_house(home, *chores(left), seconds_left=left)


def _once(home: Home, left: SecondsLeft) -> bool:
    """One revision. False if there was nothing to decide, and no messages are left to send."""
    from headrace.engine.publish import publish

    home.bell.take()
    try:
        made = publish(home, left)
    except DefinitionError as exc:  # it waits for a replay; `status` says so
        log.event("publish.blocked", pipeline=home.name, error=str(exc))
        made = False
    return made or home.bell.rung


def _scan(opened: Function, left: SecondsLeft) -> Reply:
    """Clear away what nothing needs any more, and begin to find what no event told of: the sweeps go on with it."""
    from headrace.engine.loop import keep_house, tidy_up
    from headrace.engine.retain import sweep

    opened.scan.begin()
    keep_house(opened.home, tidy_up, sweep, seconds_left=left)
    return {"events": _scan_on(opened, left)}


def _scan_on(opened: Function, left: SecondsLeft) -> int:
    """Take a scan that is under way further, where there is half of the time for it."""
    return go_on(opened.home, opened.scan, left) if left() > opened.options.publish_timeout / 2 else 0


def _again(opened: Function, message: Event) -> dict[str, str]:
    url = opened.places.pipeline(opened.pipeline.name).bell
    with opened.session.wrapped("the publish queue", "the sweep of each minute covers it"):
        opened.session.client("sqs").change_message_visibility(
            QueueUrl=url, ReceiptHandle=message["receiptHandle"], VisibilityTimeout=AGAIN
        )
    return {"itemIdentifier": message["messageId"]}


def _body(message: Event) -> Event:
    try:
        body = json.loads(message.get("body", ""))
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _seconds_left(context: Any) -> SecondsLeft:
    return lambda: float(context.get_remaining_time_in_millis()) / 1000


@contextmanager
def _reported(opened: Function, context: Any) -> Iterator[None]:
    """Log what the invocation took, and what it asked of AWS: what `plan` and the bill are told by."""
    request = str(context.aws_request_id)
    with log.timed("invocation", function=opened.role, pipeline=opened.pipeline.name, request=request):
        try:
            yield
        finally:
            opened.session.report()
