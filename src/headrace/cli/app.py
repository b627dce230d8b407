"""From words on a command line to one command's function, and from what it raises to an exit code.

Light on purpose: `headrace --help` must answer within 200 ms, so nothing here or at the top of a command's module
imports an engine. Commands register themselves with a parser and a function that gets (arguments, output).
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from headrace.cli import ask, checking, cloud, logs, mend, rows, start, state, work
from headrace.cli.output import Output
from headrace.model.errors import HeadraceError
from headrace.model.where import meant

GROUPS = (start, checking, work, ask, state, logs, rows, mend, cloud)

EPILOG = """exit codes: 0 done · 1 rejects beyond tolerance, or an alarm · 2 usage or definition · 3 infrastructure
(a retry may help) · 4 some loads stand and some failed · 130 interrupted.
`headrace explain CODE` explains an error."""


class Parser(argparse.ArgumentParser):
    """argparse that words its errors like everybody else here, and lets options stand among a command's arguments."""

    _mixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Otherwise `run meters --json a.csv` fails: files may be none, and so end before the first option."""
        if self._subparsers is not None or self._mixing:
            return super().parse_known_args(args, namespace)
        self._mixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixing = False

    def error(self, message: str) -> NoReturn:
        if match := re.fullmatch(r"argument (\w+): invalid choice: '(.*?)' \(choose from (.*)\)", message, re.DOTALL):
            what, word, possible = match[1].lower(), match[2], re.findall(r"[\w-]+", match[3])
            message = f"there is no {what} {word!r}; {meant(word, possible)}"
        message = re.sub(r"(required: PIPELINE), FILE\b", r"\1", message)  # files may be none
        if message.startswith("unrecognized arguments") and " check" in f" {' '.join(sys.argv[1:2])}":
            message += "; files are given behind --against"
        sys.stderr.write(f"HR100 {self.prog}: {message}; see `{self.prog} --help`\n")
        raise SystemExit(2)


def parser() -> argparse.ArgumentParser:
    """Every command with its options. Building it opens nothing."""
    top = Parser(
        prog="headrace",
        description="Files arrive, tables answer: nothing lost, nothing twice, every row accounted for.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[_common()],
    )
    top.add_argument("--version", action="store_true", help="print the version and stop")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for group in GROUPS:
        group.register(commands, _common())
    return top


def _common() -> argparse.ArgumentParser:
    """Options of every command; SUPPRESS, so that they may stand before the command's name as well as after it."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--project", metavar="DIR", help="project folder, or one below it (default: here)")
    common.add_argument("--target", metavar="NAME", help="target of headrace.toml (default: local)")
    common.add_argument("--json", action="store_true", help="print data as JSON of a stable shape")
    return common


def run(argv: Sequence[str] | None) -> int:
    top = parser()
    given = argparse.Namespace(project=".", target="local", json=False)
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    arguments = top.parse_args(words, given)
    place = ["--project", arguments.project] if arguments.project != "." else []
    output = Output(as_json=arguments.json, place=place)
    if arguments.version:
        from importlib.metadata import version

        output.data(f"headrace {version('headrace')}")
        return 0
    if arguments.command is None:
        top.print_help()
        return 0
    return _guarded(arguments, output)


def _guarded(arguments: argparse.Namespace, output: Output) -> int:
    try:
        code = arguments.function(arguments, output)
        sys.stdout.flush()
        return int(code)
    except HeadraceError as exc:
        output.error(exc)
        return exc.exit_code
    except KeyboardInterrupt:
        output.say("interrupted; what was committed stands, run again to go on")
        return 130
    except BrokenPipeError:
        # The reader of a pipe has seen enough (`headrace history | head`): no failure of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as exc:
        from headrace.cli.trace import write_trace

        path = write_trace(exc, arguments)
        output.say(f"HR901 headrace {arguments.command}: {type(exc).__name__}: {exc}; this is a defect: report {path}")
        return 3
