"""Fresh copies of the measured projects below work/, and files put into their landing folders."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from benchmarks.harness import WORK

PROJECTS = Path(__file__).with_name("projects")


def fresh_project(name: str) -> Path:
    """An empty copy of a measured project, without any state of an earlier run."""
    place = WORK / "run" / name
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(PROJECTS / name, place, ignore=shutil.ignore_patterns("__pycache__"))
    return place


def land(project: Path, prefix: str, files: Iterable[Path]) -> None:
    """Hard links of the files below the landing prefix: what is measured begins with files that are there."""
    folder = project / ".headrace" / "landing" / prefix
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        os.link(file, folder / file.name)


def scratch(name: str) -> Path:
    """An empty folder for a peer's output."""
    place = WORK / "run" / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return place
