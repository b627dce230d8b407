"""A function with its role, its log group and the queue that feeds it: the same for ingest and publish."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headrace.aws.declare.names import logical
from headrace.aws.declare.policy import INGEST, PUBLISH, WITH_ARCHIVE, WITH_KEYED, WITH_LAKE, statements
from headrace.aws.declare.resources.scope import ALERTS, LAKE, LANDING, LEDGER, OPERATIONS, Scope, keyed_of, lakes_of
from headrace.aws.declare.resources.values import Function, LogGroup, Mapped, Resource, Role, Waiver
from headrace.aws.options import Role as Name
from headrace.aws.places import PIPELINE, TARGET, VARIABLE, PipelinePlaces, Places
from headrace.model.pipeline import Pipeline

CODE: dict[Name, str] = {"ingest": "IngestCode", "publish": "PublishCode"}
"""Parameters of the template: keys of the packages in the artifacts bucket."""

FUNCTION_WAIVERS = (
    Waiver("CKV_AWS_115", "concurrency is bounded where the queue is mapped; a reservation would take it from others"),
    Waiver("CKV_AWS_116", "events wait in SQS, which has a dead-letter queue; a lost sweep is made up by the next"),
    Waiver("CKV_AWS_117", "it reaches AWS's own services alone; a network of its own would need paid endpoints"),
    Waiver("CKV_AWS_173", "its variables hold names of places and nothing secret; Lambda encrypts them at rest anyway"),
)
LOG_WAIVERS = (Waiver("CKV_AWS_158", "CloudWatch's own key encrypts it; logs hold counts and keys, never rows"),)


def function(
    scope: Scope, pipeline: Pipeline, role: Name, *, why: str, queue: str, batch: int, window: int, concurrency: int
) -> Iterator[Resource]:
    """One function of one pipeline and all that belongs to it alone."""
    options, kind = scope.options, role.capitalize()
    logs, may = logical(pipeline.name, f"{kind}Logs"), logical(pipeline.name, f"{kind}Role")
    yield LogGroup(
        **scope.of(pipeline, f"{kind}Logs", "One structured line per invocation, and traces of defects."),
        waivers=LOG_WAIVERS,
        name=scope.names.log_group(pipeline.name, role),
        days=options.log_days,
    )
    yield Role(
        **scope.of(pipeline, f"{kind}Role", f"What the {role} function calls, on what it touches, and nothing else."),
        statements=statements(parts_of(pipeline, role), lambda on: scope.of_role(pipeline, role, on)),
    )
    yield Function(
        **scope.of(pipeline, kind, why),
        waivers=FUNCTION_WAIVERS,
        name=scope.names.function(pipeline.name, role),
        handler=f"headrace.aws.handlers.{role}",
        role=f"${{{may}.Arn}}",
        logs=f"${{{logs}}}",
        bucket=scope.names.bucket("artifacts"),
        code=CODE[role],
        memory=options.memory(role),
        timeout=options.timeout(role),
        storage=options.storage(role),
        architecture=options.architecture,
        environment={
            VARIABLE: places(scope, [pipeline]).to_json(),
            PIPELINE: pipeline.name,
            TARGET: scope.target,
        },
    )
    yield Mapped(
        **scope.of(pipeline, f"{kind}Mapping", "What the function does not finish comes back, and nothing else."),
        queue=f"${{{logical(pipeline.name, queue)}.Arn}}",
        function=f"${{{logical(pipeline.name, kind)}}}",
        batch=batch,
        window=window,
        concurrency=concurrency,
    )


def parts_of(pipeline: Pipeline, role: Name) -> tuple[str, ...]:
    """What the function runs, in the words of `aws.policy`."""
    archive = WITH_ARCHIVE[role] if pipeline.source.after == "archive" else ()
    if role == "ingest":
        return (*INGEST, *archive)
    keyed, lake = (WITH_KEYED if keyed_of(pipeline) else ()), (WITH_LAKE if lakes_of(pipeline) else ())
    return (*PUBLISH, *archive, *keyed, *lake)


def places(scope: Scope, pipelines: Sequence[Pipeline]) -> Places:
    """Where everything is, in placeholders that CloudFormation fills."""
    names = scope.names
    return Places(
        stack=scope.options.stack,
        region="${AWS::Region}",
        account="${AWS::AccountId}",
        landing=f"${{{LANDING}}}",
        lake=f"${{{LAKE}}}",
        ledger=f"${{{LEDGER}}}",
        topic=f"${{{ALERTS}}}",
        operations=f"${{{OPERATIONS}}}",
        database=names.database,
        workgroup=names.workgroup,
        artifacts=names.bucket("artifacts"),
        pipelines={p.name: _of(scope, p) for p in pipelines},
    )


def _of(scope: Scope, pipeline: Pipeline) -> PipelinePlaces:
    def ref(kind: str) -> str:
        return f"${{{logical(pipeline.name, kind)}}}"

    return PipelinePlaces(
        queue=ref("Events"),
        dlq=ref("Dlq"),
        bell=ref("Bell"),
        ingest=scope.names.function(pipeline.name, "ingest"),
        publish=scope.names.function(pipeline.name, "publish"),
        tables={sink.table: f"${{{logical(sink.table, 'Items')}}}" for sink in keyed_of(pipeline)},
    )
