"""What differs between two templates, and what of that loses rows or files: before anything happens.

A pure function of the two, so it needs no account. `plan.py` shows it, `deploy.py` refuses by it. What CloudFormation
replaces is told by a short table of the properties that our resources have; what we lose, by the kinds that hold data
and by what the template's metadata says of its tables. Who may do what is compared in `rights.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

from headrace.aws.declare.names import logical
from headrace.aws.operate import indexes

METADATA = "Headrace"
"""Key of the template's metadata. In it, `tables`: name → {"pipeline", "kind", "key" or "partitions"}."""

HOLDING = ("AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::Glue::Database", "AWS::Glue::Table")
"""Kinds whose resources hold rows or files, or are what makes them readable."""

CREATE_ONLY: Mapping[str, tuple[str, ...]] = {
    "AWS::Athena::NamedQuery": ("Database", "Description", "Name", "QueryString", "WorkGroup"),
    "AWS::Athena::WorkGroup": ("Name",),
    "AWS::Budgets::Budget": ("Budget.BudgetName", "Budget.BudgetType", "Budget.TimeUnit"),
    "AWS::CloudWatch::Alarm": ("AlarmName",),
    "AWS::CloudWatch::Dashboard": ("DashboardName",),
    "AWS::DynamoDB::Table": ("KeySchema", "TableName"),
    "AWS::Events::Rule": ("EventBusName", "Name"),
    "AWS::Glue::Database": ("CatalogId", "DatabaseInput.Name"),
    "AWS::Glue::Table": ("CatalogId", "DatabaseName", "TableInput.Name"),
    "AWS::IAM::Policy": ("PolicyName",),
    "AWS::IAM::Role": ("Path", "RoleName"),
    "AWS::Lambda::EventSourceMapping": ("EventSourceArn",),
    "AWS::Lambda::Function": ("FunctionName", "PackageType"),
    "AWS::Lambda::Permission": ("Action", "FunctionName", "Principal", "SourceAccount", "SourceArn"),
    "AWS::Logs::LogGroup": ("LogGroupName",),
    "AWS::S3::Bucket": ("BucketName",),
    "AWS::S3::BucketPolicy": ("Bucket",),
    "AWS::SNS::Subscription": ("Endpoint", "Protocol", "TopicArn"),
    "AWS::SNS::Topic": ("FifoTopic", "TopicName"),
    "AWS::SQS::Queue": ("FifoQueue", "QueueName"),
    "AWS::Scheduler::Schedule": ("Name",),
}
"""Properties whose change makes CloudFormation replace the resource (CloudFormation template reference, 2026-11)."""

NAMES = ("BucketName", "TableName", "FunctionName", "QueueName", "TopicName", "RoleName", "LogGroupName", "AlarmName",
         "DashboardName", "Name", "PolicyName", "RuleName")  # fmt: skip

Action = Literal["added", "changed", "replaced", "deleted"]

STAYS = "stays in the account with its data, no longer updated"
"""What becomes of a resource that its template retains."""

DELETE: Mapping[str, str] = {
    "AWS::S3::Bucket": "to delete it, empty it of all versions, then `aws s3 rb s3://{name}`",
    "AWS::DynamoDB::Table": "to delete it: `aws dynamodb delete-table --table-name {name}`; declared again, it comes "
    "back with the rows that it holds now, until `headrace rebuild`",
    "AWS::Glue::Database": "to delete it: `aws glue delete-database --name {name}`",
    "lake table": "to delete it with its files: `DROP TABLE {name}` in Athena",
}


class Value(NamedTuple):
    """What differs at one path of a resource. None: nothing is there."""

    path: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Change:
    """One resource that will be different. `why` says what would be lost or left where `data_loss`; else it is empty.

    `kept`: the data outlives this; what is added is there already and taken up, what is deleted stays in the account.
    `note`: what to know of it or to do afterwards.
    """

    action: Action
    id: str
    kind: str
    name: str
    properties: tuple[str, ...] = ()  # paths that differ
    data_loss: bool = False
    why: str = ""
    values: tuple[Value, ...] = ()
    kept: bool = False
    note: str = ""

    def public(self) -> dict[str, Any]:
        values = [{"path": one.path, "from": one.old, "to": one.new} for one in self.values]
        return {**asdict(self), "properties": list(self.properties), "values": values}


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """What deploying `after` over `before` would change; what loses data first, then in the order of kinds and ids."""
    old, new, tables = present(before), present(after), _told(after)
    found = [one for id in {*old, *new} if (one := _change(id, old.get(id), new.get(id), tables))]
    if before:
        found += _tables(_told(before), tables)
    return sorted(found, key=lambda c: (not c.data_loss, c.kind, c.id))


def present(template: Mapping[str, Any]) -> dict[str, Any]:
    """The resources that a template makes, as far as its own default parameters decide that."""
    conditions, parameters = template.get("Conditions", {}), template.get("Parameters", {})

    def holds(name: str) -> bool:
        match conditions.get(name):
            case {"Fn::Equals": [{"Ref": str(parameter)}, value]}:
                return bool(parameters[parameter].get("Default") == value)
            case _:
                return True

    every = template.get("Resources", {})
    return {id: one for id, one in every.items() if "Condition" not in one or holds(one["Condition"])}


def _change(
    id: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None, tables: Mapping[str, Any]
) -> Change | None:
    """`tables`: what is said of those that are wanted."""
    if old is None:
        assert new is not None
        return Change("added", id, new["Type"], name_of(id, new))
    if new is None:
        return _leaves(id, old)
    if old["Type"] != new["Type"]:
        values: tuple[Value, ...] = (Value("Type", old["Type"], new["Type"]),)
    else:
        values = tuple(sorted(differing(_compared(old), _compared(new)), key=lambda value: value.path))
    if not values:
        return None
    found = Change("changed", id, new["Type"], name_of(id, new), tuple(v.path for v in values), values=values)
    if found.properties == ("Type",) or _replaces(new["Type"], found.properties):
        return _replaced(found, old)
    if (made := indexes.made(values)) and (of := _table_of(id, tables)):
        return replace(found, note=indexes.lacking(made, *of))
    return found


def _leaves(id: str, old: Mapping[str, Any]) -> Change:
    """A resource that the definition no longer has."""
    found = Change("deleted", id, old["Type"], name_of(id, old))
    if not _holds(old):
        return found
    if old.get("DeletionPolicy") != "Retain":
        return replace(found, data_loss=True, why=f"this {_held(old)} leaves the definition")
    note = DELETE.get(found.kind, "").format(name=found.name)
    return replace(found, data_loss=True, kept=True, why=f"it leaves the stack; it {STAYS}", note=note)


def _replaced(found: Change, old: Mapping[str, Any]) -> Change:
    found = replace(found, action="replaced")
    if not _holds(old):
        return found
    if any(path.startswith("KeySchema") for path in found.properties):  # made anew under its name: see kept.py
        return replace(found, data_loss=True, why="its key schema changes")
    if old.get("UpdateReplacePolicy") != "Retain":
        return replace(found, data_loss=True, why=f"this {_held(old)} would be replaced")
    name = name_of(found.id, old)
    why = f"an empty {_held(old)} takes the place of {name}, which {STAYS}"
    return replace(found, data_loss=True, kept=True, why=why, note=DELETE.get(old["Type"], "").format(name=name))


def _compared(resource: Mapping[str, Any]) -> dict[str, Any]:
    """What of a resource counts: its properties, and what is said of it. Indexes have no order."""
    said = {k: v for k, v in resource.items() if k not in ("Type", "Properties", "DependsOn")}
    properties = resource.get("Properties", {})
    by_name = {indexes.PROPERTY: indexes.by_name(properties)} if resource["Type"] == indexes.TABLE else {}
    return {**properties, **said, **by_name}


def _table_of(id: str, tables: Mapping[str, Any]) -> tuple[str, str] | None:
    """(table, pipeline) of the keyed table that a resource is."""
    named = ((name, about) for name, about in tables.items() if about["kind"] == "keyed")
    return next(((name, about["pipeline"]) for name, about in named if logical(name, "Items") == id), None)


def _told(template: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the metadata says of the tables."""
    found: Mapping[str, Any] = template.get("Metadata", {}).get(METADATA, {}).get("tables", {})
    return found


def _tables(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """Tables that lose rows without any resource of CloudFormation being another: it does not know keys or folders."""
    for name, was in old.items():
        shall = new.get(name)
        kind = f"{was['kind']} table"
        if shall is None:
            if was["kind"] == "lake":  # of a keyed one the resource itself goes
                why, note = f"it leaves the definition; it {STAYS}", DELETE[kind].format(name=name)
                yield Change("deleted", name, kind, name, data_loss=True, why=why, kept=True, note=note)
            continue
        for what, called in (("kind", "kind"), ("key", "key"), ("partitions", "partitioning")):
            if was.get(what) != shall.get(what):
                why = f"its {called} changes from {_words(was.get(what))} to {_words(shall.get(what))}"
                yield Change("changed", name, kind, name, (what,), True, why)
                break


def _words(value: Any) -> str:
    return (", ".join(value) if isinstance(value, list) else value) or "nothing"


def _holds(resource: Mapping[str, Any]) -> bool:
    return resource["Type"] in HOLDING


def _held(resource: Mapping[str, Any]) -> str:
    return {"AWS::S3::Bucket": "bucket", "AWS::Glue::Database": "database"}.get(resource["Type"], "table")


def _replaces(kind: str, paths: tuple[str, ...]) -> bool:
    fixed = CREATE_ONLY.get(kind, ())
    return any(
        path == one or path.startswith(f"{one}.") or path.startswith(f"{one}[") for path in paths for one in fixed
    )


def differing(old: Any, new: Any, path: str = "") -> Iterator[Value]:
    """Where two values of a template differ: at `Environment.Variables.A`, `KeySchema[1].KeyType`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in {*old, *new}:
            below = f"{path}.{key}" if path else str(key)
            if key not in old or key not in new:
                yield Value(below, old.get(key), new.get(key))
            else:
                yield from differing(old[key], new[key], below)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for n, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differing(one, other, f"{path}[{n}]")
    elif old != new:
        yield Value(path, old, new)


def name_of(id: str, resource: Mapping[str, Any]) -> str:
    """What people know a resource by: its own name where it has one, with placeholders left as they are."""
    properties = resource.get("Properties", {})
    inner = next(
        (v for k in ("DatabaseInput", "TableInput", "Budget") if isinstance(v := properties.get(k), Mapping)), {}
    )
    for key in NAMES:
        value = properties.get(key, inner.get(key, inner.get("BudgetName")))
        if isinstance(value, str):
            return value
        if isinstance(value, Mapping) and isinstance(text := value.get("Fn::Sub"), str):
            return text
    return id


def settled(template: Mapping[str, Any], account: str, region: str) -> dict[str, Any]:
    """The template with plain names on what outlives its stack: only those does CloudFormation take up again."""
    resources = {}
    for id, resource in template["Resources"].items():
        properties = dict(resource.get("Properties", {}))
        for key in ("BucketName", "TableName") if "DeletionPolicy" in resource else ():
            if isinstance(text := properties.get(key), Mapping) and isinstance(text := text.get("Fn::Sub"), str):
                plain = text.replace("${AWS::AccountId}", account).replace("${AWS::Region}", region)
                properties[key] = properties[key] if "${" in plain else plain
        resources[id] = {**resource, **({"Properties": properties} if properties else {})}
    return {**template, "Resources": resources}
