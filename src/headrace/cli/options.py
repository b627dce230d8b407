"""Options and questions that several commands share. Light: nothing here imports an engine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.cli.output import Output
from headrace.model.errors import UsageError
from headrace.model.times import since_of

if TYPE_CHECKING:
    from headrace.project import Project

Function = Callable[[argparse.Namespace, Output], int]


def command(
    commands: Any,
    common: argparse.ArgumentParser,
    name: str,
    function: Function,
    help: str,
    *,
    writes: bool = False,
    description: str = "",
) -> argparse.ArgumentParser:
    """A command's parser, with the shared options; `writes` adds --dry-run and --yes."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, parents=[common], help=help, description=description or f"{help[0].upper()}{help[1:]}."
    )
    parser.set_defaults(function=function)
    if writes:
        add_writes(parser)
    return parser


def add_writes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def opened(arguments: argparse.Namespace) -> Project:
    """The project and target that the arguments name."""
    from headrace.project import open_project

    return open_project(arguments.project, arguments.target)


def confirmed(arguments: argparse.Namespace, output: Output, question: str) -> bool:
    """Whether a person agrees. Raises UsageError HR133 where nobody can be asked and --yes was not given."""
    if arguments.yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError("HR133", f"headrace {arguments.command}", f"would ask: {question}", "say --yes")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    output.say("nothing was done")
    return False


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around what makes a file or folder that the command line names. Raises UsageError HR142 where that cannot be."""
    try:
        yield
    except OSError as exc:
        found = f"cannot be written: {exc.strerror or exc}"
        raise UsageError("HR142", str(path), found, "give a place in a folder that is there") from exc


def positive(text: str) -> int:
    """A whole number from 1. For argparse."""
    return _whole(text, 1)


def natural(text: str) -> int:
    """A whole number from 0. For argparse."""
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} up")
    return int(text)


def since(text: str) -> datetime | timedelta:
    """`2025-05-01`, `2025-05-01T12:00`, or a span back from now: `2 hours`, `1d`. For argparse."""
    try:
        return since_of(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None
