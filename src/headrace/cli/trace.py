"""Where the details of a defect go, so that a person sees one line and a report can hold everything."""

from __future__ import annotations

import argparse
import platform
import tempfile
import traceback
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def write_trace(exc: BaseException, arguments: argparse.Namespace) -> Path:
    """Write the traceback into the target's `logs/`, or a temporary folder without a project; return its path."""
    folder = _logs(arguments)
    path = folder / f"trace-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.txt"
    about = f"headrace {version('headrace')}, Python {platform.python_version()}, {platform.platform()}"
    path.write_text(f"{about}\ncommand: {arguments.command}\n\n{''.join(traceback.format_exception(exc))}", "utf-8")
    return path


def _logs(arguments: argparse.Namespace) -> Path:
    from headrace import config
    from headrace.model.errors import HeadraceError

    try:
        folder = config.read(Path(arguments.project)).target(arguments.target).root / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    except (HeadraceError, OSError):
        return Path(tempfile.mkdtemp(prefix="headrace-"))
