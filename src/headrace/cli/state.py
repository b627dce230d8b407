"""`status`, `history`, `show` and `doctor`: how things are, and how they came to be so."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.cli.options import command, opened, positive, since
from headrace.cli.output import Output, count, size

if TYPE_CHECKING:
    from headrace.project import Status


def register(commands: Any, common: argparse.ArgumentParser) -> None:
    command(commands, common, "status", status, "health now: exit 0 healthy, 1 alarms, 3 a fault")

    parser = command(commands, common, "history", history, "loads as they were first seen, newest last")
    parser.add_argument("pipeline", nargs="?", metavar="PIPELINE")
    parser.add_argument("--file", metavar="KEY", help="only this object")
    parser.add_argument("--since", type=since, metavar="TIME", help="2025-05-01, or '2 hours' back")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--limit", type=positive, default=50, metavar="N", help="the newest N (default: 50)")
    shown.add_argument("--all", action="store_true", help="every one")

    parser = command(commands, common, "show", show, "what a pipeline is: with --json its manifest")
    parser.add_argument("pipeline", metavar="PIPELINE")

    command(commands, common, "doctor", doctor, "what this machine allows, and whether this root is sound")


def status(arguments: argparse.Namespace, output: Output) -> int:
    with opened(arguments) as project:
        found = project.status()
    if output.as_json:
        output.emit(found.public())
    else:
        _tell_status(found, output)
    return found.exit_code


def _tell_status(found: Status, output: Output) -> None:
    columns = ["pipeline", "revision", "standing", "rows", "rejected", "conflicts",
               "waiting", "dead", "held", "outdated", "stale"]  # fmt: skip
    output.table([{c: getattr(p, c) for c in columns} for p in found.pipelines], columns)
    if found.stack:
        _tell_stack(found, output)
    else:
        _tell_root(found, output)
    for p in found.pipelines:
        for fault in p.faults:
            output.data(output.placed(f"FAULT {p.pipeline}: {fault}"))
        for alarm in p.alarms:
            output.data(output.placed(f"ALARM {p.pipeline}: {alarm}"))
        if p.outdated and not any(fault.startswith("HR240") for fault in p.faults):  # which says what to do
            outdated = f"{p.pipeline}: {count(p.outdated, 'load')} of an older definition"
            output.say(f"{outdated}: headrace replay {p.pipeline} --outdated")


def _tell_root(found: Status, output: Output) -> None:
    running = f"process {found.running} works on it" if found.running is not None else "nobody works on it now"
    disk = ", ".join(f"{name} {size(n)}" for name, n in sorted(found.disk.items(), key=lambda x: -x[1]) if n)
    output.data(f"target {found.target} at {found.root}: {running}")
    output.data(f"disk {size(sum(found.disk.values()))}: {disk}" if disk else "disk: nothing yet")


def _tell_stack(found: Status, output: Output) -> None:
    queues = [f"{name} {sum(depths.values()):,}" for name, depths in found.queues.items()]
    output.data(f"target {found.target}: its stack is {found.stack}; messages: {', '.join(queues)}")
    for fault in found.faults:
        output.data(f"FAULT {fault}")
    for alarm in found.alarms:
        output.data(f"ALARM {alarm}")


def history(arguments: argparse.Namespace, output: Output) -> int:
    from headrace.project.explaining import load_facts

    with opened(arguments) as project:
        limit = None if arguments.all else arguments.limit
        loads = project.history(arguments.pipeline, file=arguments.file, since=arguments.since, limit=limit)
        facts = [load_facts(x) for x in loads]
        columns = ["load", "seen_at", "object", "state", "read", "loaded", "rejected", "duplicate", "filtered", "cause"]
        rows = facts if output.as_json else [{**f, "duplicate": f["duplicate"] + f["conflict"]} for f in facts]
        output.table(rows, columns)
        if loads:
            output.say(f"next: headrace explain {loads[-1].id}")
        else:
            output.say("no loads")
    return 0


def show(arguments: argparse.Namespace, output: Output) -> int:
    from headrace.cli.showing import lines
    from headrace.project.manifest import manifest

    with opened(arguments) as project:
        told = manifest(project.pipeline(arguments.pipeline))
    if output.as_json:
        output.emit(told)
        return 0
    for line in lines(told):
        output.data(line)
    return 0


def doctor(arguments: argparse.Namespace, output: Output) -> int:
    from headrace import config
    from headrace.engine.settings import Settings
    from headrace.model.errors import UsageError
    from headrace.project.health import examine

    there = None
    try:
        project = config.read(Path(arguments.project))
        place = project.target(arguments.target)
        root = place.root
        if place.kind == "aws":
            from headrace.project.there import There

            there = There.of(project, place, {}, f"{config.FILE} [targets.{place.name}]")
        settings = there.settings if there else Settings.from_mapping(place.settings)
    except UsageError as exc:
        if exc.code != "HR101":
            raise
        root, settings = Path(arguments.project).resolve(), Settings()
        output.say(f"no project here: looking at the machine alone ({exc.next})")
    findings = examine(root, settings)
    if there is not None:
        from headrace.project.access import examine_target

        findings += examine_target(there)
    output.table([{"what": f.name, "ok": f.ok, "found": f.found, "next": "" if f.ok else f.next} for f in findings])
    return 0 if all(f.ok for f in findings if f.needed) else 3
