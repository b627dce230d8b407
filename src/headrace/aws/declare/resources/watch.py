"""What tells people: two topics, alarms on the pipeline's health, one dashboard, a budget.

Each alarm's text ends with the command to type next and its section in the runbook. Data's own alerts go to one topic,
the pipeline's to another.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from headrace.aws.declare.names import logical
from headrace.aws.declare.resources.scope import ALERTS, OPERATIONS, Scope
from headrace.aws.declare.resources.values import (
    Alarm,
    Budget,
    Dashboard,
    Guard,
    Metric,
    Resource,
    Subscription,
    Topic,
    Waiver,
)
from headrace.aws.declare.statements import Statement
from headrace.model.errors import DefinitionError
from headrace.model.pipeline import Pipeline
from headrace.model.words import span_seconds

SILENCE = "2 hours"
"""Without `expect_every`, how long nothing may arrive."""

LONGEST_SILENCE = 7 * 86_400
"""Seconds that CloudWatch looks back at most, with periods of an hour."""

ERRORS, OLDEST = 5, 15 * 60
"""Failed invocations within five minutes, and seconds that an event may wait, before a person is told."""

NEXT = {
    "Errors": ("Errors", "logs --errors --since '1 hour' --pipeline {pipeline}"),
    "Stuck": ("The publisher does not come through", "status"),
    "Throttles": ("Throttles", "status"),
    "DeadLetters": ("Dead-letter queue not empty", "dlq ls {pipeline}"),
    "OldestEvent": ("Oldest event older than fifteen minutes", "status"),
    "NoData": ("No data", "verify"),
}
"""Kind of alarm → its heading in the runbook, and the command that names most causes."""

SERVICES_CANNOT = (
    "CloudWatch and Budgets cannot send to a topic under AWS's own key for SNS; alarms hold names, no data"
)


def topics(scope: Scope) -> Iterator[Resource]:
    """Where data's alerts and the pipeline's alarms go."""
    yield Topic(
        **scope.shared(ALERTS, "Alerts about data: what rules, contracts and loads have to tell."),
        name=scope.names.topic("alerts"),
        key="alias/aws/sns",
    )
    yield Topic(
        **scope.shared(OPERATIONS, "Alarms about the pipeline itself, and about its cost."),
        waivers=(Waiver("CKV_AWS_26", SERVICES_CANNOT),),
        name=scope.names.topic("operations"),
    )
    yield Guard(
        **{**scope.shared("OperationsPolicy", "Alarms and the budget of this account may be told here."), "tags": ()},
        of="topic",
        on=f"${{{OPERATIONS}}}",
        statements=(
            Statement(
                "AlarmsTell",
                ("sns:Publish",),
                (f"${{{OPERATIONS}}}",),
                "both services send in their own name",
                principals=("budgets.amazonaws.com", "cloudwatch.amazonaws.com"),
                conditions={"StringEquals": {"aws:SourceAccount": "${AWS::AccountId}"}},
            ),
        ),
    )
    people = (
        (OPERATIONS, scope.options.alarm_email, "A person hears of alarms once they confirmed by mail."),
        (ALERTS, scope.options.alerts_email, "A person hears of what data has to tell once they confirmed by mail."),
    )
    for topic, address, why in people:
        if address:
            yield Subscription(
                **{**scope.shared(f"{topic}Mail", why), "tags": ()},
                topic=f"${{{topic}}}",
                protocol="email",
                endpoint=address,
            )


def watch(scope: Scope, pipelines: Sequence[Pipeline]) -> Iterator[Resource]:
    """Alarms of each pipeline, then dashboard and budget."""
    for pipeline in pipelines:
        yield from _alarms(scope, pipeline)
    yield Dashboard(
        **{**scope.shared("Overview", "What arrives, what waits, what fails, what it costs in time."), "tags": ()},
        name=scope.names.dashboard,
        body=_lines(_widgets(scope, pipelines)),
    )
    if scope.options.budget:
        yield Budget(
            **scope.shared(
                "Budget", "Tells before the month's cost surprises; the tag must be active for cost allocation."
            ),
            extra=True,
            after=("OperationsPolicy",),  # which lets it tell
            name=scope.names.budget,
            amount=scope.options.budget,
            tag=("headrace-stack", scope.options.stack),
            topic=f"${{{OPERATIONS}}}",
        )


def _alarms(scope: Scope, pipeline: Pipeline) -> Iterator[Alarm]:
    silence = _silence(pipeline)

    def alarm(kind: str, why: str, metric: Metric, threshold: float, period: int = 300, **more: Any) -> Alarm:
        name = scope.names.alarm(pipeline.name, "-".join(_words(kind)))
        section, command = NEXT[kind.removeprefix("Ingest").removeprefix("Publish")]
        typed = f"headrace {command.format(pipeline=pipeline.name)} --target {scope.target}"
        fields = {"beyond": "more", "periods": 1, **more}
        return Alarm(
            **scope.of(pipeline, kind, why),
            name=name,
            next=f"Next: `{typed}`. Runbook: docs/aws/runbooks.md, {section}.",
            metric=metric,
            threshold=threshold,
            period=period,
            topic=f"${{{OPERATIONS}}}",
            **fields,
        )

    for role in ("Ingest", "Publish"):
        why = f"The {role.lower()} function failed more than {ERRORS} times within 5 minutes."
        yield alarm(f"{role}Errors", why, _function(scope, pipeline, role, "Errors"), ERRORS)
        why = f"Lambda held the {role.lower()} function back: the account's concurrency is used up."
        yield alarm(f"{role}Throttles", why, _function(scope, pipeline, role, "Throttles"), 0)
    yield alarm(
        "PublishStuck",
        "The publish function failed again and again for a quarter of an hour: nothing new comes to stand.",
        _function(scope, pipeline, "Publish", "Errors"),
        0,
        periods=3,
    )
    why = "SQS gave up events, since their function died each time before it could say why."
    yield alarm("DeadLetters", why, _queue(scope, pipeline, "dlq", "ApproximateNumberOfMessagesVisible", "Maximum"), 0)
    why = "An event has waited for more than 15 minutes: ingest does not keep up, or stands still."
    yield alarm(
        "OldestEvent", why, _queue(scope, pipeline, "events", "ApproximateAgeOfOldestMessage", "Maximum"), OLDEST
    )
    yield alarm(
        "NoData",
        f"Nothing arrived for {pipeline.expect_every or SILENCE}; what Headrace itself puts into the queue (scans, "
        "replays, canaries, events that are asked for again) counts as arriving.",
        _queue(scope, pipeline, "events", "NumberOfMessagesSent", "Sum"),
        1,
        period=3600 if silence >= 3600 else 60,
        periods=max(1, round(silence / (3600 if silence >= 3600 else 60))),
        beyond="less",
    )


def _silence(pipeline: Pipeline) -> float:
    seconds = span_seconds(pipeline.expect_every or SILENCE)
    if seconds > LONGEST_SILENCE:
        which = f"{pipeline.where} pipeline {pipeline.name!r}".strip()
        found = f"expect_every={pipeline.expect_every!r} is longer than CloudWatch looks back"
        raise DefinitionError("HR806", which, found, "give at most 7 days")
    return seconds


def _words(kind: str) -> list[str]:
    """`OldestEvent` → oldest, event."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in kind).split()


def _function(scope: Scope, pipeline: Pipeline, role: str, metric: str) -> Metric:
    dimension = ("FunctionName", f"${{{logical(pipeline.name, role)}}}")
    return Metric("AWS/Lambda", metric, dimension, "Sum")


def _queue(scope: Scope, pipeline: Pipeline, what: str, metric: str, statistic: Any) -> Metric:
    return Metric("AWS/SQS", metric, ("QueueName", scope.names.queue(pipeline.name, what)), statistic)


def _lines(widgets: Iterator[dict[str, Any]]) -> str:
    """The dashboard as JSON with one widget on each line, so that a changed one can be seen."""
    said = ",\n".join(json.dumps(widget) for widget in widgets)
    return f'{{"widgets": [\n{said}\n]}}'


def _widgets(scope: Scope, pipelines: Sequence[Pipeline]) -> Iterator[dict[str, Any]]:
    """Three graphs side by side for each pipeline, under its name."""
    for row, pipeline in enumerate(pipelines):
        names, top = scope.names, row * 7
        events, dlq = (names.queue(pipeline.name, what) for what in ("events", "dlq"))
        functions = [names.function(pipeline.name, role) for role in ("ingest", "publish")]
        yield {"type": "text", "x": 0, "y": top, "width": 24, "height": 1} | {
            "properties": {"markdown": f"## {pipeline.name}"}
        }
        arriving = [
            ["AWS/SQS", "NumberOfMessagesSent", "QueueName", events, {"stat": "Sum", "label": "events"}],
            [
                "AWS/SQS",
                "ApproximateAgeOfOldestMessage",
                "QueueName",
                events,
                {"label": "oldest (s)", "yAxis": "right"},
            ],
            ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", dlq, {"label": "dead letters"}],
        ]
        failing = [
            ["AWS/Lambda", metric, "FunctionName", function, {"stat": "Sum"}]
            for function in functions
            for metric in ("Invocations", "Errors", "Throttles")
        ]
        lasting = [
            ["AWS/Lambda", "Duration", "FunctionName", function, {"stat": stat}]
            for function in functions
            for stat in ("p50", "Maximum")
        ]
        for column, (title, metrics) in enumerate(
            (("Arriving", arriving), ("Working", failing), ("Milliseconds", lasting))
        ):
            yield {"type": "metric", "x": 8 * column, "y": top + 1, "width": 8, "height": 6} | {
                "properties": {"title": title, "region": "${AWS::Region}", "stat": "Maximum", "metrics": metrics}
            }
