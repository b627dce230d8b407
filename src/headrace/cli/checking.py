"""`check`: mistakes before anything runs, and what a run would do."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headrace.cli.loads import passed_over
from headrace.cli.options import command, opened
from headrace.cli.output import Output, count
from headrace.model.errors import DefinitionError, HeadraceError

if TYPE_CHECKING:
    from headrace.project import Project
    from headrace.project.checking import Against, Checked, KeyEvidence


def register(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = command(
        commands, common, "check", check, "find every mistake in the definitions, or try files against them"
    )
    parser.add_argument("pipeline", nargs="?", metavar="PIPELINE", help="only this one (with --against: which one)")
    parser.add_argument("--against", nargs="+", metavar="FILE", help="say what a run of these files would do")


def check(arguments: argparse.Namespace, output: Output) -> int:
    try:
        project = opened(arguments)
    except DefinitionError as exc:
        return _errors([exc, *exc.others], output)
    with project:
        checked = project.check()
        if checked.errors:
            return _errors(checked.errors, output)
        if arguments.against:
            return _against(project, arguments, output)
        if arguments.pipeline:
            project.pipeline(arguments.pipeline)
        _describe(checked, arguments.pipeline, output)
    return 0


def _errors(errors: Sequence[HeadraceError], output: Output) -> int:
    if output.as_json:
        told = [{"code": e.code, "which": e.which, "found": e.found, "next": e.next} for e in errors]
        output.emit({"errors": told, "pipelines": []})
    for error in errors:
        output.say(str(error))
    output.say(f"{count(len(errors), 'error')}; `headrace explain CODE` tells more")
    return 2


def _describe(checked: Checked, only: str | None, output: Output) -> None:
    chosen = [p for p in checked.pipelines if only in (None, p.pipeline)]
    if output.as_json:
        told = [
            {
                "pipeline": p.pipeline,
                "key": p.key,
                "sinks": p.sinks,
                "columns": [{"name": n, "type": t, "from": o} for n, t, o in p.columns],
            }
            for p in chosen
        ]
        output.emit({"errors": [], "pipelines": told})
        return
    for p in chosen:
        output.data(f"pipeline {p.pipeline} → {', '.join(p.sinks)}")
        output.data(f"  key {', '.join(p.key)}" if p.key else "  no key: every row stays")
        width, kinds = max(len(n) for n, _, _ in p.columns), max(len(t) for _, t, _ in p.columns)
        for name, kind, origin in p.columns:
            output.data(f"  {name:{width}}  {kind:{kinds}}  {origin}")
        for note in p.notes:
            output.say(f"  note: {note}")
    output.say("no errors; next: headrace check --against FILE, or headrace run PIPELINE FILE…")


def _against(project: Project, arguments: argparse.Namespace, output: Output) -> int:
    name = arguments.pipeline or next(iter(project.pipelines))
    if not arguments.pipeline and len(project.pipelines) > 1:
        from headrace.model.errors import UsageError

        known = ", ".join(project.pipelines)
        raise UsageError("HR134", "check --against", f"the project has pipelines {known}", "name one before --against")
    found = project.check_against(name, arguments.against)
    if output.as_json:
        _emit_against(found, output)
    else:
        _tell_against(found, output)
    return 1 if found.failed or found.rejected or (found.key and found.key.collision) else 0


def _emit_against(found: Against, output: Output) -> None:
    key = found.key and {
        "columns": found.key.columns,
        "rows": found.key.rows,
        "distinct": found.key.distinct,
        "collision": found.key.collision,
    }
    output.emit(
        {
            "pipeline": found.pipeline,
            "files": found.files,
            "read": found.read,
            "accepted": found.accepted,
            "rejected": found.rejected,
            "filtered": found.filtered,
            "columns": [{"column": c, "headers": h} for c, h in found.bindings.items()],
            "ignored_headers": found.extra,
            "failed": [{"object": k, "cause": c} for k, c in found.failed],
            "passed_over": [{"object": k, "members": m} for k, m in found.passed_over],
            "reasons": found.reasons,
            "key": key,
        }
    )


def _tell_against(found: Against, output: Output) -> None:
    output.data(f"pipeline {found.pipeline}, {count(found.files, 'file')}")
    for column, headers in found.bindings.items():
        told = [f"{h!r}" if h else "absent" for h in headers]
        several = len(headers) > 1
        told = [f"{t} in {count(n, 'file')}" for t, n in zip(told, headers.values(), strict=True)] if several else told
        output.data(f"  {column} ← {', '.join(told) or 'no file could be read'}")
    for header, n in found.extra.items():
        output.data(f"  header {header!r} feeds no column ({count(n, 'file')})")
    for key, cause in found.failed:
        output.data(f"  cannot load {key}: {cause}")
    for key, members in found.passed_over:
        output.data(f"  {passed_over(key, members)}")
    output.data(
        f"  read {found.read:,} = accepted {found.accepted:,}"
        f" + rejected {found.rejected:,} + filtered {found.filtered:,}"
    )
    for reason in found.reasons:
        output.data(
            f"  rejected {reason['rows']:,}: {reason['reason']}, e.g. {reason['value']!r} at {reason['example']}"
        )
    if found.key:
        _tell_key(found.key, output)


def _tell_key(key: KeyEvidence, output: Output) -> None:
    output.data(f"  {key}")
    if key.collision:
        output.data("  two that collide:")
        for row in key.collision:
            output.data("    " + ", ".join(f"{k}={v}" for k, v in row.items()))
