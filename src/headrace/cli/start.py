"""`init` and `demo`: from nothing to a first answer."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headrace.cli.options import command, writing
from headrace.cli.output import Output, count
from headrace.model.errors import DefinitionError, HeadraceError, UsageError
from headrace.model.hints import typed

TOML = """# Places, never logic: what rows look like stands in pipelines.py.
[project]
module = "pipelines"

[targets.local]
kind = "local"
root = ".headrace"
"""

PIPELINES = '''"""What arrives, what a row must look like, and where rows go. `headrace check` finds every mistake."""

from datetime import datetime

from headrace import Pipeline, Record, files, keyed, lake


class Reading(Record, key=("sensor", "timestamp")):
    sensor: str
    timestamp: datetime
    value: float
    note: str | None = None  # the header may be absent


readings = Pipeline(
    "readings",
    source=files("raw/readings/", suffix=".csv"),
    record=Reading,
    sinks=[lake("readings"), keyed("readings_by_sensor")],
)
'''

GITIGNORE = ".headrace/\n__pycache__/\n"


def register(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = command(commands, common, "demo", demo, "load an example and ask it a question, in seconds", writes=True)
    parser.add_argument("directory", nargs="?", metavar="DIR", help="where to put it (default: a new temporary folder)")

    parser = command(commands, common, "init", init, "begin a project, or draft a Record from files", writes=True)
    parser.add_argument(
        "directory", nargs="?", metavar="DIR", help="the project's folder (default: --project, or here)"
    )
    parser.add_argument(
        "--from", dest="files", nargs="+", metavar="FILE", help="scan these files whole, and draft from them"
    )
    parser.add_argument("--name", help="the pipeline's name (default: from the files)")
    parser.add_argument("--print", dest="only_print", action="store_true", help="print the draft, write nothing")


def init(arguments: argparse.Namespace, output: Output) -> int:
    folder = Path(arguments.directory or arguments.project)
    if arguments.name and not arguments.files:
        raise UsageError("HR100", "headrace init", "--name names what is drafted", "say --from FILE as well")
    files = {"headrace.toml": TOML, "pipelines.py": PIPELINES, ".gitignore": GITIGNORE}
    if not (arguments.only_print or arguments.dry_run):
        _refuse_existing(folder)
    if arguments.files:
        files["pipelines.py"] = _draft_from(arguments.files, arguments.name, output)
    if arguments.only_print:
        if output.as_json:
            output.emit({"file": "pipelines.py", "text": files["pipelines.py"]})
        else:
            output.data(files["pipelines.py"].rstrip("\n"))
        return 0
    if arguments.dry_run:
        output.table([{"file": str(folder / name)} for name in files if not (folder / name).exists()])
        return 0
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        written = [name for name, text in files.items() if _write_new(folder / name, text)]
    output.table([{"file": str(folder / name)} for name in written])
    way = typed("check", *(() if folder.resolve() == Path.cwd() else ("--project", folder)))
    output.say(f"{'review' if arguments.files else 'edit'} {folder / 'pipelines.py'}, then: {way}")
    return 0


def _refuse_existing(folder: Path) -> None:
    for name in ("headrace.toml", "pipelines.py"):
        if (folder / name).exists():
            raise UsageError(
                "HR135",
                str(folder / name),
                "exists already; nothing is overwritten",
                "choose another DIR, or say --print",
            )


def _write_new(path: Path, text: str) -> bool:
    """Write a file unless it is there (only .gitignore may be); True if it was written."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def demo(arguments: argparse.Namespace, output: Output) -> int:
    from headrace.cli.demonstration import run_demo

    return run_demo(arguments, output)


def _draft_from(given: Sequence[str], name: str | None, output: Output) -> str:
    """The source of a definition drafted from all rows of these files and folders.

    Raises UsageError HR121 for a file that is not there, HR139 where the files hold no table, HR4xx for one that
    cannot be read.
    """
    from headrace.cli.draft import identifier, render
    from headrace.project.scanning import files_of, name_of, scan_whole, suffixes_of

    files, foreign = files_of(given)
    if foreign:
        output.say(f"{count(len(foreign), 'file')} of no known format skipped, such as {foreign[0]}")
    pipeline = identifier(name or name_of(files))
    output.say(f"scanning {count(len(files), 'file')} whole")
    found = scan_whole(files)
    if not found.columns:
        raise UsageError("HR139", ", ".join(given), "no table was found", "give files with a header and rows")
    output.say(f"{count(found.rows, 'row')}, {count(len(found.columns), 'column')}")
    if found.misfits:
        output.say(f"{count(found.misfits, 'record')} fit no header: a run rejects them, with their reasons")
    for header in found.left_out:
        output.say(f"header {header!r} is left out: the draft says why")
    source = render(
        pipeline,
        suffixes_of(files),
        found.columns,
        found.key,
        optional=found.optional,
        repeated=found.repeated,
        scanned=files[0].name if len(files) == 1 else f"{len(files):,} files, {files[0].name} the first",
        left_out=found.left_out,
    )
    _bind(source, pipeline, output)
    return source


def _bind(source: str, pipeline: str, output: Output) -> None:
    """Try the draft as `check` will, and say what it would find: a draft is to be reviewed, not to be repaired."""
    from headrace.project.checking import check

    names: dict[str, Any] = {"__name__": "draft"}
    errors: tuple[HeadraceError, ...]
    try:
        exec(compile(source, "pipelines.py", "exec"), names)  # our own text, of names and literals
        errors = check({pipeline: names[pipeline]}).errors
    except DefinitionError as exc:
        errors = (exc, *exc.others)
    for error in errors:
        output.say(f"the draft needs a change: {error}")
