"""`plan`, `deploy`, `verify`, `invoke` and `destroy`: the stack of an "aws" target."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.cli.options import command, confirmed
from headrace.cli.output import Output
from headrace.model.errors import UsageError
from headrace.model.where import meant
from headrace.model.words import count

if TYPE_CHECKING:
    from headrace.project.cloud import Cloud, Plan


def register(commands: Any, common: argparse.ArgumentParser) -> None:
    one = command(commands, common, "plan", plan, "what a deploy would make, change, lose and cost; needs no account")
    one.add_argument("--offline", action="store_true", help="ask nobody: show what is declared")
    one.add_argument("--no-drift", action="store_true", help="do not look for what was changed by hand")

    one.add_argument("--sample", metavar="FILE.json", help="what a metered run used: for the cost of a million rows")

    one = command(commands, common, "deploy", deploy, "make the stack be what the definition says", writes=True)
    one.add_argument("--accept-data-loss", action="store_true", help="go on although rows or files would be lost")
    one.add_argument("--repair", action="store_true", help="also bring back what was changed by hand")

    command(commands, common, "verify", verify, "try a deployed stack out, with a canary that leaves no row")

    one = command(commands, common, "invoke", invoke, "call a pipeline's ingest function with a saved event")
    one.add_argument("event", metavar="EVENT.json", help="an event as S3 or SQS sends it; - for stdin")
    one.add_argument("--pipeline", metavar="PIPELINE", help="whose function (no need where there is only one)")

    one = command(commands, common, "destroy", destroy, "delete the stack; data stays unless told", writes=True)
    one.add_argument("--delete-data", action="store_true", help="also delete buckets, tables and all that they hold")
    one.add_argument("--confirm", metavar="NAME", help="the stack's name, where nobody can be asked for it")


def cloud_of(arguments: argparse.Namespace) -> Cloud:
    """The stack that the arguments name."""
    from headrace.project.cloud import open_cloud

    return open_cloud(arguments.project, arguments.target)


def plan(arguments: argparse.Namespace, output: Output) -> int:
    sample = _object(arguments.sample) if arguments.sample else None
    cloud = cloud_of(arguments)
    found = cloud.plan(output.say, offline=arguments.offline, look=not arguments.no_drift, sample=sample)
    _told(found, output)
    found.refuse()
    if found.drift:
        output.error(cloud.drifted(found.drift))
        return 3
    return 0


def _told(found: Plan, output: Output) -> None:
    from headrace.cli.page import Page
    from headrace.cli.planned import lines

    if output.as_json:
        output.emit(found.public())
    else:
        for line in lines(found, Page.of(sys.stdout)):
            output.data(line)


def deploy(arguments: argparse.Namespace, output: Output) -> int:
    cloud = cloud_of(arguments)
    if arguments.dry_run:
        found = cloud.plan(output.say)
        _told(found, output)
        found.refuse()
        return 0
    found = cloud.intended(output.say, repair=arguments.repair)
    if not _agreed(found, arguments, output):
        return 0
    done = cloud.deploy(output.say, lose=arguments.accept_data_loss, repair=arguments.repair)
    if output.as_json:
        output.emit(done.public())
    else:
        output.data(f"stack {cloud.name} is {done.state}: {done.facts.status}")
    for change in done.changes:
        if change.note:
            output.say(change.note)
    output.say(f"{done.seconds:.0f} s; next: headrace verify --target {arguments.target}")
    return 0


def _agreed(found: Plan, arguments: argparse.Namespace, output: Output) -> bool:
    """Show what a deploy would do, refuse what must not be, and ask. Where nothing changes there is nothing to ask."""
    from headrace.cli.page import Page
    from headrace.cli.planned import lines

    if found.idle and not found.drift:
        return True
    for line in lines(found, Page.of(sys.stderr), positions=False):
        output.say(line)
    found.refuse(lose=arguments.accept_data_loss)
    return confirmed(arguments, output, f"Deploy this to stack {found.stack!r} in account {found.account}?")


def verify(arguments: argparse.Namespace, output: Output) -> int:
    checks = []
    for check in cloud_of(arguments).verify():
        checks.append(check)
        if not output.as_json:
            output.data(f"{check.word:6}  {check.what}: {check.found}")
            sys.stdout.flush()
    if output.as_json:
        output.emit([check.public() for check in checks])
    failed = [check for check in checks if not check.ok]
    for check in failed[:1]:
        more = f" (and {count(len(failed) - 1, 'other')})" if failed[1:] else ""
        output.say(f"HR841 {check.what}: {check.found}{more}; {check.next}")
    return 3 if failed else 0


def invoke(arguments: argparse.Namespace, output: Output) -> int:
    event = _object(arguments.event)
    cloud = cloud_of(arguments)
    output.emit(cloud.invoke(_pipeline(cloud, arguments.pipeline), event))
    return 0


def _object(path: str) -> dict[str, Any]:
    """The JSON object in a file. What it holds is in no message: an event may carry anything."""
    which = "stdin" if path == "-" else path
    try:
        found = json.loads(sys.stdin.read() if path == "-" else Path(path).read_text("utf-8"))
    except OSError as exc:
        raise UsageError("HR121", which, exc.strerror or "cannot be read", "give a file that is there") from exc
    except ValueError as exc:
        line = f" (line {exc.lineno})" if isinstance(exc, json.JSONDecodeError) else ""
        raise UsageError("HR843", which, f"is not JSON{line}", "give one JSON object") from None
    if not isinstance(found, dict):
        raise UsageError("HR843", which, "is no JSON object", "give one JSON object")
    return found


def _pipeline(cloud: Cloud, name: str | None) -> str:
    if name is None:
        if len(cloud.pipelines) > 1:
            found = f"there are {len(cloud.pipelines)} pipelines"
            raise UsageError("HR134", "headrace invoke", found, f"say --pipeline {next(iter(cloud.pipelines))}")
        return next(iter(cloud.pipelines))
    if name not in cloud.pipelines:
        raise UsageError("HR120", name, "there is no such pipeline", meant(name, cloud.pipelines))
    return name


def destroy(arguments: argparse.Namespace, output: Output) -> int:
    cloud = cloud_of(arguments)
    found = cloud.survey(delete_data=arguments.delete_data)
    if arguments.dry_run:
        if output.as_json:
            output.emit(found.public())
        else:
            _list(found, output.data)
            _remark(found, output.say)
        return 0
    if not found.going:
        _remark(found, output.say)
        if output.as_json:
            output.emit({"removed": [], "kept": [item.public() for item in found.staying]})
        output.say(f"nothing of stack {cloud.name!r} is there" + (" but its data" if found.staying else ""))
        return 0
    _list(found, output.say)
    if not _confirmed(arguments, output, cloud.name):
        return 2
    done = cloud.destroy(output.say, delete_data=arguments.delete_data)
    if output.as_json:
        going, staying = ([item.public() for item in items] for items in (done.going, done.staying))
        output.emit({"removed": going, "kept": staying})
    left = f"its data stays: {count(len(done.staying), 'thing')}" if done.staying else "nothing is left of it"
    output.say(f"stack {cloud.name!r} is gone, and {left}")
    return 0


def _list(found: Any, say: Any) -> None:
    for verb, items in (("goes", found.going), ("stays", found.staying)):
        for item in items:
            say(f"{verb:6} {item.kind:22} {item.name}{'  (data)' if item.holds else ''}")


def _remark(found: Any, say: Any) -> None:
    for remark in found.remarks():
        say(remark)


def _confirmed(arguments: argparse.Namespace, output: Output, name: str) -> bool:
    """Whether the stack's name was typed, here or as --confirm beside --yes."""
    if arguments.yes or arguments.confirm is not None or not sys.stdin.isatty():
        if arguments.yes and arguments.confirm == name:
            return True
        found = (
            "--confirm is another name" if arguments.confirm not in (None, name) else "would ask for the stack's name"
        )
        raise UsageError("HR839", f"stack {name!r}", found, f"say --yes --confirm {name}")
    sys.stderr.write(f"type the stack's name, {name}, to delete what goes: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() == name:
        return True
    output.say("that is not its name; nothing was done")
    return False
