"""What all builders of resources share: the stack's names, ARNs and tags, and how one value refers to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.aws.declare.names import Names, logical
from headrace.aws.declare.resources.values import Waiver
from headrace.aws.options import AwsOptions
from headrace.model.pipeline import Keyed, Lake, Pipeline

SSE_SQS = Waiver(
    "CKV_AWS_27", "SQS's own key encrypts it, which the check does not know; S3 cannot send under AWS's key for SQS"
)

LANDING, LAKE, LEDGER = "Landing", "Lake", "Ledger"
ALERTS, OPERATIONS, ARRIVALS = "Alerts", "Operations", "Arrivals"
DATABASE, WORKGROUP = "Database", "Workgroup"
"""Logical ids of what a stack has once."""

RESULTS = "athena"
"""Folder of the lake bucket for answers of Athena. Nothing notifies of it, and it empties itself."""

ARCHIVE = ".headrace/archive"
"""Folder of the landing bucket for what was moved out of the way."""

BODIES = "ledger"
"""Folder of the lake bucket for what is too long for an item of the ledger."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One stack under construction."""

    project: str
    options: AwsOptions
    target: str

    @property
    def names(self) -> Names:
        return Names(self.options.stack, self.options.region)

    @property
    def landing(self) -> str:
        return self.options.landing_bucket or self.names.bucket("landing")

    @property
    def lake(self) -> str:
        return self.options.lake_bucket or self.names.bucket("lake")

    def tags(self, pipeline: Pipeline | None = None) -> tuple[tuple[str, str], ...]:
        """What the bill can be split by, and what people asked for."""
        own = {"headrace-project": self.project, "headrace-stack": self.options.stack}
        if pipeline is not None:
            own["headrace-pipeline"] = pipeline.name
        return tuple(sorted({**dict(self.options.tags), **own}.items()))

    def shared(self, id: str, why: str, **more: Any) -> Mapping[str, Any]:
        """The fields that every resource of the stack has."""
        return {"id": id, "why": why, "tags": self.tags(), **more}

    def of(self, pipeline: Pipeline, kind: str, why: str, **more: Any) -> Mapping[str, Any]:
        """The fields that every resource of one pipeline has."""
        return {"id": logical(pipeline.name, kind), "why": why, "tags": self.tags(pipeline), **more}

    def arn(self, service: str, rest: str) -> str:
        """An ARN of this account and region."""
        return f"arn:${{AWS::Partition}}:{service}:${{AWS::Region}}:${{AWS::AccountId}}:{rest}"

    def bucket_arn(self, bucket: str, keys: str | None = None) -> str:
        """A bucket, or the objects whose keys match `keys`."""
        return f"arn:${{AWS::Partition}}:s3:::{bucket}" + (f"/{keys}" if keys is not None else "")

    def queue_arn(self, pipeline: Pipeline, what: str) -> str:
        return self.arn("sqs", self.names.queue(pipeline.name, what))

    def topic_arn(self, what: str) -> str:
        return self.arn("sns", self.names.topic(what))

    def of_role(self, pipeline: Pipeline, role: str, on: str) -> tuple[str, ...]:
        """The ARNs of what `aws.policy` calls `on`, for one function of one pipeline."""
        match on:
            case "logs":
                return (self.arn("logs", f"log-group:{self.names.log_group(pipeline.name, role)}:*"),)
            case "events":
                return (self.queue_arn(pipeline, "events"),)
            case "bell":
                return (self.queue_arn(pipeline, "publish"),)
            case "landing":
                return (self.bucket_arn(self.landing),)
            case "objects":
                return (self.bucket_arn(self.landing, f"{pipeline.source.prefix}*"),)
            case "archive":
                return (self.bucket_arn(self.landing, f"{ARCHIVE}/*"),)
            case "lake":
                return (self.bucket_arn(self.lake),)
            case "base":
                return tuple(self.bucket_arn(self.lake, f"{folder}/*") for folder in folders_of(pipeline))
            case "bodies":
                return (self.bucket_arn(self.lake, f"{BODIES}/{pipeline.name}/*"),)
            case "ledger":
                return (self.arn("dynamodb", f"table/{self.names.ledger}"),)
            case "keyed":
                return tuple(self.arn("dynamodb", f"table/{self.names.keyed(s.table)}") for s in keyed_of(pipeline))
            case "catalog":
                return self._catalog(pipeline)
            case "alerts":
                return (self.topic_arn("alerts"),)
            case _:
                raise AssertionError(on)

    def _catalog(self, pipeline: Pipeline) -> tuple[str, ...]:
        database = self.names.database
        tables = tuple(self.arn("glue", f"table/{database}/{s.table}") for s in lakes_of(pipeline))
        return (self.arn("glue", "catalog"), self.arn("glue", f"database/{database}"), *tables) if tables else ()


def lakes_of(pipeline: Pipeline) -> tuple[Lake, ...]:
    return tuple(s for s in pipeline.sinks if isinstance(s, Lake))


def keyed_of(pipeline: Pipeline) -> tuple[Keyed, ...]:
    return tuple(s for s in pipeline.sinks if isinstance(s, Keyed))


def folders_of(pipeline: Pipeline) -> tuple[str, ...]:
    """The folders of the base's files and of its tables, as every home names them."""
    return tuple(f"lake/{s.table}" for s in lakes_of(pipeline)) or (f"staged/{pipeline.name}",)
