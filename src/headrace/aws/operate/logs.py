"""Log lines of a stack's functions, in the order of time: what is there, and then what comes.

Reads CloudWatch Logs and renders nothing: `cli` does. A line is what the function wrote as JSON, or what Lambda itself
said of an invocation, under the same few names.
"""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from headrace.aws.places import Places
from headrace.aws.session import Session, code_of
from headrace.model.times import text_of

POLL = 2.0
"""Seconds between looks at a log that is followed."""

LATE = 30_000
"""Milliseconds for which a line may be stored late and still be shown: CloudWatch takes lines as they come."""

REMEMBERED = 20_000
"""Lines by which repetitions are told, per log group."""

SILENT = re.compile(r"^(START|END|INIT_START) ")
"""Lines of Lambda that say nothing about the work."""

REPORT = re.compile(r"Duration: ([\d.]+) ms.*?Max Memory Used: (\d+) MB", re.DOTALL)

Record = dict[str, Any]


def groups(places: Places) -> list[str]:
    """The log groups of a stack's functions."""
    return [f"/aws/lambda/{name}" for one in places.pipelines.values() for name in (one.ingest, one.publish)]


def recent(session: Session, names: Sequence[str], since: datetime, limit: int) -> list[Record]:
    """The newest `limit` records since an instant, oldest first."""
    start = int(since.timestamp() * 1000)
    found: list[tuple[int, Record]] = []
    for name in names:
        last = deque(_events(session, name, start), maxlen=limit)
        found += [(event["timestamp"], record) for event in last if (record := parse(name, event)) is not None]
    found.sort(key=lambda pair: pair[0])
    return [record for _, record in found[-limit:]] if limit else []


def follow(
    session: Session, names: Sequence[str], since: datetime, *, wait: Callable[[float], object] = time.sleep
) -> Iterator[Record]:
    """Records since an instant and as they come, each once. A group may come into being later.

    `wait` lets some seconds pass between looks; the records end when it returns something true.
    """
    starts = dict.fromkeys(names, int(since.timestamp() * 1000))
    seen: dict[str, dict[str, None]] = {name: {} for name in names}
    while True:
        found: list[tuple[int, Record]] = []
        for name in names:
            for event in _events(session, name, starts[name] - LATE):
                id = _id(event)
                if id in seen[name]:
                    continue
                seen[name][id] = None
                if event["timestamp"] >= int(since.timestamp() * 1000):
                    record = parse(name, event)
                    found += [(event["timestamp"], record)] if record is not None else []
                    starts[name] = max(starts[name], event["timestamp"])
            for old in list(seen[name])[:-REMEMBERED]:
                del seen[name][old]
        yield from (record for _, record in sorted(found, key=lambda pair: pair[0]))
        if wait(POLL):
            return


def _id(event: Record) -> str:
    """What one line alone has. Not every emulator gives CloudWatch's own id."""
    return str(event.get("eventId") or (event.get("logStreamName"), event["timestamp"], event["message"]))


def _events(session: Session, name: str, start: int) -> Iterator[Record]:
    """Lines of one group since a time, oldest first; none of a group that does not exist yet."""
    with session.wrapped(name, "headrace logs again"):
        try:
            pages = session.client("logs").get_paginator("filter_log_events")
            for page in pages.paginate(logGroupName=name, startTime=max(start, 0)):
                yield from page["events"]
        except ClientError as exc:
            if code_of(exc) != "ResourceNotFoundException":
                raise


def parse(group: str, event: Record) -> Record | None:
    """A line as a record with at least `at`, `event` and `function`; None for one that says nothing."""
    text = str(event["message"]).strip()
    at = text_of(datetime.fromtimestamp(event["timestamp"] / 1000, UTC))
    base = {"at": at, "level": "info", "event": "said", "function": group.removeprefix("/aws/lambda/")}
    if not text or SILENT.match(text):
        return None
    if text.startswith("REPORT "):
        match = REPORT.search(text)
        took = {"seconds": round(float(match[1]) / 1000, 3), "memory_mb": int(match[2])} if match else {"text": text}
        return {**base, "event": "lambda.report", **took}
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        return {**base, "text": text}
    return {**base, **said}
