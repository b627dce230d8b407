"""`logs`: what happened here, or what a stack's functions wrote: the last lines, then what comes."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from headrace.cli.options import command, natural, since
from headrace.cli.output import Output, to_json
from headrace.model.times import text_of

POLL = 0.2
"""Seconds between looks at a log that is followed."""

DAY = timedelta(days=1)
"""How far back the last lines of a stack are looked for, unless told."""


def register(commands: Any, common: argparse.ArgumentParser) -> None:
    one = command(commands, common, "logs", logs, "structured log lines")
    one.add_argument("--follow", "-f", action="store_true", help="go on as lines come")
    one.add_argument("--lines", "-n", type=natural, default=50, metavar="N", help="begin with the last N (default: 50)")
    one.add_argument("--since", type=since, metavar="TIME", help="2025-05-01, or '2 hours' back (a stack's: a day)")
    one.add_argument("--pipeline", metavar="PIPELINE", help="only what is about this one")
    one.add_argument("--errors", action="store_true", help="only what went wrong")
    one.add_argument("--all", action="store_true", help="of a stack also invocations that found nothing to do")


def logs(arguments: argparse.Namespace, output: Output) -> int:
    from headrace import config

    place = config.read(Path(arguments.project)).target(arguments.target)
    return _of_stack(arguments, output) if place.kind == "aws" else _of_root(place.root / "logs", arguments, output)


def _instant(given: datetime | timedelta) -> datetime:
    return datetime.now(UTC) - given if isinstance(given, timedelta) else given


# this machine's


def _of_root(folder: Path, arguments: argparse.Namespace, output: Output) -> int:
    from headrace.engine.log import NAME, read

    begin = text_of(_instant(arguments.since)) if arguments.since else ""

    def wanted(record: Mapping[str, Any]) -> bool:
        wrong = "error" in record or record.get("level") in ("warning", "error", "critical")
        mine = arguments.pipeline is None or record.get("pipeline") == arguments.pipeline
        return mine and (wrong or not arguments.errors) and str(record.get("at", "")) >= begin

    last = deque(filter(wanted, read(folder)), maxlen=arguments.lines)
    follow = _followed(folder / NAME) if arguments.follow else iter(())  # before printing, so as to miss nothing
    for record in last:
        output.data(log_line(record, output.as_json))
    if not last and arguments.lines:
        output.say(f"nothing of that is in {folder}" if _chosen(arguments) else f"nothing is logged in {folder} yet")
    for record in filter(wanted, follow):
        output.data(log_line(record, output.as_json))
        sys.stdout.flush()
    return 0


def _chosen(arguments: argparse.Namespace) -> bool:
    return bool(arguments.since or arguments.pipeline or arguments.errors)


def log_line(record: Mapping[str, Any], as_json: bool) -> str:
    if as_json:
        return to_json(record)
    rest = " ".join(f"{k}={v}" for k, v in record.items() if k not in ("at", "level", "event", "trace"))
    return f"{record.get('at')}  {record.get('level', ''):7}  {record.get('event')}  {rest}".rstrip()


def _followed(path: Path) -> Iterator[dict[str, Any]]:
    """Records as they are appended, until interrupted. A file that shrank was rotated: the new one is read whole."""
    at = path.stat().st_size if path.exists() else 0

    def lines() -> Iterator[dict[str, Any]]:
        nonlocal at
        while True:
            size = path.stat().st_size if path.exists() else 0
            if size != at:
                with path.open("rb") as file:
                    file.seek(at if size > at else 0)
                    data = file.read()
                whole = data[: data.rfind(b"\n") + 1]
                at = (at if size > at else 0) + len(whole)
                yield from (json.loads(line) for line in whole.splitlines())
            time.sleep(POLL)

    return lines()


# a stack's


def _of_stack(arguments: argparse.Namespace, output: Output) -> int:
    """The newest lines, and with --follow what comes, until Ctrl-C."""
    from headrace.project.cloud import open_cloud

    cloud, now = open_cloud(arguments.project, arguments.target), datetime.now(UTC)
    chosen = {"pipeline": arguments.pipeline, "errors": arguments.errors, "all": arguments.all}
    last = cloud.recent(_instant(arguments.since or DAY), arguments.lines, **chosen)
    for record in last:
        output.data(log_line(record, output.as_json))
    if not last and arguments.lines:
        idle = "" if arguments.all else "; --all also shows invocations that found nothing to do"
        when = "since then" if arguments.since else "in the last day"
        output.say(f"the functions have said nothing {'of that ' if _chosen(arguments) else ''}{when}{idle}")
    sys.stdout.flush()
    if not arguments.follow:
        return 0
    interrupted = _interrupt()
    for record in cloud.follow(now, interrupted.wait, **chosen):
        output.data(log_line(record, output.as_json))
        sys.stdout.flush()
    return 130


def _interrupt() -> threading.Event:
    """Set by Ctrl-C. An exception in the midst of a request might be taken for a fault of the request."""
    asked = threading.Event()

    def handle(number: int, frame: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # who asks twice is in a hurry

    signal.signal(signal.SIGINT, handle)
    return asked
