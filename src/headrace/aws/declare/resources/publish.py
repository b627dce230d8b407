"""From staged loads to revisions in the sinks: the doorbell, the publisher, the sweep and the scan."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.aws.declare.names import logical
from headrace.aws.declare.resources.functions import function
from headrace.aws.declare.resources.ingest import queue_guard
from headrace.aws.declare.resources.scope import SSE_SQS, Scope
from headrace.aws.declare.resources.values import Once, Permission, Queue, Resource, Rule
from headrace.model.pipeline import Pipeline

RINGS = 3600
"""Seconds that a ring is kept: each minute's sweep makes up for a lost one."""

AT_ONCE = 2
"""Publishers of a pipeline that may start at once, the least that SQS allows: the second finds the lock held."""


def publish(scope: Scope, pipeline: Pipeline) -> Iterator[Resource]:
    """Doorbell, function and schedules of one pipeline."""
    yield Queue(
        **scope.of(pipeline, "Bell", "The publisher's doorbell: a message says that something is staged, and no more."),
        waivers=(SSE_SQS,),
        name=scope.names.queue(pipeline.name, "publish"),
        visibility=6 * scope.options.publish_timeout,
        retention=RINGS,
    )
    yield queue_guard(scope, pipeline, "Bell")
    yield from function(
        scope,
        pipeline,
        "publish",
        why="Decides, as the only one, which loads stand, and brings the sinks there.",
        queue="Bell",
        batch=10,
        window=0,
        concurrency=AT_ONCE,
    )
    name = logical(pipeline.name, "Publish")
    yield Once(
        **{
            **scope.of(pipeline, "PublishOnce", "A failed sweep is not repeated: the next one comes anyway."),
            "tags": (),
        },
        function=f"${{{name}}}",
        age=60,
    )
    yield from _schedule(scope, pipeline, "sweep", "publish", 60, "Covers lost rings and finishes what a crash left.")
    why = "Compares bucket and ledger, and asks for a look wherever they differ: what no event told of."
    yield from _schedule(scope, pipeline, "scan", "scan", scope.options.scan_every, why)


def _schedule(scope: Scope, pipeline: Pipeline, what: str, do: str, seconds: int, why: str) -> Iterator[Resource]:
    kind, function = what.capitalize(), f"${{{logical(pipeline.name, 'Publish')}.Arn}}"
    yield Rule(
        **scope.of(pipeline, kind, why),
        name=scope.names.rule(pipeline.name, what),
        schedule=every(seconds),
        function=function,
        input={"do": do},
    )
    yield Permission(
        **{**scope.of(pipeline, f"{kind}Permission", f"Only this rule may start the {what}."), "tags": ()},
        function=function,
        rule=f"${{{logical(pipeline.name, kind)}.Arn}}",
    )


def every(seconds: int) -> str:
    """EventBridge's words for a span, in whole minutes."""
    minutes = max(1, round(seconds / 60))
    for size, unit in ((1440, "day"), (60, "hour"), (1, "minute")):
        if minutes % size == 0:
            many = minutes // size
            return f"rate({many} {unit}{'' if many == 1 else 's'})"
    raise AssertionError(seconds)
