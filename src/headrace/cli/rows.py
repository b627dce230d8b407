"""`quarantine` is rows, `dlq` is objects: what was not loaded, why, and the way back."""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.cli.loads import exit_after, say_failures, say_replayed, tell_loads
from headrace.cli.options import add_writes, command, confirmed, opened, positive, writing
from headrace.cli.output import Output, count
from headrace.model.errors import UsageError
from headrace.model.hints import typed
from headrace.model.words import some

if TYPE_CHECKING:
    from headrace.project import Project
    from headrace.project.correcting import Corrected
    from headrace.project.results import Undelivered

FEW = 5
"""Objects that are named as examples."""


def register(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = command(
        commands, common, "quarantine", _usage, "rejected rows: ls, show, export, redrive, correct, corrections"
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=type(parser))
    _verb(verbs, common, "ls", quarantine_ls, "how many rows each rule rejected")
    shown = _verb(verbs, common, "show", quarantine_show, "rejected rows with raw text and reason", filtered=True)
    shown.add_argument("--limit", type=positive, default=20, metavar="N", help="most rows (default: 20)")
    exported = _verb(
        verbs, common, "export", quarantine_export, "rejected rows as CSV, to edit and bring back", filtered=True
    )
    exported.add_argument("--out", metavar="FILE", help="default: stdout")
    _verb(
        verbs,
        common,
        "redrive",
        quarantine_redrive,
        "load the objects of rejected rows again",
        filtered=True,
        writes=True,
    )
    corrected = _verb(verbs, common, "correct", quarantine_correct, "bring edited rows of an export back", writes=True)
    corrected.add_argument("edited", metavar="FILE")
    listed = _verb(verbs, common, "corrections", quarantine_corrections, "corrections in force", writes=True)
    listed.add_argument("--file", metavar="KEY", help="only this object, or the end of its key")
    listed.add_argument("--drop", action="store_true", help="forget them, and load their objects as they are")

    parser = command(commands, common, "dlq", _usage, "objects that cannot load: ls, show, export, redrive")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=type(parser))
    _verb(verbs, common, "ls", dlq_ls, "dead objects with their causes")
    _verb(verbs, common, "show", dlq_show, "one dead object").add_argument("key", metavar="KEY")
    exported = _verb(verbs, common, "export", dlq_export, "copy dead objects into a folder")
    exported.add_argument("--out", required=True, metavar="DIR")
    driven = _verb(verbs, common, "redrive", dlq_redrive, "try dead objects again", writes=True)
    driven.add_argument("keys", nargs="*", metavar="KEY", help="default: all, and what a stack's queue gave up")


def _verb(
    verbs: Any,
    common: argparse.ArgumentParser,
    name: str,
    function: Any,
    help: str,
    *,
    filtered: bool = False,
    writes: bool = False,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, parents=[common], help=help, description=f"{help}.")
    parser.set_defaults(function=function)
    parser.add_argument("pipeline", metavar="PIPELINE", nargs="?" if name == "ls" else None)
    if filtered:
        parser.add_argument("--file", metavar="KEY", help="only this object, or the end of its key")
        parser.add_argument("--rule", metavar="NAME", help="only what this rule rejected")
    if writes:
        add_writes(parser)
    return parser


def _usage(arguments: argparse.Namespace, output: Output) -> int:
    raise UsageError("HR100", f"headrace {arguments.command}", "a verb is missing", "see --help")


def quarantine_ls(arguments: argparse.Namespace, output: Output) -> int:
    from headrace.project.quarantine import summary

    with opened(arguments) as project:
        names = [arguments.pipeline] if arguments.pipeline else list(project.pipelines)
        found = [{"pipeline": n, **row} for n in names for row in summary(project.home(n))]
        output.table(found)
        if found:
            output.say(f"next: headrace quarantine show {found[0]['pipeline']} --rule {found[0]['rule']}")
        else:
            output.say("nothing is rejected")
    return 0


def quarantine_show(arguments: argparse.Namespace, output: Output) -> int:
    from headrace.project.quarantine import names_of

    with opened(arguments) as project:
        rows = project.quarantine(arguments.pipeline, file=arguments.file, rule=arguments.rule, limit=arguments.limit)
        columns = ["_source_file", "_source_row", "_source_line", "rule", "column", "value", "reason", "raw"]
        output.table(rows, columns, plain=True)
        if not rows:
            output.say(_nothing(project, arguments))
        else:
            (first,) = names_of(project.home(arguments.pipeline), rows[:1])
            output.say(f"next: headrace explain {first}")
            output.say(f"      headrace quarantine export {arguments.pipeline} --out rejected.csv")
    return 0


def _nothing(project: Project, arguments: argparse.Namespace) -> str:
    """Why there is nothing to show, and what there is."""
    rows = project.quarantine(arguments.pipeline)
    if not rows:
        return "nothing is rejected"
    rules = sorted({row["rule"] for row in rows})
    files = sorted({row["_source_file"] for row in rows})
    told = f"{', '.join(files[:5])}{', …' if len(files) > 5 else ''}"
    return f"no such row is rejected; rules with rows are {', '.join(rules)}; files {told}"


def quarantine_export(arguments: argparse.Namespace, output: Output) -> int:
    from headrace.project.quarantine import export

    with opened(arguments) as project:
        home = project.home(arguments.pipeline)
        rows = project.quarantine(arguments.pipeline, file=arguments.file, rule=arguments.rule)
        if arguments.out is None and output.as_json:
            text = io.StringIO()
            export(home, rows, text)
            output.table(list(csv.DictReader(io.StringIO(text.getvalue()))))
            return 0
        if arguments.out is None:
            export(home, rows, sys.stdout)
            return 0
        path = Path(arguments.out)
        if os.path.lexists(path):
            raise UsageError("HR135", str(path), "exists already", "choose another name")
        with writing(path), path.open("x", encoding="utf-8", newline="") as out:
            n = export(home, rows, out)
        if output.as_json:
            output.emit({"rows": n, "file": str(path)})
    way = typed("quarantine", "correct", arguments.pipeline, path)
    output.say(f"{count(n, 'row')} in {path}; edit, then: {way}")
    return 0


def quarantine_redrive(arguments: argparse.Namespace, output: Output) -> int:
    """Load again, under the present definition, every object that has rejected rows."""
    from headrace.project.quarantine import objects

    with opened(arguments) as project:
        rows = project.quarantine(arguments.pipeline, file=arguments.file, rule=arguments.rule)
        keys = objects(project.home(arguments.pipeline), rows)
        if not arguments.dry_run and keys:
            done = project.replay(arguments.pipeline, files=keys)
            if not output.as_json:
                tell_loads(done, output)
            say_failures(project, arguments.pipeline, done, output)
            say_replayed(done, output)
            left = len(project.quarantine(arguments.pipeline, file=arguments.file, rule=arguments.rule))
            output.say(f"rejected rows: {len(rows):,} → {left:,}")
        if output.as_json or arguments.dry_run:
            output.table([{"object": key} for key in keys])
    return 0


def quarantine_correct(arguments: argparse.Namespace, output: Output) -> int:
    from headrace.project.correcting import read

    with opened(arguments) as project:
        path = Path(arguments.edited)
        if not os.path.isfile(path):
            raise UsageError("HR121", str(path), "there is no such file", "check the path")
        if arguments.dry_run:
            _, done = read(project.home(arguments.pipeline), path)
        else:
            done = project.correct(arguments.pipeline, path)
        if output.as_json:
            output.emit(done.public())
        elif arguments.dry_run:
            output.table([{"object": key} for key in done.keys])
            output.say(f"{count(done.rows, 'row')} of {count(len(done.keys), 'object')} would be corrected")
        else:
            _tell_corrected(done, output)
            say_failures(project, arguments.pipeline, done.loads, output)
        for line in done.unchanged:
            output.say(f"nothing changed in line {line} of {path}")
        if done.skipped:
            output.say(f"{count(done.skipped, 'row')} left aside: their version does not stand any more")
        if done.lost:
            output.say(f"{count(done.lost_rows, 'row')} left aside: {some(list(done.lost))} cannot be read again")
        if not arguments.dry_run:
            output.say(f"next: headrace quarantine ls {arguments.pipeline}")
    if not done.rows or done.outcome.get("rejected"):
        return 1
    return exit_after(done.loads)


def _tell_corrected(done: Corrected, output: Output) -> None:
    """What became of the corrected rows, then what became of their objects' other rows."""
    tell_loads(done.loads, output)
    o = done.outcome
    if o:
        others = [f"{n:,} {name}" for name, n in o.items() if n and name not in ("loaded", "rejected")]
        again = [f"{o['rejected']:,} rejected again"] if o["rejected"] else []
        told = "; ".join([f"{o['loaded']:,} of {count(done.rows, 'row')} loaded", *again, *others])
        output.say(f"corrected: {told}")
    elif not done.rows:
        output.say("nothing was corrected")
    if any(x.state != "standing" for x in done.loads):
        say_replayed(done.loads, output)


def quarantine_corrections(arguments: argparse.Namespace, output: Output) -> int:
    with opened(arguments) as project:
        name = arguments.pipeline
        found = project.corrections(name, file=arguments.file)
        if not output.as_json or not arguments.drop or arguments.dry_run or not found:
            told = [{"file": c.file, "record": c.record, "corrected_at": c.at, "cells": dict(c.cells)} for c in found]
            text = [
                {**row, "cells": ",".join(v or "" for v in c.cells.values())}
                for row, c in zip(told, found, strict=True)
            ]
            output.table(told if output.as_json else text)
        if not found:
            output.say("nothing is corrected")
            return 0
        if not arguments.drop or arguments.dry_run:
            output.say(f"next: headrace quarantine corrections {name} --drop")
            return 0
        if not confirmed(arguments, output, f"Forget {count(len(found), 'correction')}?"):
            return 0
        done = project.drop_corrections(name, file=arguments.file)
        tell_loads(done, output)
        output.say(f"{count(len(found), 'correction')} dropped")
        say_replayed(done, output)
    return exit_after(done)


def dlq_ls(arguments: argparse.Namespace, output: Output) -> int:
    with opened(arguments) as project:
        dead = project.dlq(arguments.pipeline)
        told = [
            {"pipeline": x.pipeline, "object": x.key, "load": x.id, "seen_at": x.seen_at, "cause": x.cause}
            for x in dead
        ]
        output.table(told)
        if dead:
            output.say(f"next: {typed('dlq', 'show', dead[0].pipeline, dead[0].key)}")
            output.say(f"      headrace dlq redrive {dead[0].pipeline}")
        undelivered = project.undelivered(arguments.pipeline)
        for one in undelivered:
            output.say(f"{_given_up(one)}: headrace dlq redrive {one.pipeline}")
        if not dead and not undelivered:
            output.say("nothing is dead")
    return 0


def _given_up(one: Undelivered) -> str:
    """The messages of a queue that nobody could take, and what the first of them are about."""
    shown = ", ".join(one.keys[:FEW]) + (", …" if one.messages > FEW else "")
    about = f", about {shown}" if one.keys else ""
    return f"{one.pipeline}: {count(one.messages, 'message')} in the dead-letter queue{about}"


def dlq_show(arguments: argparse.Namespace, output: Output) -> int:
    with opened(arguments) as project:
        load = _dead(project, arguments.pipeline, arguments.key)
        found = project.explain(load.id)
        if output.as_json:
            output.emit(found.facts)
        else:
            output.data(str(found))
            output.say(f"next: headrace explain {load.cause[:5]}")
    return 0


def _dead(project: Any, pipeline: str, key: str) -> Any:
    dead = {x.key: x for x in project.dlq(pipeline)}
    if key not in dead:
        from headrace.model.where import meant

        raise UsageError("HR136", key, "is not dead", meant(key, dead) if dead else "nothing is")
    return dead[key]


def dlq_export(arguments: argparse.Namespace, output: Output) -> int:
    with opened(arguments) as project:
        home = project.home(arguments.pipeline)
        out = Path(arguments.out)
        copied = []
        for load in project.dlq(arguments.pipeline):
            path = out / load.key
            if os.path.lexists(path):
                raise UsageError("HR135", str(path), "exists already", "choose another folder")
            if home.store.stat(load.key) is None:
                output.say(f"{load.key} is not in the landing folder any more")
                continue
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            home.store.fetch(load.key, path)
            copied.append({"object": load.key, "file": str(path), "cause": load.cause})
        output.table(copied)
    return 0


def dlq_redrive(arguments: argparse.Namespace, output: Output) -> int:
    with opened(arguments) as project:
        if arguments.keys:
            keys = [_dead(project, arguments.pipeline, key).key for key in arguments.keys]
        else:
            _put_back(project, arguments, output)  # first of all: it may be about an object that is dead as well
            keys = [x.key for x in project.dlq(arguments.pipeline)]
        if not arguments.dry_run and keys:
            project.redrive(arguments.pipeline, keys)
            dead = {x.key: x.cause for x in project.dlq(arguments.pipeline)}
        else:
            dead = {}
        still = [key for key in keys if key in dead]
        states = (
            {}
            if arguments.dry_run
            else {key: project.history(arguments.pipeline, file=key, limit=1)[-1].state for key in keys}
        )
        output.table([{"object": k, "state": states.get(k, "dead"), "cause": dead.get(k, "")} for k in keys])
        if not arguments.dry_run:
            output.say(f"{count(len(keys) - len(still), 'object')} came to stand, {len(still):,} dead as before")
    return 4 if still else 0


def _put_back(project: Project, arguments: argparse.Namespace, output: Output) -> None:
    """Let the queue deliver again what it gave up; with --dry-run only say so."""
    if arguments.dry_run:
        for one in project.undelivered(arguments.pipeline):
            output.say(f"{_given_up(one)} would be put back")
    elif moved := project.put_back(arguments.pipeline):
        output.say(f"{count(moved, 'message')} of the dead-letter queue put back and taken")
