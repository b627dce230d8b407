"""Tries a deployed stack out: credentials, its state, each thing it is made of, and a canary through each pipeline.

A canary is an object whose name says that it is none to be loaded (`model/canary.py`). It takes the way of every
other: S3 tells the queue, the queue the ingest function, the doorbell the publish function; each marks it in the ledger
(`canary.py`). Nothing of it is left. Called by `project/cloud.py`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from headrace.aws import canary
from headrace.aws.operate.health import depth, stack_health
from headrace.aws.operate.stack import Stack
from headrace.aws.operate.sweep import empty
from headrace.aws.places import PipelinePlaces, Places
from headrace.aws.session import Session
from headrace.model.canary import RESERVED, canary_key
from headrace.model.errors import HeadraceError, InfrastructureError
from headrace.model.pipeline import Pipeline

PATIENCE = 180.0
"""Seconds for a canary to come through: cold functions, the queue's window, and a sweep each minute."""

POLL = 1.0

LOGS = "`headrace logs` shows what the functions said"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried."""

    what: str
    ok: bool
    found: str
    next: str = ""
    seconds: float = 0.0

    def public(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": round(self.seconds, 3)}


def verify(
    session: Session, stack: Stack, pipelines: Mapping[str, Pipeline], *, patience: float = PATIENCE
) -> Iterator[Check]:
    """Each check as it is done. What later ones need of an earlier that failed is not tried."""
    account = _tried("credentials", lambda: f"account {session.account()}")
    yield account
    if not account.ok:
        return
    facts = _tried(f"stack {stack.name}", lambda: stack.deployed().status)
    yield facts
    if not facts.ok:
        return
    places = Places.from_outputs(stack.deployed().outputs)
    yield _healthy(session, places)
    reached = [_tried(what, look) for what, look in _looks(session, places)]
    yield from reached
    for name, pipeline in pipelines.items():
        if name in places.pipelines:
            yield _canary(session, places, pipeline, patience)
        else:
            yield Check(f"pipeline {name}", False, "is not part of the stack", "headrace deploy")


def _tried(what: str, look: Callable[[], str]) -> Check:
    started = time.monotonic()
    try:
        found = look()
    except HeadraceError as exc:
        return Check(what, False, f"{exc.code} {exc.found}", exc.next, time.monotonic() - started)
    return Check(what, True, found, seconds=time.monotonic() - started)


def _healthy(session: Session, places: Places) -> Check:
    def look() -> str:
        health = stack_health(session, places)
        wrong = [*health.faults, *health.alarms]
        if wrong:
            raise InfrastructureError("HR841", "health", "; ".join(wrong), "headrace status")
        return "no alarm is raised, nothing in the dead-letter queues"

    return _tried("health", look)


def _looks(session: Session, places: Places) -> Iterator[tuple[str, Callable[[], str]]]:
    """Something cheap to ask of each thing that the stack is made of."""

    def call(
        service: str, operation: str, said: Callable[[Any], str] = lambda answer: "is there", **values: Any
    ) -> Any:
        def look() -> str:
            with session.wrapped(next(iter(values.values())), "run `headrace deploy`"):
                return said(getattr(session.client(service), operation)(**values))

        return look

    def active(answer: Any) -> str:
        return str(answer["Table"]["TableStatus"]).lower()

    yield f"bucket {places.landing}", call("s3", "head_bucket", Bucket=places.landing)
    yield f"bucket {places.lake}", call("s3", "head_bucket", Bucket=places.lake)
    yield f"table {places.ledger}", call("dynamodb", "describe_table", active, TableName=places.ledger)
    for topic in (places.topic, places.operations):
        yield f"topic {topic.rsplit(':', 1)[-1]}", call("sns", "get_topic_attributes", TopicArn=topic)
    yield f"database {places.database}", call("glue", "get_database", Name=places.database)
    yield f"workgroup {places.workgroup}", call("athena", "get_work_group", WorkGroup=places.workgroup)
    for name, one in sorted(places.pipelines.items()):
        yield from _looks_of(session, name, one, call, active)


def _looks_of(
    session: Session, name: str, one: PipelinePlaces, call: Callable[..., Any], active: Callable[[Any], str]
) -> Iterator[tuple[str, Callable[[], str]]]:
    def ready(answer: Any) -> str:
        return str(answer.get("State", "Active")).lower()

    for what, url in (("events", one.queue), ("dead letters", one.dlq), ("doorbell", one.bell)):
        yield f"queue of {name}'s {what}", lambda url=url: _waiting(session, url)  # type: ignore[misc]
    for function in (one.ingest, one.publish):
        yield f"function {function}", call("lambda", "get_function_configuration", ready, FunctionName=function)
    for table in one.tables.values():
        yield f"table {table}", call("dynamodb", "describe_table", active, TableName=table)


def _waiting(session: Session, url: str) -> str:
    found = depth(session, url)
    return f"{found['waiting'] + found['delayed']:,} waiting, {found['leased']:,} leased"


def _canary(session: Session, places: Places, pipeline: Pipeline, patience: float) -> Check:
    """Put one, wait for its marks, and clear everything of it away, whatever became of it."""
    key = canary_key(pipeline.source.prefix, pipeline.source.suffix, secrets.token_hex(6))
    started = time.monotonic()

    def look() -> str:
        with session.wrapped(places.landing, "headrace verify again"):
            session.client("s3").put_object(Bucket=places.landing, Key=key, Body=b"")
        marks: dict[str, str] = {}
        while time.monotonic() - started < patience:
            marks = canary.marks(session, places.ledger, pipeline.name, key)
            if "published_at" in marks:
                return "came through: event, queue, ingest, ledger, doorbell, publish"
            time.sleep(POLL)
        missing = "the publish function did not hear of it" if "taken_at" in marks else "it was not taken by ingest"
        raise InfrastructureError("HR841", pipeline.name, f"{missing} within {patience:.0f} s", LOGS)

    def cleared() -> str:
        try:
            return look()
        finally:
            with session.wrapped(places.landing, "headrace verify again"):
                empty(session, places.landing, f"{pipeline.source.prefix}{RESERVED}")
            canary.forget(session, places.ledger, pipeline.name, key)

    return _tried(f"canary of {pipeline.name}", cleared)
