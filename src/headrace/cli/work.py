"""`run` and `up`: files become rows."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.cli.loads import say_failures, tell_loads
from headrace.cli.options import command, opened
from headrace.cli.output import Output, count
from headrace.model.hints import asking

if TYPE_CHECKING:
    from headrace.project import Project, RunResult


def register(commands: Any, common: argparse.ArgumentParser) -> None:
    one = command(commands, common, "run", run, "load files and wait until they stand", writes=True)
    one.add_argument("pipeline", metavar="PIPELINE")
    one.add_argument("files", nargs="*", metavar="FILE", help="files or folders; none: what lies in the landing folder")
    command(commands, common, "up", up, "watch the landing folder and work until interrupted")


def run(arguments: argparse.Namespace, output: Output) -> int:
    with opened(arguments) as project:
        if arguments.dry_run:
            from headrace.project.planning import foretold

            output.table(foretold(project, arguments.pipeline, arguments.files) if arguments.files else [])
            return 0
        from headrace.cli.progress import progress
        from headrace.engine.log import listening

        notified: set[str] = set()

        def hear(event: str, fields: Mapping[str, Any]) -> None:
            if event == "notified":
                notified.add(str(fields.get("name")))

        with progress(output, project, [arguments.pipeline]) as on_progress, listening(hear):
            result = project.run(arguments.pipeline, arguments.files, on_progress=on_progress)
        if output.as_json:
            output.emit(result.public())
        else:
            _tell(project, result, output)
        say_failures(project, arguments.pipeline, result.loads, output, notified)
    return result.exit_code


def _tell(project: Project, result: RunResult, output: Output) -> None:
    tell_loads(result.changed, output, unchanged=len(result.loads) - len(result.changed))
    if gone := result.retracted:
        rows, them = count(sum(x.rows for x in gone), "row"), "it" if len(gone) == 1 else "them"
        output.say(f"{count(len(gone), 'object')} gone and retracted: {rows} went with {them}")
    output.say(f"{count(len(result.changed), 'load')} in {result.seconds:.1f} s")
    name = next(iter(result.standing))
    table = project.pipelines[name].sinks[0].table
    if result.standing[name]:
        output.say(f"next: {asking(table)}")


def up(arguments: argparse.Namespace, output: Output) -> int:
    import signal
    import threading

    from headrace.engine.log import listening

    stop = threading.Event()
    received: list[int] = []

    def ask_to_stop(number: int, frame: object) -> None:
        received.append(number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask_to_stop)
    with opened(arguments) as project, listening(lambda what, told: _tell_event(project, what, told, output)):
        project.up(stop)
    output.say("stopped; what was committed stands")
    return 130 if signal.SIGINT in received else 0


def _tell_event(project: Project, event: str, fields: Mapping[str, Any], output: Output) -> None:
    """A line for what a person who watches `up` wants to see; `headrace logs` has the rest."""
    match event:
        case "up.started":
            output.say("watching; put files into (Ctrl-C stops)")
            for name, pipeline in project.pipelines.items():
                output.say(f"  {Path(fields['landing']) / pipeline.source.prefix}  for {name}")
        case "revision.stands":
            output.say(revision_line(fields))
        case "publish.blocked" | "publish.failed" | "ingest.failed" | "scan.failed" | "watch.failed" | "landing.failed":
            output.say(f"{fields.get('pipeline', 'up')}: {fields['error']}")


def revision_line(fields: Mapping[str, Any]) -> str:
    """`meters revision 3: 2 objects loaded, 1 retired; read 12 = loaded 10 + rejected 1 + duplicate 1 + filtered 0`"""
    told = f"{fields['pipeline']} revision {fields['revision']}: "
    if fields["reason"] == "compact":
        return told + "small files were merged"
    told += f"{count(fields['objects'], 'object')} loaded"
    if fields["retired"]:
        told += f", {fields['retired']:,} retired"
    if not fields["objects"]:
        return told
    duplicate = fields["duplicate"] + fields["conflict"]
    return (
        f"{told}; read {fields['read']:,} = loaded {fields['loaded']:,} + rejected {fields['rejected']:,}"
        f" + duplicate {duplicate:,} + filtered {fields['filtered']:,}"
    )
