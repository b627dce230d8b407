"""A project opened at a target: the verbs that the command line, notebooks and servers stand on.

Thin on purpose: each verb finds its homes and calls the engine; deciding happens there. `open_project` is the door.
"""

from __future__ import annotations

from headrace.project.opened import Project, open_project
from headrace.project.results import (
    Explanation,
    Listed,
    LoadResult,
    PipelineStatus,
    RunResult,
    Status,
    Table,
    accounting,
)

__all__ = [
    "Explanation",
    "Listed",
    "LoadResult",
    "PipelineStatus",
    "Project",
    "RunResult",
    "Status",
    "Table",
    "accounting",
    "open_project",
]
