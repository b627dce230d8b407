"""Changes of a plan in lines: grouped by what things are there for, with old and new values, data that is lost in red.

`planned.py` puts them on the page. What is added with something else (its role, its policy, its log group) is counted;
`plan --json` has each.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headrace.cli.page import Page

if TYPE_CHECKING:
    from headrace.project.cloud import Change, Plan

SIGNS = {"added": "+", "changed": "~", "replaced": "±", "deleted": "-"}
TAKEN_UP = "="

KINDS: Mapping[str, str] = {
    "AWS::Athena::NamedQuery": "query",
    "AWS::Athena::WorkGroup": "workgroup",
    "AWS::Budgets::Budget": "budget",
    "AWS::CloudWatch::Alarm": "alarm",
    "AWS::CloudWatch::Dashboard": "dashboard",
    "AWS::DynamoDB::Table": "table",
    "AWS::Events::Rule": "schedule",
    "AWS::Glue::Database": "database",
    "AWS::IAM::Role": "role",
    "AWS::Lambda::EventInvokeConfig": "retry setting",
    "AWS::Lambda::EventSourceMapping": "queue mapping",
    "AWS::Lambda::Function": "function",
    "AWS::Lambda::Permission": "permission",
    "AWS::Logs::LogGroup": "log group",
    "AWS::S3::Bucket": "bucket",
    "AWS::S3::BucketPolicy": "bucket policy",
    "AWS::SNS::Subscription": "subscription",
    "AWS::SNS::Topic": "topic",
    "AWS::SNS::TopicPolicy": "topic policy",
    "AWS::SQS::Queue": "queue",
    "AWS::SQS::QueuePolicy": "queue policy",
}
"""What people call them."""

COMPANIONS = ("role", "retry setting", "queue mapping", "permission", "log group", "bucket policy", "subscription",
              "topic policy", "queue policy")  # fmt: skip
"""Kinds that are there for the sake of another resource."""

GONE = "no longer declared"

LONG = 60
"""Characters of a value that are shown; of longer ones, what differs."""


def kind_of(kind: str) -> str:
    """`AWS::SQS::Queue` → queue."""
    return KINDS.get(kind, kind.removeprefix("AWS::"))


def named(text: str) -> str:
    """A name whose placeholders can be read."""
    for placeholder, word in (("AccountId", "account"), ("Region", "region"), ("Partition", "partition")):
        text = text.replace(f"${{AWS::{placeholder}}}", f"<{word}>")
    return text


def lines(found: Plan, page: Page) -> Iterator[str]:
    """Everything that changes, part by part in the order of the definition."""
    about = {one["id"]: one for one in found.resources}
    order = {id: n for n, id in enumerate(about)}
    parts: dict[str, list[Change]] = {one["part"]: [] for one in found.resources}
    for change in sorted(found.changes, key=lambda c: order.get(c.id, -1)):
        parts.setdefault(_part(change, about), []).append(change)
    shown = {part: _apart(changes) for part, changes in parts.items() if changes}
    listed = [change for single, _ in shown.values() for change in single]
    kinds = max((len(kind_of(change.kind)) for change in listed), default=0)
    column = 6 + kinds + max((len(named(change.name)) for change in listed), default=0) + 2
    for part, (single, folded) in shown.items():
        yield page.strong(part)
        for change in single:
            yield from _change(change, about.get(change.id, {}).get("why", ""), page, kinds, column)
        if folded:
            yield from page.wrapped("  + ", _counted(folded))


def _part(change: Change, about: Mapping[str, Mapping[str, Any]]) -> str:
    if change.id in about:
        return str(about[change.id]["part"])
    return GONE if change.action == "deleted" else "storage"  # a table of the lake is no resource of its own


def _apart(changes: Sequence[Change]) -> tuple[list[Change], list[Change]]:
    """What is listed, and what is only counted: what comes with something else that is new as well."""
    added = [one for one in changes if one.action == "added"]
    folded = [one for one in added if kind_of(one.kind) in COMPANIONS]
    if len(folded) == len(added):
        return list(changes), []
    return [one for one in changes if one not in folded], folded


def _counted(changes: Sequence[Change]) -> str:
    kinds = Counter(kind_of(change.kind) for change in changes)
    return ", ".join(f"{n} {kind if n == 1 else _plural(kind)}" for kind, n in kinds.items())


def _plural(kind: str) -> str:
    return f"{kind.removesuffix('y')}ies" if kind.endswith("y") else f"{kind}s"


def _change(change: Change, why: str, page: Page, kinds: int, column: int) -> Iterator[str]:
    taken_up = change.kept and change.action == "added"
    sign = TAKEN_UP if taken_up else SIGNS[change.action]
    left, below = f"  {sign} {kind_of(change.kind).ljust(kinds)}  {named(change.name)}", 6 + kinds
    if change.data_loss:
        yield page.red(left)
        lost = "LEFT BEHIND" if change.kept else "DATA LOSS"
        yield from map(page.red, page.wrapped(" " * below, f"{lost}: {change.why}"))
    else:
        yield from page.beside(left, "taken up, with what it holds" if taken_up else why, column, below)
    for text in _values(change):
        yield from page.wrapped(" " * below, text, below + 4)
    if change.note:
        yield from page.wrapped(" " * below, change.note)


def _values(change: Change) -> Iterator[str]:
    """Old and new values. What the template says to its readers is not what a resource does."""
    said = [value for value in change.values if not value.path.startswith("Metadata")]
    if change.values and not said:
        yield "only what the template says of it"
    if rights := [value for value in said if value.path.startswith("Policies")]:
        yield "its rights, see below"
    for value in said:
        if value not in rights:
            yield f"{value.path}  {from_to(value.old, value.new)}"


def from_to(old: Any, new: Any) -> str:
    """`2048 → 3008`; of lists what is gone and what is new, of long texts the piece that differs."""
    if isinstance(old, list) or isinstance(new, list):
        return _lists(old if isinstance(old, list) else [], new if isinstance(new, list) else [])
    before, after = _short(old), _short(new)
    if max(len(before), len(after)) > LONG:
        before, after = _differing(before, after)
    return f"{before} → {after}"


def _lists(old: Sequence[Any], new: Sequence[Any]) -> str:
    gone, more = [one for one in old if one not in new], [one for one in new if one not in old]
    said = [f"{sign} {_cut(_short(one))}" for sign, some in (("-", gone), ("+", more)) for one in some]
    return ", ".join(said) or "in another order"


def _short(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case str():
            return named(value) or "''"
        case {"Key": str(key), "Value": str(text)}:
            return f"{key}={text}"
        case {"AttributeName": str(name), "AttributeType": str(kind)}:
            return f"{name} ({kind})"
        case {"Ref": str(id)}:
            return f"${{{id}}}"
        case {"Fn::GetAtt": [str(id), str(attribute)]}:
            return f"${{{id}.{attribute}}}"
        case {"Fn::Sub": str(text)}:
            return named(text)
        case _:
            return named(json.dumps(value))


def _differing(one: str, other: str) -> tuple[str, str]:
    """Both without what they begin and end with alike."""
    start = _alike(one, other)
    end = min(_alike(one[::-1], other[::-1]), len(one) - start, len(other) - start)
    start, end = max(0, start - 12), max(0, end - 12)  # enough beside it to be recognised

    def piece(text: str) -> str:
        inner = " ".join(text[start : len(text) - end].split())
        return f"{'…' if start else ''}{_cut(inner)}{'…' if end else ''}"

    return piece(one), piece(other)


def _alike(one: str, other: str) -> int:
    """How many characters they begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))


def _cut(text: str) -> str:
    return text if len(text) <= LONG else f"{text[: LONG - 1]}…"
