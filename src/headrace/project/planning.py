"""What a run of files would put where, and what that would come to. Nothing is put, and no state is made."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.project.opened import Project


def foretold(project: Project, pipeline: str, files: Sequence[str | Path]) -> list[dict[str, Any]]:
    """Each file with its key and what it would be: `new`, `unchanged`, or `replaces` the version that stands."""
    keys = project.plan(pipeline, files)
    standing = project.home(pipeline).ledger.standing() if project.begun else {}
    found = []
    for key, path in keys.items():
        load = standing.get(key)
        state = "new" if load is None else "unchanged" if _digest(path) == load.version else "replaces"
        found.append({"object": key, "state": state, "file": str(path)})
    return found


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
