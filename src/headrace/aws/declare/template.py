"""Resource values as one CloudFormation template that a person can read: stable order, and why beside each thing.

`document` is the template as plain data, `to_yaml` its text; both are pure. Called by `plan` and `deploy`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from headrace.aws.declare.cfn import tag_list, text, typed
from headrace.aws.declare.resources import resources
from headrace.aws.declare.resources.functions import places
from headrace.aws.declare.resources.scope import Scope
from headrace.aws.declare.resources.values import Budget, Resource, Workgroup
from headrace.aws.declare.statements import Statement
from headrace.aws.options import AwsOptions
from headrace.model.pipeline import Pipeline

EXTRAS = "Extras"
"""Parameter and condition: whether saved queries and the budget are part of the stack."""

CODE_KEYS = ("IngestCode", "PublishCode")
"""Parameters: where the packages are in the artifacts bucket. Their names change with their content."""

LIMIT = 51_200
"""Bytes of a template that can be sent as it is; a longer one goes through a bucket."""


def template(
    project: str,
    pipelines: Sequence[Pipeline],
    options: AwsOptions,
    queries: Mapping[str, str] | None = None,
    target: str = "aws",
) -> dict[str, Any]:
    """The whole template of a project's stack, and in its outputs what `Places.from_outputs` reads."""
    about = f"Headrace project {project}: {', '.join(p.name for p in pipelines)}"[:1024]
    outputs = places(Scope(project, options, target), pipelines).to_outputs()
    return document(resources(project, pipelines, options, queries, target), outputs, about, options.extras)


def document(
    values: Iterable[Resource], outputs: Mapping[str, str], about: str = "", extras: bool = True
) -> dict[str, Any]:
    """The template as plain data. `outputs` may hold placeholders; `about` says whose stack it is.

    The parameter Extras is there only if there are any.
    """
    values = tuple(values)
    optional = any(one.extra for one in values)
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": about,
        "Parameters": {**_code_keys(), **(_extras(extras) if optional else {})},
        **({"Conditions": {EXTRAS: {"Fn::Equals": [{"Ref": EXTRAS}, "yes"]}}} if optional else {}),
        "Resources": {one.id: _resource(one) for one in values},
        "Outputs": {name: {"Value": text(value)} for name, value in outputs.items()},
    }


def _code_keys() -> dict[str, Any]:
    about = {
        "IngestCode": "Key of the ingest function's package in the artifacts bucket.",
        "PublishCode": "Key of the publish function's package in the artifacts bucket.",
    }
    return {name: {"Type": "String", "MinLength": 1, "Description": about[name]} for name in CODE_KEYS}


def _extras(extras: bool) -> dict[str, Any]:
    return {
        EXTRAS: {
            "Type": "String",
            "AllowedValues": ["yes", "no"],
            "Default": "yes" if extras else "no",
            "Description": "no: without saved queries and budget, where the account does not have those services.",
        },
    }


def _resource(resource: Resource) -> dict[str, Any]:
    kind, properties = typed(resource)
    said: dict[str, Any] = {"Type": kind}
    if resource.extra:
        said["Condition"] = EXTRAS
    if resource.after:
        said["DependsOn"] = list(resource.after)
    if resource.keep:
        said |= {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}
    said["Metadata"] = _metadata(resource)
    said["Properties"] = {**properties, **_tags(resource)}
    return said


def _tags(resource: Resource) -> dict[str, Any]:
    if not resource.tags:
        return {}
    return {"ResourceTags" if isinstance(resource, Budget) else "Tags": tag_list(resource.tags)}


def _metadata(resource: Resource) -> dict[str, Any]:
    """Why it is there; which checks it does not keep, and why that is right; which statements are wide, and why."""
    said: dict[str, Any] = {"Why": resource.why}
    if isinstance(resource, Workgroup) and resource.left_out:
        said["SavedQueriesLeftOut"] = dict(resource.left_out)
    statements: Sequence[Statement] = getattr(resource, "statements", ())
    if statements:
        said["Statements"] = {s.sid: s.why for s in statements}
    skipped = [{"id": w.check, "comment": w.reason} for w in resource.waivers if w.check.startswith("CKV")]
    if skipped:
        said["checkov"] = {"skip": skipped}
    ignored = [w for w in resource.waivers if not w.check.startswith("CKV")]
    if ignored:
        said["cfn-lint"] = {"config": {"ignore_checks": [w.check for w in ignored]}}
        said["cfn-lint-reasons"] = {w.check: w.reason for w in ignored}
    return said
