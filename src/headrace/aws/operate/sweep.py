"""Deletes what a stack leaves behind, thing by thing: each call is for what is there now, and may be repeated.

Called by `destroy.py` and `deploy.py`, which have found out whose it is (`owned.py`). Nothing here asks anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from botocore.exceptions import ClientError

from headrace.aws.operate.inventory import Item
from headrace.aws.operate.owned import MISSING
from headrace.aws.operate.stack import Tell
from headrace.aws.session import Session, code_of
from headrace.engine.faults import point
from headrace.model.errors import InfrastructureError
from headrace.model.words import count

BATCH = 1000
"""Most objects of one DeleteObjects, and of one page of versions."""

AGAIN = "run `headrace destroy` again"


def deletable(item: Item) -> bool:
    """Whether this module knows how to delete such a thing; the others go with their stack."""
    return item.kind in DELETES


def delete(session: Session, item: Item, tell: Tell) -> None:
    """Delete one thing with all that it holds; what is gone already is passed over."""
    with session.wrapped(f"{item.kind} {item.name}", AGAIN):
        try:
            DELETES[item.kind](session, item.name, tell)
        except ClientError as exc:
            if code_of(exc) not in MISSING:
                raise
            return
    tell(f"  deleted  {item.kind} {item.name}")
    point("destroy.swept")


def _bucket(session: Session, name: str, tell: Tell) -> None:
    client = session.client("s3")
    emptied = empty(session, name)
    if emptied:
        tell(f"  emptied  bucket {name}: {count(emptied, 'version')}")
    client.delete_bucket(Bucket=name)


def empty(session: Session, bucket: str, prefix: str = "") -> int:
    """Delete every version, delete marker and unfinished upload below a prefix, for good; how many versions went."""
    client = session.client("s3")
    for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
        for upload in page.get("Uploads", ()):
            client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    gone = 0
    while True:  # from the beginning each time: what was listed before is not there any more
        page = client.list_object_versions(Bucket=bucket, Prefix=prefix, MaxKeys=BATCH)
        found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        if not found:
            return gone
        objects = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]
        answer = client.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        if errors := answer.get("Errors"):
            said = f"{errors[0]['Key']} cannot be deleted: {errors[0].get('Code')} {errors[0].get('Message')}"
            raise InfrastructureError("HR840", f"bucket {bucket}", session.scrub(said), AGAIN)
        gone += len(objects)
        point("destroy.emptying")


def _table(session: Session, name: str, tell: Tell) -> None:
    client = session.client("dynamodb")
    found = client.describe_table(TableName=name)["Table"]
    if found["TableStatus"] != "DELETING":
        if found.get("DeletionProtectionEnabled"):
            client.update_table(TableName=name, DeletionProtectionEnabled=False)
        client.delete_table(TableName=name)
    client.get_waiter("table_not_exists").wait(TableName=name, WaiterConfig={"Delay": 2, "MaxAttempts": 300})


def _database(session: Session, name: str, tell: Tell) -> None:
    session.client("glue").delete_database(Name=name)


def _lake_table(session: Session, name: str, tell: Tell) -> None:
    database, _, table = name.partition(".")
    session.client("glue").delete_table(DatabaseName=database, Name=table)


def _log_group(session: Session, name: str, tell: Tell) -> None:
    session.client("logs").delete_log_group(logGroupName=name)


def _mapping(session: Session, name: str, tell: Tell) -> None:
    """`name`: the function's, and the mapping's own."""
    try:
        session.client("lambda").delete_event_source_mapping(UUID=name.rsplit(" ", 1)[-1])
    except ClientError as exc:
        if code_of(exc) != "ResourceInUseException":  # its deletion is under way, and takes a minute
            raise


Delete = Callable[[Session, str, Tell], None]

DELETES: Mapping[str, Delete] = {
    "event source mapping": _mapping,
    "log group": _log_group,
    "lake table": _lake_table,
    "database": _database,
    "table": _table,
    "bucket": _bucket,
}
"""In the order in which they must go: tables of the lake before their database."""

__all__ = ["AGAIN", "DELETES", "deletable", "delete", "empty"]
