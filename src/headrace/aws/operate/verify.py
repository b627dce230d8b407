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
from headrace.aws.declare.names import Names
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

REPAIR = "`headrace deploy --repair` brings it back"

LOGS = "`headrace logs` shows what the functions said"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried. `note`: it is as it should be, and somebody should know nevertheless."""

    what: str
    ok: bool
    found: str
    next: str = ""
    seconds: float = 0.0
    note: bool = False

    @property
    def word(self) -> str:
        """How it came out: `ok`, `note` or `FAILED`."""
        return ("note" if self.note else "ok") if self.ok else "FAILED"

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
    yield from _healthy(session, places)
    reached = [_tried(what, look) for what, look in _looks(session, places)]
    yield from reached
    yield from _heard(session, places)
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


def _healthy(session: Session, places: Places) -> Iterator[Check]:
    """Alarms and dead letters. That a sender is silent is no defect of the stack, and only noted."""
    silences: list[str] = []

    def look() -> str:
        health = stack_health(session, places)
        silences.extend(health.silences)
        wrong = [*health.faults, *(alarm for alarm in health.alarms if alarm not in silences)]
        if wrong:
            raise InfrastructureError("HR841", "health", "; ".join(wrong), "headrace status")
        return f"no {'other ' if silences else ''}alarm is raised, nothing in the dead-letter queues"

    health = _tried("health", look)
    yield from (Check("data", True, said, note=True) for said in silences)
    yield health


def _heard(session: Session, places: Places) -> Iterator[Check]:
    """A note for each topic that nobody hears: subscriptions by mail count once somebody confirmed them."""
    for topic, option in ((places.operations, "alarm_email"), (places.topic, "alerts_email")):
        name = topic.rsplit(":", 1)[-1]
        try:
            with session.wrapped(name, ""):
                told = session.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]
        except InfrastructureError:
            continue  # the check of the topic itself has said so
        if int(told.get("SubscriptionsConfirmed", 0)) == 0:
            waits = int(told.get("SubscriptionsPending", 0))
            found = "a subscription waits for its confirmation by mail" if waits else "nobody has subscribed to it"
            how = "" if waits else f"; set `{option}` in the target's table, or subscribe something else"
            yield Check(f"who hears topic {name}", True, f"{found}, so nobody hears of it{how}", note=True)


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
        return _state("table", answer["Table"]["TableStatus"], ("ACTIVE",), "try again in a minute")

    yield f"bucket {places.landing}", call("s3", "head_bucket", Bucket=places.landing)
    yield f"bucket {places.lake}", call("s3", "head_bucket", Bucket=places.lake)
    yield f"table {places.ledger}", call("dynamodb", "describe_table", active, TableName=places.ledger)
    for topic in (places.topic, places.operations):
        yield f"topic {topic.rsplit(':', 1)[-1]}", call("sns", "get_topic_attributes", TopicArn=topic)
    yield f"database {places.database}", call("glue", "get_database", Name=places.database)
    yield f"workgroup {places.workgroup}", call("athena", "get_work_group", WorkGroup=places.workgroup)
    names = Names(places.stack, places.region, places.account)
    for name, one in sorted(places.pipelines.items()):
        yield from _looks_of(session, name, one, names, call, active)


def _looks_of(
    session: Session,
    name: str,
    one: PipelinePlaces,
    names: Names,
    call: Callable[..., Any],
    active: Callable[[Any], str],
) -> Iterator[tuple[str, Callable[[], str]]]:
    def ready(answer: Any) -> str:
        """A function that nothing called for weeks is inactive, and wakes up with the next call."""
        return _state("function", answer.get("State", "Active"), ("Active", "Inactive"), answer.get("StateReason", ""))

    def fed(answer: Any) -> str:
        states = [str(mapping["State"]) for mapping in answer["EventSourceMappings"]] or ["missing"]
        return ", ".join(_state("mapping", state, ("Enabled",), REPAIR) for state in states)

    def enabled(answer: Any) -> str:
        return _state("rule", answer["State"], ("ENABLED",), REPAIR)

    for what, url in (("events", one.queue), ("dead letters", one.dlq), ("doorbell", one.bell)):
        yield f"queue of {name}'s {what}", lambda url=url: _waiting(session, url)  # type: ignore[misc]
    for function in (one.ingest, one.publish):
        yield f"function {function}", call("lambda", "get_function_configuration", ready, FunctionName=function)
        yield f"events of {function}", call("lambda", "list_event_source_mappings", fed, FunctionName=function)
    for rule in (names.rule(name, what) for what in ("sweep", "scan")):
        yield f"rule {rule}", call("events", "describe_rule", enabled, Name=rule)
    for table in one.tables.values():
        yield f"table {table}", call("dynamodb", "describe_table", active, TableName=table)


def _state(which: str, state: str, good: tuple[str, ...], next: str) -> str:
    """The state in small letters. Raises InfrastructureError HR841 for one in which the thing does not work."""
    if state not in good:
        raise InfrastructureError("HR841", which, f"is {state.lower()}", next or REPAIR)
    return state.lower()


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
