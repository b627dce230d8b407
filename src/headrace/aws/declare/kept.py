"""What stands under a name that a stack declares without being the stack's: kept by an earlier `destroy`.

Buckets and tables CloudFormation takes up by itself (`ImportExistingResources`). A database of Glue it cannot, so it is
left out of the template and called by its name; a table of another key cannot be taken up at all. `plan` and `deploy`
both look here first, so that they speak of the same template.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from headrace.aws.operate.artifacts import OTHER_STACK, closed
from headrace.aws.operate.compare import Change, name_of
from headrace.aws.operate.owned import DATA, KINDS, Scope, foreign, owner_of
from headrace.aws.operate.stack import Facts, Stack
from headrace.aws.session import Session, code_of, status_of

AGAIN = "run `headrace deploy` again"
OTHER_BUCKET = "give another `landing_bucket` or `lake_bucket` in the target's table"

DATABASE, TABLE, LOG_GROUP = "AWS::Glue::Database", "AWS::DynamoDB::Table", "AWS::Logs::LogGroup"


def taken_up(stack: Stack, scope: Scope, template: Mapping[str, Any], held: Collection[str]) -> dict[str, str]:
    """Logical id → name of buckets and tables that are there, and not in the stack: a change set takes them up.

    `held`: names of what the stack holds itself. Raises InfrastructureError HR848 for a bucket, table or database that
    is not the stack's by its tag: taken up it would be overwritten, and deleted with the stack's own data one day.
    HR832 for a bucket that cannot be looked at.
    """
    found: dict[str, str] = {}
    for id, one in template["Resources"].items():
        kind, name = KINDS.get(one["Type"]), name_of(id, one)
        if kind is None or kind not in DATA or name == id or name in held:
            continue
        if not _exists(stack.session, scope, kind, name):
            continue
        with stack.session.wrapped(f"{kind} {name}", AGAIN):
            owner = owner_of(stack.session, scope, (kind, name))
        if owner != scope.stack:
            raise foreign((kind, name), scope.stack, owner, OTHER_BUCKET if kind == "bucket" else OTHER_STACK)
        if kind != "database":
            found[id] = name
    return found


def _exists(session: Session, scope: Scope, kind: str, name: str) -> bool:
    match kind:
        case "bucket":
            return _bucket(session, name, scope.account)
        case "table":
            return bool(_keys(session, name))
        case _:
            return _there(session, name)


def _bucket(session: Session, bucket: str, account: str) -> bool:
    with session.wrapped(bucket, AGAIN):
        try:
            session.client("s3").head_bucket(Bucket=bucket, ExpectedBucketOwner=account)
        except ClientError as exc:
            if status_of(exc) == 403:
                raise closed(bucket, OTHER_BUCKET) from exc
            if status_of(exc) != 404:
                raise
            return False
    return True


def adopted(session: Session, template: Mapping[str, Any], held: Collection[str]) -> dict[str, Any]:
    """The template without databases that are there already. `held`: ids that the stack holds itself.

    Whether such a database is the stack's, `taken_up` has to have found out before.
    """
    names = {
        id: one["Properties"]["DatabaseInput"]["Name"]
        for id, one in template["Resources"].items()
        if one["Type"] == DATABASE and id not in held
    }
    return without(template, {id: name for id, name in names.items() if _there(session, name)})


def _there(session: Session, database: str) -> bool:
    with session.wrapped(f"database {database}", "try again"):
        try:
            session.client("glue").get_database(Name=database)
        except ClientError as exc:
            if code_of(exc) != "EntityNotFoundException":
                raise
            return False
    return True


def without(template: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The template without these resources (by id); whoever refers to one gets its name instead."""
    resources = {id: _named(one, names) for id, one in template["Resources"].items() if id not in names}
    for one in resources.values():
        if "DependsOn" in one:
            one["DependsOn"] = [id for id in _listed(one["DependsOn"]) if id not in names]
    return {**template, "Resources": resources, "Outputs": _named(template.get("Outputs", {}), names)}


def _named(value: Any, names: Mapping[str, str]) -> Any:
    match value:
        case {"Ref": str(id)} if id in names:
            return names[id]
        case {"Fn::Sub": str(text)}:
            for id, name in names.items():
                text = text.replace(f"${{{id}}}", name)
            return {"Fn::Sub": text} if "${" in text else text
        case Mapping():
            return {key: _named(one, names) for key, one in value.items()}
        case list():
            return [_named(one, names) for one in value]
        case _:
            return value


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def strays(stack: Stack, template: Mapping[str, Any], facts: Facts | None) -> list[str]:
    """Log groups that are there under a declared name, and not the stack's: functions that outlived it made them."""
    held = stack.resources() if facts is not None and facts.stands else {}
    names = {
        one["Properties"]["LogGroupName"]
        for id, one in template["Resources"].items()
        if one["Type"] == LOG_GROUP and id not in held
    }
    if not names:
        return []
    with stack.session.wrapped("CloudWatch Logs", "try again"):
        pages = stack.session.client("logs").get_paginator("describe_log_groups")
        found = {
            g["logGroupName"]
            for n in sorted(names)
            for p in pages.paginate(logGroupNamePrefix=n)
            for g in p["logGroups"]
        }
    return sorted(names & found)


def misfits(session: Session, template: Mapping[str, Any]) -> Iterator[Change]:
    """Tables that are there with another key than the template declares, whether the stack holds them or not."""
    for id, one in template["Resources"].items():
        name = one.get("Properties", {}).get("TableName")
        if one["Type"] == TABLE and isinstance(name, str) and (found := _keys(session, name)):
            shall = keys_of(one["Properties"])
            if found != shall:
                yield Change("replaced", id, TABLE, name, ("KeySchema",), True, "its key schema changes")


def _keys(session: Session, table: str) -> list[tuple[str, str, str]]:
    """The key of a table that is there; [] where there is none."""
    with session.wrapped(f"table {table}", "try again"):
        try:
            found: Mapping[str, Any] = session.client("dynamodb").describe_table(TableName=table)["Table"]
        except ClientError as exc:
            if code_of(exc) != "ResourceNotFoundException":
                raise
            return []
    return keys_of(found)


def keys_of(table: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(attribute, HASH or RANGE, type) of a table's key, as a template and DescribeTable both have it."""
    types = {one["AttributeName"]: one["AttributeType"] for one in table["AttributeDefinitions"]}
    return sorted((one["AttributeName"], one["KeyType"], types[one["AttributeName"]]) for one in table["KeySchema"])
