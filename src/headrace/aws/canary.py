"""The marks that a canary leaves on its way: event, queue, ingest function, ledger, doorbell, publish function.

Functions only mark, in an item of the ledger's table; `verify` reads, and clears away the object and the item. The
name of the object alone tells that it is one (`model/canary.py`), so nothing here can touch a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from headrace.aws.session import Session
from headrace.model.canary import is_canary
from headrace.model.loads import Lease
from headrace.model.times import text_of
from headrace.ports import Clock


def keys_in(leases: Iterable[Lease]) -> list[str]:
    """Canaries that have arrived; that one was cleared away is no arrival."""
    return sorted({x.event.key for x in leases if is_canary(x.event.key) and x.event.hint != "removed"})


def of_message(body: Mapping[str, Any]) -> list[str]:
    """The canaries that a doorbell's message speaks of."""
    return [key for key in body.get("canary", ()) if isinstance(key, str) and is_canary(key)]


def mark(session: Session, table: str, pipeline: str, leases: Iterable[Lease], clock: Clock, request: str) -> list[str]:
    """Write down that the ingest function holds these events, before it acknowledges them; returns the canaries.

    Without a canary among the leases nothing is asked of the table.
    """
    keys = keys_in(leases)
    _set(session, table, pipeline, keys, "taken", clock, request)
    return keys


def mark_published(
    session: Session, table: str, pipeline: str, keys: Sequence[str], clock: Clock, request: str
) -> None:
    """Write down that the publish function heard of them, after its work."""
    _set(session, table, pipeline, keys, "published", clock, request)


def marks(session: Session, table: str, pipeline: str, key: str) -> dict[str, str]:
    """What is written of a canary: `taken_at`, `taken_by`, `published_at`, `published_by`, as far as it has come."""
    with session.wrapped(table, "headrace verify again"):
        found = session.client("dynamodb").get_item(TableName=table, Key=_item(pipeline, key), ConsistentRead=True)
    return {k: v["S"] for k, v in found.get("Item", {}).items() if k not in ("pk", "sk")}


def forget(session: Session, table: str, pipeline: str, key: str) -> None:
    with session.wrapped(table, "headrace verify again"):
        session.client("dynamodb").delete_item(TableName=table, Key=_item(pipeline, key))


def _set(
    session: Session, table: str, pipeline: str, keys: Sequence[str], what: str, clock: Clock, request: str
) -> None:
    for key in keys:
        with session.wrapped(table, "the event comes again"):
            session.client("dynamodb").update_item(
                TableName=table,
                Key=_item(pipeline, key),
                UpdateExpression="SET #at = :at, #by = :by",
                ExpressionAttributeNames={"#at": f"{what}_at", "#by": f"{what}_by"},
                ExpressionAttributeValues={":at": {"S": text_of(clock.now())}, ":by": {"S": request}},
            )


def _item(pipeline: str, key: str) -> dict[str, dict[str, str]]:
    return {"pk": {"S": f"{pipeline}|canary"}, "sk": {"S": key}}
