"""What differs between two templates, and what of that loses rows or files: before anything happens.

A pure function of the two, so it needs no account. `plan.py` shows it, `deploy.py` refuses by it. What CloudFormation
replaces is told by a short table of the properties that our resources have; what we lose, by the kinds that hold data
and by what the template's metadata says of its tables.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

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


@dataclass(frozen=True, slots=True)
class Change:
    """One resource that will be different. `why` says what would be lost where `data_loss`; else it is empty."""

    action: Action
    id: str
    kind: str
    name: str
    properties: tuple[str, ...] = ()  # paths that differ
    data_loss: bool = False
    why: str = ""

    def public(self) -> dict[str, Any]:
        return {**asdict(self), "properties": list(self.properties)}


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """What deploying `after` over `before` would change; what loses data first, then in the order of kinds and ids."""
    old, new = present(before), present(after)
    found = [one for id in {*old, *new} if (one := _change(id, old.get(id), new.get(id)))]
    if before:
        found += _tables(_told(before), _told(after))
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


def _change(id: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Change | None:
    if old is None:
        assert new is not None
        return Change("added", id, new["Type"], name_of(id, new))
    if new is None:
        why = f"this {_held(old)} leaves the definition" if _holds(old) else ""
        return Change("deleted", id, old["Type"], name_of(id, old), data_loss=bool(why), why=why)
    paths = tuple(sorted(differing(_compared(old), _compared(new)))) if old["Type"] == new["Type"] else ("Type",)
    if not paths:
        return None
    replaced = paths == ("Type",) or _replaces(new["Type"], paths)
    why = ""
    if replaced and _holds(old):
        keys = any(path.startswith("KeySchema") for path in paths)
        why = "its key schema changes" if keys else f"this {_held(old)} would be replaced"
    return Change("replaced" if replaced else "changed", id, new["Type"], name_of(id, new), paths, bool(why), why)


def _compared(resource: Mapping[str, Any]) -> dict[str, Any]:
    """What of a resource counts: its properties, and what is said of it."""
    said = {k: v for k, v in resource.items() if k not in ("Type", "Properties", "DependsOn")}
    return {**resource.get("Properties", {}), **said}


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
                yield Change("deleted", name, kind, name, (), True, "this table leaves the definition")
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


def differing(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Paths at which two values of a template differ: `Environment.Variables.A`, `KeySchema[1].KeyType`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in {*old, *new}:
            below = f"{path}.{key}" if path else str(key)
            if key not in old or key not in new:
                yield below
            else:
                yield from differing(old[key], new[key], below)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for n, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differing(one, other, f"{path}[{n}]")
    elif old != new:
        yield path


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


def statements(template: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every statement that the template's roles and policies grant, flat and in a stable order."""
    found = []
    for id, resource in sorted(template.get("Resources", {}).items()):
        properties = resource.get("Properties", {})
        match resource["Type"]:
            case "AWS::IAM::Role":
                documents = [one["PolicyDocument"] for one in properties.get("Policies", ())]
            case "AWS::IAM::Policy" | "AWS::IAM::ManagedPolicy":
                documents = [properties["PolicyDocument"]]
            case _:
                continue
        found += [_statement(id, one) for document in documents for one in _listed(document["Statement"])]
    return sorted(found, key=_text)


def _statement(id: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    resources = sorted(_plain(r) for r in _listed(raw.get("Resource", [])))
    found = {"on": id, "sid": raw.get("Sid", ""), "effect": raw.get("Effect", "Allow")}
    found |= {"actions": sorted(_listed(raw.get("Action", raw.get("NotAction", [])))), "resources": resources}
    return {**found, **({"condition": raw["Condition"]} if "Condition" in raw else {})}


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _plain(value: Any) -> str:
    """A reference of the template as text: `${Queue.Arn}`."""
    match value:
        case str():
            return value
        case {"Fn::GetAtt": [id, attribute]}:
            return f"${{{id}.{attribute}}}"
        case {"Fn::GetAtt": str(path)}:
            return f"${{{path}}}"
        case {"Ref": str(id)}:
            return f"${{{id}}}"
        case {"Fn::Sub": str(text)}:
            return text
        case _:
            return json.dumps(value, sort_keys=True)


def granted(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Statements that `after` grants and `before` does not, and the other way round."""
    old, new = ({_text(one): one for one in statements(t)} for t in (before, after))
    return [new[k] for k in sorted(new.keys() - old.keys())], [old[k] for k in sorted(old.keys() - new.keys())]


def _text(statement: Mapping[str, Any]) -> str:
    return json.dumps(statement, sort_keys=True)
