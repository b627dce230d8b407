"""What a message in a pipeline's queue asks to look at: from S3 and what speaks like it, through SNS, or from us.

Pure. Called by `aws.queue` alone. Nothing in a message is believed but which keys to look at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from headrace.model.keys import MOST_BYTES
from headrace.model.loads import Event

TEST = "s3:TestEvent"
"""What S3 sends, without records, whenever a notification is configured."""

REMOVED = ("ObjectRemoved", "LifecycleExpiration")
NESTED = 3
"""How deep a message may stand in envelopes of SNS."""

ENCODED = re.compile(r"(?:[!-$&-~]|%[0-9A-Fa-f]{2})*")
"""Printable ASCII without blanks, in which each % begins an escape: a key in any other form was not encoded."""


class Malformed(Exception):
    """A body that tells of no object, and never will."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One event of a message, and the marker that goes when it is acknowledged ("" for none)."""

    event: Event
    mark: str = ""


def body_of(event: Event, mark: str = "") -> str:
    """One of our own events as a message. ASCII: what SQS refuses in a body cannot be in it."""
    told = {"pipeline": event.pipeline, "key": event.key, "hint": event.hint}
    return json.dumps(told | ({"mark": mark} if mark else {}))


def asked_in(pipeline: str, body: str, bucket: str = "") -> list[Asked]:
    """What a message in the pipeline's queue asks for: nothing, if it is a test or about another bucket than this.

    Raises Malformed for what is none of the known forms.
    """
    told = _opened(body)
    if told.get("Event") == TEST:
        return []
    if "Records" in told:
        return [Asked(event) for event in _records(pipeline, told["Records"], bucket)]
    return [_ours(pipeline, told)]


def _opened(body: str) -> Mapping[str, Any]:
    """The innermost object: SNS puts its message, as text, into an envelope."""
    for _ in range(NESTED):
        try:
            told = json.loads(body)
        except (ValueError, RecursionError) as exc:
            raise Malformed("it is not JSON") from exc
        if not isinstance(told, dict):
            raise Malformed("it is no JSON object")
        if not (told.get("Type") == "Notification" and isinstance(told.get("Message"), str)):
            return told
        body = told["Message"]
    raise Malformed("it has an envelope in an envelope in an envelope")


def _ours(pipeline: str, told: Mapping[str, Any]) -> Asked:
    key, hint, mark = (told.get(name, "") for name in ("key", "hint", "mark"))
    if not (isinstance(key, str) and isinstance(hint, str) and isinstance(mark, str) and key):
        raise Malformed("it has neither records nor a key")
    if told.get("pipeline") != pipeline:
        raise Malformed("it is for another pipeline")
    return Asked(Event(pipeline, _possible(key), hint), mark)


def _records(pipeline: str, records: Any, bucket: str) -> Iterator[Event]:
    if not isinstance(records, list):
        raise Malformed("its records are no list")
    for record in records:
        try:
            told, name, source = record["s3"], str(record.get("eventName", "")), str(record.get("eventSource", ""))
            raw, place = told["object"]["key"], told.get("bucket", {}).get("name", "")
        except (KeyError, TypeError, AttributeError) as exc:
            raise Malformed("a record of it names no object") from exc
        if not isinstance(raw, str) or not raw:
            raise Malformed("a record of it names no object")
        if place in ("", bucket) or not bucket:
            hint = "removed" if any(word in name for word in REMOVED) else "created"
            yield Event(pipeline, _possible(key_of(raw, source)), hint)


def _possible(key: str) -> str:
    """Raises Malformed for what no object can be called: nobody could even write down that it was asked for."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError as exc:
        raise Malformed("it names an object that is no text") from exc
    if size > MOST_BYTES:
        raise Malformed(f"it names an object by {size} bytes, and a bucket takes {MOST_BYTES}")
    return key


def key_of(raw: str, source: str) -> str:
    """The object's key, from how S3 and its likes write it: for `in/a b+1.csv` AWS says `in/a+b%2B1.csv`, moto
    `in%2Fa+b%2B1.csv`, LocalStack `in/a%20b%2B1.csv`, and Ceph (as `ceph:s3`) the key as it is.
    """
    if source.startswith("ceph") or ENCODED.fullmatch(raw) is None:
        return raw
    try:
        return unquote_plus(raw, errors="strict")
    except UnicodeDecodeError:
        return raw
