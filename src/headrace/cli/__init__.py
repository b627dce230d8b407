"""The command line. `main` is the `headrace` command; one small module per group of commands beside it."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the answer is the process's exit code (docs/reference/commands.md)."""
    from headrace.cli.app import run

    return run(argv)
