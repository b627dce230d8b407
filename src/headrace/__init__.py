"""Headrace: files arrive, tables answer. What a pipeline is declared with, and the door to a project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.model.errors import (
    BadObject,
    DefinitionError,
    HeadraceError,
    InfrastructureError,
    UsageError,
)
from headrace.model.pipeline import (
    Csv,
    Pipeline,
    alert,
    files,
    flag,
    keyed,
    lake,
    reject,
    skip,
    sql,
)
from headrace.model.record import Record, column, derived

if TYPE_CHECKING:
    from headrace.project import open_project as open_project

__all__ = [
    "BadObject",
    "Csv",
    "DefinitionError",
    "HeadraceError",
    "InfrastructureError",
    "Pipeline",
    "Record",
    "UsageError",
    "alert",
    "column",
    "derived",
    "files",
    "flag",
    "keyed",
    "lake",
    "open_project",
    "reject",
    "skip",
    "sql",
]


def __getattr__(name: str) -> Any:
    """`open_project` pulls in engines: only when it is asked for, so that a definition imports at once."""
    if name == "open_project":
        from headrace.project import open_project

        return open_project
    raise AttributeError(f"module 'headrace' has no attribute {name!r}")
