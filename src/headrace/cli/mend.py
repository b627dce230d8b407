"""`replay`, `retract`, `rebuild`, `compact`: changes to what stands, each a revision that can be told afterwards."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from headrace.cli.loads import exit_after, say_failures, say_replayed, tell_loads
from headrace.cli.options import command, confirmed, opened, since
from headrace.cli.output import Output, count
from headrace.model.errors import UsageError

if TYPE_CHECKING:
    from headrace.project import Project


def register(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = command(
        commands, common, "replay", replay, "load standing objects again under the present definition", writes=True
    )
    parser.add_argument("pipeline", metavar="PIPELINE")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--since", type=since, metavar="TIME", help="loads since 2025-05-01, or '2 hours' back")
    chosen.add_argument("--file", action="append", metavar="KEY", help="this object; may be repeated")
    chosen.add_argument("--outdated", action="store_true", help="loads of an older definition")
    chosen.add_argument("--all", action="store_true", help="every load that stands")

    parser = command(
        commands, common, "retract", retract, "show retractions that are held, confirm them, or let go", writes=True
    )
    parser.add_argument("pipeline", metavar="PIPELINE")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--confirm", action="store_true", help="take the rows of the held objects away")
    chosen.add_argument("--file", action="append", metavar="KEY", help="let this object go; may be repeated")
    chosen.add_argument(
        "--gone", action="store_true", help="let every object go that is gone, or damaged in the archive"
    )

    parser = command(commands, common, "rebuild", rebuild, "fill a sink again from the staged base", writes=True)
    parser.add_argument("pipeline", metavar="PIPELINE", nargs="?", help="whose sink it is (no need: names are unique)")
    parser.add_argument("sink", metavar="SINK", help="the sink's table")

    parser = command(commands, common, "compact", compact, "merge small files into large ones", writes=True)
    parser.add_argument("pipeline", nargs="?", metavar="PIPELINE", help="default: every pipeline")


def replay(arguments: argparse.Namespace, output: Output) -> int:
    if not (arguments.since or arguments.file or arguments.outdated or arguments.all):
        raise UsageError("HR137", "headrace replay", "which loads?", "say --since, --file, --outdated or --all")
    with opened(arguments) as project:
        wanted: dict[str, Any] = {
            "since": arguments.since,
            "files": arguments.file or (),
            "outdated": arguments.outdated,
        }
        keys = [load.key for load in project.replayable(arguments.pipeline, **wanted)]
        if not keys:
            output.table([])
            output.say("nothing is outdated" if arguments.outdated else "no load that stands is meant")
            return 0
        if arguments.dry_run:
            lost = project.unreadable(arguments.pipeline, keys)
            able = [key for key in keys if key not in lost]
            output.table([{"object": key} for key in able])
            output.say(f"{count(len(able), 'object')} would be loaded again")
            if lost:
                told = f"{count(len(lost), 'object')} cannot be read again"
                output.say(f"{told}: headrace retract {arguments.pipeline} --gone --dry-run")
            return 0
        if arguments.all and not confirmed(arguments, output, f"Load {count(len(keys), 'object')} again?"):
            return 0
        from headrace.cli.progress import progress

        with progress(output, project, [arguments.pipeline]) as on_progress:
            done = project.replay(arguments.pipeline, **wanted, all=arguments.all, on_progress=on_progress)
        if output.as_json:
            output.emit([{**x.public(), "cause": x.cause} for x in done])
        else:
            tell_loads(done, output)
        say_failures(project, arguments.pipeline, done, output)
        say_replayed(done, output)
        output.say(f"next: headrace history {arguments.pipeline}")
    return exit_after(done)


def retract(arguments: argparse.Namespace, output: Output) -> int:
    with opened(arguments) as project:
        if arguments.file or arguments.gone:
            return _let_go(project, arguments, output)
        held = project.held(arguments.pipeline)
        output.table([{"object": key} for key in held])
        if not held:
            output.say("no retraction is held")
            return 0
        if not arguments.confirm or arguments.dry_run:
            output.say(
                f"{count(len(held), 'object')} would lose their rows: headrace retract {arguments.pipeline} --confirm"
            )
            return 0
        done = project.retract(arguments.pipeline)
        output.say(f"{count(done, 'object')} retracted; next: headrace history {arguments.pipeline}")
    return 0


def _let_go(project: Project, arguments: argparse.Namespace, output: Output) -> int:
    name = arguments.pipeline
    keys = project.gone(name, files=arguments.file or ())
    output.table([{"object": key} for key in keys])
    if not keys:
        output.say("no object is gone: all that stands can be read again")
        return 0
    if arguments.dry_run:
        output.say(f"{count(len(keys), 'object')} would lose their rows")
        return 0
    if not confirmed(arguments, output, f"Take the rows of {count(len(keys), 'object')} away?"):
        return 0
    done = project.let_go(name, keys)
    if done:
        output.say(f"{count(done, 'object')} retracted; next: headrace history {name}")
    if left := len(keys) - done:
        output.say(f"{count(left, 'object')} will go when the others are brought over: headrace replay {name} --all")
    return 0


def rebuild(arguments: argparse.Namespace, output: Output) -> int:
    sink = arguments.sink
    with opened(arguments) as project:
        owners = {s.table: p.name for p in project.pipelines.values() for s in p.sinks}
        if sink not in owners:
            from headrace.model.where import meant

            raise UsageError("HR128", sink, "there is no such sink", meant(sink, owners))
        if arguments.pipeline not in (None, owners[sink]):
            raise UsageError("HR128", sink, f"it is no sink of {arguments.pipeline!r}", f"it is {owners[sink]!r}'s")
        if arguments.dry_run:
            if output.as_json:
                output.emit({"sink": sink, "pipeline": owners[sink]})
            output.say(f"would fill {sink} again from the base of {owners[sink]}")
            return 0
        if not confirmed(arguments, output, f"Replace everything in {sink} from the base of {owners[sink]}?"):
            return 0
        from headrace.cli.progress import filling

        with filling(output, project.home(owners[sink])) as on_progress:
            pipeline = project.rebuild(sink, on_progress)
        if output.as_json:
            output.emit({"sink": sink, "pipeline": pipeline})
        output.say(f"{sink} holds what stands in {pipeline}")
    return 0


def compact(arguments: argparse.Namespace, output: Output) -> int:
    with opened(arguments) as project:
        names = [arguments.pipeline] if arguments.pipeline else list(project.pipelines)
        told = []
        for name in names:
            ledger = project.home(name).ledger
            before = len(ledger.files("data"))
            if not arguments.dry_run:
                project.compact(name)
            told.append({"pipeline": name, "files_before": before, "files_after": len(ledger.files("data"))})
        output.table(told)
    return 0
