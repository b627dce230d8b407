"""What a project wants of AWS: its template, its tables, and which of its names it shares with nobody.

Pure but for reading the project's saved queries: it asks no account. `plan`, `deploy` and `destroy` begin here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headrace.aws.declare.cost import Cost, Sample, cost
from headrace.aws.declare.names import ACCOUNT, Names
from headrace.aws.declare.resources import Resource, read_queries, resources
from headrace.aws.declare.resources.functions import CODE
from headrace.aws.declare.template import EXTRAS, template
from headrace.aws.operate.compare import METADATA
from headrace.aws.operate.owned import Scope, scope_of
from headrace.aws.operate.stack import PROJECT_TAG, STACK_TAG
from headrace.aws.options import AwsOptions, Role
from headrace.model.pipeline import Keyed, Pipeline


@dataclass(frozen=True, slots=True)
class Declared:
    """A project's stack as it shall be. `account` is known once there are credentials."""

    project: str
    options: AwsOptions
    pipelines: Mapping[str, Pipeline]
    directory: Path
    target: str
    account: str | None = None

    def at(self, account: str) -> Declared:
        return replace(self, account=account)

    @property
    def names(self) -> Names:
        """Without an account every name that holds it has a placeholder instead."""
        return Names(self.options.stack, self.options.region, self.account or ACCOUNT)

    @property
    def template(self) -> dict[str, Any]:
        """The template, with what is said of the tables: CloudFormation passes it over, `compare` judges by it."""
        queries = read_queries(self.directory)
        made = template(self.project, list(self.pipelines.values()), self.options, queries, self.target)
        return {**made, "Metadata": {METADATA: {"tables": tables(self.pipelines)}}}

    @property
    def _resources(self) -> tuple[Resource, ...]:
        queries, pipelines = read_queries(self.directory), list(self.pipelines.values())
        return resources(self.project, pipelines, self.options, queries, self.target)

    @property
    def parts(self) -> dict[str, str]:
        """Which part of the stack each resource is of, by id."""
        return {one.id: one.part for one in self._resources}

    def cost(self, sample: Sample | None) -> Cost:
        """What the stack costs as it stands, and by a metered sample for each million rows."""
        return cost(self._resources, self.options, sample)

    @property
    def tags(self) -> dict[str, str]:
        """Of the stack itself; its resources have their own."""
        return {**dict(self.options.tags), PROJECT_TAG: self.project, STACK_TAG: self.options.stack}

    @property
    def parameters(self) -> dict[str, str]:
        """Those of the template that are no keys of code; CloudFormation takes none that the template lacks."""
        known = self.template["Parameters"]
        return {EXTRAS: "yes" if self.options.extras else "no"} if EXTRAS in known else {}

    @property
    def code_parameters(self) -> dict[str, Role]:
        """Parameter of the template → function whose package it names."""
        return {parameter: role for role, parameter in CODE.items()}

    @property
    def artifacts(self) -> str:
        return self.names.bucket("artifacts")

    @property
    def scope(self) -> Scope:
        """What of an account is this stack's, as far as its definition tells."""
        assert self.account is not None
        return scope_of(self.options.stack, self.template, self.account, self.options.region, self.artifacts)


def tables(pipelines: Mapping[str, Pipeline]) -> dict[str, dict[str, Any]]:
    """What becomes unreadable when it changes: each table's kind, key, and partitioning."""
    found: dict[str, dict[str, Any]] = {}
    for name, pipeline in sorted(pipelines.items()):
        key = list(pipeline.record.__options__.key)
        for sink in pipeline.sinks:
            if isinstance(sink, Keyed):
                about = {"kind": "keyed", "key": key}
            else:
                about = {"kind": "lake", "partitions": list(sink.partition_by)}
            found[sink.table] = {"pipeline": name, **about}
    return found
