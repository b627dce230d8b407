"""What holds data: landing and lake buckets, the ledger, tables of keyed sinks. All of it outlives its stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from headrace.aws.declare.names import logical
from headrace.aws.declare.resources.arrivals import EVENTS, Direct, Shared, Way
from headrace.aws.declare.resources.scope import LAKE, LANDING, LEDGER, RESULTS, Scope, keyed_of
from headrace.aws.declare.resources.values import (
    Bucket,
    Guard,
    Index,
    KeyColumn,
    Lifetime,
    Notification,
    Resource,
    Table,
    Waiver,
)
from headrace.aws.declare.statements import Statement
from headrace.aws.keyed_layout import Values, key_schema
from headrace.model.pipeline import Pipeline

IA_AFTER = 90
"""Days after which storage costs half and reading costs extra: what is still read then is read rarely."""

OLD_VERSIONS = {"landing": 90, "lake": 30}
"""Days for which an overwritten or deleted object can be brought back."""

OWN_KEY = "a key that DynamoDB owns encrypts it; one of the account's in KMS would add a price per request and a policy"
LOGS = "the ledger tells who read and wrote what; set `access_logs` to a bucket that takes S3's own logs"


def storage(scope: Scope, pipelines: Sequence[Pipeline], ways: Sequence[Way]) -> Iterator[Resource]:
    """Buckets with their guards, then tables."""
    yield _landing(scope, ways)
    yield _tls_only(scope, LANDING, scope.landing)
    yield _lake(scope)
    yield _tls_only(scope, LAKE, scope.lake)
    yield Table(
        **scope.shared(LEDGER, "The durable truth about every pipeline of the stack: what was seen, staged, decided."),
        keep=True,
        waivers=(Waiver("CKV_AWS_119", OWN_KEY),),
        name=scope.names.ledger,
        partition=KeyColumn("pk", "S"),
        sort=KeyColumn("sk", "S"),
    )
    for pipeline in pipelines:
        yield from _tables(scope, pipeline)


def _bucket_waivers(scope: Scope) -> tuple[Waiver, ...]:
    return () if scope.options.access_logs else (Waiver("CKV_AWS_18", LOGS),)


def _landing(scope: Scope, ways: Sequence[Way]) -> Bucket:
    return Bucket(
        **scope.shared(LANDING, "Where files arrive. Versioned: what is read is pinned to one version."),
        keep=True,
        waivers=_bucket_waivers(scope),
        after=tuple(_guards(ways)),
        name=scope.landing,
        notifications=tuple(n for event in EVENTS for way in ways for n in _notifications(scope, way, event)),
        lifetimes=(
            Lifetime(
                "RarelyReadLater",
                infrequent_after=IA_AFTER,
                expire_old_versions_after=OLD_VERSIONS["landing"],
                abort_uploads_after=7,
                clear_markers=True,
            ),
        ),
        access_logs=scope.options.access_logs,
    )


def _guards(ways: Sequence[Way]) -> Iterator[str]:
    """S3 tries each notification when it is configured: whoever is told must already let it."""
    yield from (logical(way.pipeline.name, "EventsPolicy") for way in ways if isinstance(way, Direct))
    if any(isinstance(way, Shared) for way in ways):
        yield "ArrivalsPolicy"


def _notifications(scope: Scope, way: Way, event: str) -> Iterator[Notification]:
    match way:
        case Direct(pipeline, filters):
            for one in filters:
                arn = f"${{{logical(pipeline.name, 'Events')}.Arn}}"
                yield Notification(event, one.prefix, one.suffix, "queue", arn)  # type: ignore[arg-type]
        case Shared(prefix):
            yield Notification(event, prefix, "", "topic", "${Arrivals}")  # type: ignore[arg-type]


def _lake(scope: Scope) -> Bucket:
    old = OLD_VERSIONS["lake"]
    return Bucket(
        **scope.shared(LAKE, "Parquet and Iceberg's metadata, long items of the ledger, answers of Athena."),
        keep=True,
        waivers=_bucket_waivers(scope),
        name=scope.lake,
        lifetimes=(
            Lifetime("AnswersAreForNow", f"{RESULTS}/", expire_after=7, expire_old_versions_after=1),
            Lifetime(
                "RarelyReadLater",
                infrequent_after=IA_AFTER,
                expire_old_versions_after=old,
                abort_uploads_after=7,
                clear_markers=True,
            ),
        ),
        access_logs=scope.options.access_logs,
    )


def _tls_only(scope: Scope, bucket: str, name: str) -> Guard:
    return Guard(
        **{**scope.shared(f"{bucket}Policy", "Whoever may use the bucket may do so over TLS alone."), "tags": ()},
        of="bucket",
        on=f"${{{bucket}}}",
        statements=(
            Statement(
                "TlsOnly",
                ("s3:*",),
                (scope.bucket_arn(name), scope.bucket_arn(name, "*")),
                "a denial is meant to be wide: everything that is not over TLS",
                effect="Deny",
                principals=("*",),
                conditions={"Bool": {"aws:SecureTransport": "false"}},
            ),
        ),
    )


def _tables(scope: Scope, pipeline: Pipeline) -> Iterator[Table]:
    """With the keys and the sparse indexes that the writer and the lookup of such a table know."""
    for sink in keyed_of(pipeline):
        attributes, keys, indexes = key_schema(pipeline, sink)
        types = {one["AttributeName"]: one["AttributeType"] for one in attributes}
        partition, sort = _keys(keys, types)
        yield Table(
            **{**scope.of(pipeline, "", f"Items of keyed table {sink.table!r}."), "id": logical(sink.table, "Items")},
            keep=True,
            waivers=(Waiver("CKV_AWS_119", OWN_KEY),),
            name=scope.names.keyed(sink.table),
            partition=partition,
            sort=sort,
            indexes=tuple(Index(one["IndexName"], *_keys(one["KeySchema"], types)) for one in indexes),
        )


def _keys(keys: Values, types: Mapping[str, Literal["S", "N"]]) -> tuple[KeyColumn, KeyColumn | None]:
    partition, *sort = (KeyColumn(one["AttributeName"], types[one["AttributeName"]]) for one in keys)
    return partition, sort[0] if sort else None
