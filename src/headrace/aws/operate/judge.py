"""What a stack would become in one account: its template in that account's words, and each change with what stands.

`plan` and `deploy` both begin here, so that they speak of the same. It reads and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import ClientError

from headrace.aws.declare.kept import DATABASE, adopted, misfits
from headrace.aws.operate import indexes
from headrace.aws.operate.compare import Change, changes, name_of, settled
from headrace.aws.operate.stack import Facts, Stack
from headrace.aws.session import Session, code_of, status_of
from headrace.model.errors import UsageError

BUCKET = "AWS::S3::Bucket"


@dataclass(frozen=True, slots=True)
class Judged:
    """`declared` is all that is asked for, `wanted` what of it is the stack's to hold, `before` what it holds now.

    `before` is empty where no stack stands. `changes`: what loses data comes first.
    """

    declared: Mapping[str, Any]
    before: Mapping[str, Any]
    wanted: Mapping[str, Any]
    changes: list[Change]


def judge(stack: Stack, template: Mapping[str, Any], facts: Facts | None, account: str) -> Judged:
    """Hold a declared template against the stack and against what an earlier one left in the account."""
    session, stands = stack.session, facts is not None and facts.stands
    before, held = (stack.template(), stack.resources()) if stands else ({}, {})
    plain = settled(template, account, session.region)
    wanted = adopted(session, plain, held)
    found = changes(before, wanted)
    known = {change.id for change in found if change.data_loss}
    anew = [change for change in misfits(session, wanted) if change.id not in known]
    left = {change.id for change in found if change.action == "added"} - {change.id for change in anew}
    taken = {id for id in left if _there(session, wanted["Resources"][id], account)}
    marked = [replace(change, kept=True) if change.id in taken else change for change in found]
    return Judged(plain, before, wanted, [*anew, *marked, *([] if stands else _adopted(plain, wanted))])


def refuse(which: str, found: Sequence[Change], lose: bool) -> None:
    """Raises UsageError for what must not happen unasked, and for what CloudFormation would give up in the midst of.

    HR836: a change would lose data or leave it behind, and nobody said that this is meant (`lose`). HR846: more than
    one index of a table would be made or deleted.
    """
    indexes.refuse_several(which, found)
    lost = [change for change in found if change.data_loss]
    if lost and not lose:
        told = "; ".join(f"{change.name} ({change.why})" for change in lost)
        next = "see `headrace plan`; if that is meant: `headrace deploy --accept-data-loss`"
        raise UsageError("HR836", which, f"data would be lost or left behind: {told}", next)


def _adopted(declared: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[Change]:
    """Databases that are there: CloudFormation cannot take them up, so the stack uses them by name."""
    for id, one in declared["Resources"].items():
        if one["Type"] == DATABASE and id not in wanted["Resources"]:
            yield Change("added", id, DATABASE, name_of(id, one), kept=True)


def _there(session: Session, resource: Mapping[str, Any], account: str) -> bool:
    """Whether a bucket or table of ours has this resource's name, so that a deploy takes it up."""
    properties = resource.get("Properties", {})
    if "DeletionPolicy" not in resource:
        return False
    match resource["Type"], properties.get("BucketName", properties.get("TableName")):
        case "AWS::S3::Bucket", str(name):
            return bucket_stands(session, name, account)
        case "AWS::DynamoDB::Table", str(name):
            return _table_stands(session, name)
        case _:
            return False


def bucket_stands(session: Session, name: str, account: str) -> bool:
    """Whether the account has a bucket of this name. One of somebody else's is for `deploy` to refuse."""
    with session.wrapped(name, "try again"):
        try:
            session.client("s3").head_bucket(Bucket=name, ExpectedBucketOwner=account)
        except ClientError as exc:
            if status_of(exc) not in (403, 404):
                raise
            return False
    return True


def _table_stands(session: Session, name: str) -> bool:
    with session.wrapped(f"table {name}", "try again"):
        try:
            session.client("dynamodb").describe_table(TableName=name)
        except ClientError as exc:
            if code_of(exc) != "ResourceNotFoundException":
                raise
            return False
    return True


__all__ = ["BUCKET", "Judged", "bucket_stands", "judge", "refuse"]
