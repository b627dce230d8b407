"""Log lines of a stack's functions, in the order of time: what is there, and then what comes.

Reads CloudWatch Logs and renders nothing: `cli` does. A line is what the function wrote as JSON, or what Lambda itself
said of an invocation, under the same few names. Of a publish function, an invocation that found nothing to do is passed
over unless it is asked for: there is one each minute.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
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

ROUTINE = ("requests", "invocation", "lambda.report")
"""What every invocation says in its end, whatever it did."""

STATUS = re.compile(r"Status: (?!success)(\w+)(?:\tError Type: (\S+))?")
"""In a report: how an invocation ended that did not succeed."""

WRONG = re.compile(r"error|exception|traceback|timed out|killed|exited", re.IGNORECASE)
"""In a line that is not ours: the runtime, or Python, says that something went wrong."""

WINDOW = timedelta(minutes=15)
"""How far back the first look for the newest lines goes; each next one goes four times as far."""

REPORT = re.compile(r"Duration: ([\d.]+) ms.*?Max Memory Used: (\d+) MB", re.DOTALL)

Record = dict[str, Any]


def groups(places: Places, pipeline: str | None = None) -> list[str]:
    """The log groups of a stack's functions, or of one pipeline's. Raises InfrastructureError HR813."""
    chosen = [places.pipeline(pipeline)] if pipeline else places.pipelines.values()
    return [f"/aws/lambda/{name}" for one in chosen for name in (one.ingest, one.publish)]


@dataclass(slots=True)
class Wanted:
    """Which lines are told. `swept`: groups of which idle invocations are passed over; `errors`: only what went wrong.

    It hears the lines of each group in the order of time. What an invocation says in its end is told if it has said
    anything else before, or that it failed.
    """

    swept: Collection[str] = ()
    errors: bool = False
    _busy: set[tuple[str, str]] = field(default_factory=set)

    def take(self, group: str, event: Record) -> Record | None:
        """The line as a record, if it is wanted."""
        stream = (group, str(event.get("logStreamName", "")))  # in which one invocation follows the other
        if str(event["message"]).startswith("START "):
            self._busy.discard(stream)
        record = parse(group, event)
        if record is None:
            return None
        wrong, said = is_wrong(record), record["event"]
        if said not in ROUTINE or wrong:
            self._busy.add(stream)
        idle = group in self.swept and stream not in self._busy
        if said == "lambda.report":
            self._busy.discard(stream)
        return None if idle or (self.errors and not wrong) else record


def is_wrong(record: Record) -> bool:
    """Whether a record tells of an error, or of a warning."""
    by_us = "error" in record or record["level"] in ("warning", "error", "critical")
    return by_us or (record["event"] == "said" and WRONG.search(record.get("text", "")) is not None)


def recent(
    session: Session,
    names: Sequence[str],
    since: datetime,
    limit: int,
    wanted: Wanted | None = None,
    *,
    now: datetime | None = None,
) -> list[Record]:
    """The newest `limit` records since an instant, oldest first. Looks back from `now` only as far as it must."""
    found: list[tuple[int, Record]] = []
    start, until = int(since.timestamp() * 1000), int((now or datetime.now(UTC)).timestamp() * 1000) + LATE
    back = WINDOW
    while until > start and len(found) < limit:
        begin = max(start, until - int(back.total_seconds() * 1000))
        wanted = wanted and Wanted(wanted.swept, wanted.errors)  # what a stream said last came later than all this
        for name in names:
            told = ((e["timestamp"], _take(wanted, name, e)) for e in _events(session, name, begin, until))
            found += [(at, record) for at, record in told if record is not None]
        until, back = begin, back * 4
    found.sort(key=lambda pair: pair[0])
    return [record for _, record in found[-limit:]] if limit else []


def _take(wanted: Wanted | None, name: str, event: Record) -> Record | None:
    return parse(name, event) if wanted is None else wanted.take(name, event)


def follow(
    session: Session,
    names: Sequence[str],
    since: datetime,
    wanted: Wanted | None = None,
    *,
    wait: Callable[[float], object] = time.sleep,
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
                    record = _take(wanted, name, event)
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


def _events(session: Session, name: str, start: int, until: int | None = None) -> Iterator[Record]:
    """Lines of one group since a time and before another, oldest first; none of a group that does not exist yet."""
    end = {} if until is None else {"endTime": until - 1}
    with session.wrapped(name, "headrace logs again"):
        try:
            pages = session.client("logs").get_paginator("filter_log_events")
            for page in pages.paginate(logGroupName=name, startTime=max(start, 0), **end):
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
        took: Record = {"text": text}
        if match is not None:
            took = {"seconds": round(float(match[1]) / 1000, 3), "memory_mb": int(match[2])}
        if failed := STATUS.search(text):
            took |= {"level": "error", "error": " ".join(word for word in failed.groups() if word)}
        return {**base, "event": "lambda.report", **took}
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        return {**base, "text": text}
    return {**base, **said}
