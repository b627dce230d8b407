"""From an object's event to a staged load: queues, the function that reads, and what it may do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headrace.aws.declare.names import logical
from headrace.aws.declare.resources.arrivals import Shared, Way
from headrace.aws.declare.resources.functions import function
from headrace.aws.declare.resources.scope import ARRIVALS, SSE_SQS, Scope
from headrace.aws.declare.resources.values import DeadLetters, Guard, Queue, Resource, Subscription, Topic, Waiver
from headrace.aws.declare.statements import Statement
from headrace.model.pipeline import Pipeline

RETENTION = 14 * 86_400
"""Seconds that SQS keeps a message at most: nothing may run out while people are away."""

MARGIN = 7
"""Deliveries beyond our own `max_receives`. The ledger buries first; SQS only catches what our code never saw."""

S3_CANNOT = "S3 cannot send to a topic under AWS's own key for SNS; an event holds a key and no data"


def arrivals(scope: Scope, ways: Sequence[Way]) -> Iterator[Resource]:
    """The topic for pipelines whose prefixes overlap, if there are any."""
    if not any(isinstance(way, Shared) for way in ways):
        return
    why = "Tells several pipelines of one object: S3 allows no two notifications with overlapping prefixes."
    yield Topic(
        **scope.shared(ARRIVALS, why),
        waivers=(Waiver("CKV_AWS_26", S3_CANNOT),),
        name=scope.names.topic("arrivals"),
    )
    yield Guard(
        **{**scope.shared("ArrivalsPolicy", "Only the landing bucket may tell of arrivals."), "tags": ()},
        of="topic",
        on=f"${{{ARRIVALS}}}",
        statements=(
            Statement(
                "LandingBucketTells",
                ("sns:Publish",),
                (f"${{{ARRIVALS}}}",),
                "S3 sends notifications in its own name",
                principals=("s3.amazonaws.com",),
                conditions=_from(scope.bucket_arn(scope.landing)),
            ),
        ),
    )


def ingest(scope: Scope, pipeline: Pipeline, way: Way) -> Iterator[Resource]:
    """Queue, dead letters and function of one pipeline."""
    yield from _queues(scope, pipeline, way)
    yield from function(
        scope,
        pipeline,
        "ingest",
        why="Reads each object that an event names and stages its rows.",
        queue="Events",
        batch=scope.options.settings.batch_files,
        window=scope.options.batch_window,
        concurrency=scope.options.concurrency,
    )


def _queues(scope: Scope, pipeline: Pipeline, way: Way) -> Iterator[Resource]:
    names, dlq = scope.names, logical(pipeline.name, "Dlq")
    events = logical(pipeline.name, "Events")
    yield Queue(
        **scope.of(
            pipeline,
            "Dlq",
            "Events whose function died before it could bury them; `headrace dlq` shows and redrives them.",
        ),
        waivers=(SSE_SQS,),
        name=names.queue(pipeline.name, "dlq"),
        visibility=scope.options.visibility,
        retention=RETENTION,
        fed_by=scope.queue_arn(pipeline, "events"),
    )
    yield Queue(
        **scope.of(pipeline, "Events", "Events that say: look at this object."),
        waivers=(SSE_SQS,),
        name=names.queue(pipeline.name, "events"),
        visibility=scope.options.visibility,
        retention=RETENTION,
        dead_letters=DeadLetters(f"${{{dlq}.Arn}}", scope.options.settings.max_receives + MARGIN),
    )
    shared = isinstance(way, Shared)
    source = f"${{{ARRIVALS}}}" if shared else scope.bucket_arn(scope.landing)
    sender = "sns.amazonaws.com" if shared else "s3.amazonaws.com"
    yield queue_guard(
        scope,
        pipeline,
        "Events",
        Statement(
            "ArrivalsAreTold",
            ("sqs:SendMessage",),
            (f"${{{events}.Arn}}",),
            "notifications are sent in the service's own name, for this bucket or topic alone",
            principals=(sender,),
            conditions=_from(source),
        ),
    )
    yield queue_guard(scope, pipeline, "Dlq")
    if isinstance(way, Shared):
        yield Subscription(
            **{**scope.of(pipeline, "Arrivals", "Hears of every object below the shared prefix."), "tags": ()},
            after=(logical(pipeline.name, "EventsPolicy"),),
            topic=f"${{{ARRIVALS}}}",
            protocol="sqs",
            endpoint=f"${{{events}.Arn}}",
        )


def queue_guard(scope: Scope, pipeline: Pipeline, kind: str, *more: Statement) -> Guard:
    """TLS alone, and nobody outside the account's roles but who is named in `more`."""
    queue = logical(pipeline.name, kind)
    return Guard(
        **{**scope.of(pipeline, f"{kind}Policy", "Who may use the queue besides the account's own roles."), "tags": ()},
        of="queue",
        on=f"${{{queue}}}",
        statements=(
            Statement(
                "TlsOnly",
                ("sqs:*",),
                (f"${{{queue}.Arn}}",),
                "a denial is meant to be wide: everything that is not over TLS",
                effect="Deny",
                principals=("*",),
                conditions={"Bool": {"aws:SecureTransport": "false"}},
            ),
            *more,
        ),
    )


def _from(arn: str) -> dict[str, dict[str, str]]:
    """The account as well: a bucket of that name may come to belong to somebody else."""
    return {"ArnEquals": {"aws:SourceArn": arn}, "StringEquals": {"aws:SourceAccount": "${AWS::AccountId}"}}
