"""What the catalog says of one Iceberg table, read with the standard library alone.

`status` and the publisher's first step ask a lake for its number: neither should wait for PyIceberg's import. The
catalog and the folder are a home's (`ports`). Used by `sinks.lake`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from headrace.model.errors import InfrastructureError
from headrace.ports import Catalog, TableFolder

NUMBER = "headrace.revision"
"""The snapshot property that holds the revision's number."""


@dataclass(frozen=True, slots=True)
class State:
    """What the catalog points at: the metadata file, its content, and the revision that it shows."""

    pointer: str
    metadata: dict[str, Any]
    number: int


def state_of(table: str, catalog: Catalog, folder: TableFolder) -> State | None:
    """What the catalog says now; None before the first commit, and when it names a table in another folder.

    None, too, when the metadata file was deleted: the table holds nothing, and is filled like a new one.
    Raises InfrastructureError (HR513) if any of it cannot be read.
    """
    pointer = catalog.read()
    if pointer is None or not pointer.startswith(f"{folder.location}/"):
        return None
    try:
        content = folder.read(pointer)
        if content is None:
            return None
        metadata: dict[str, Any] = json.loads(content)
    except (OSError, ValueError) as exc:
        found = f"its metadata {pointer.rpartition('/')[2]} cannot be read: {exc}"
        raise _fault(table, found) from exc
    return State(pointer, metadata, _history(table, metadata))


def number_in(snapshot: dict[str, Any]) -> int | None:
    """The revision's number among a snapshot's properties, if we made it."""
    number = snapshot.get("summary", {}).get(NUMBER)
    return None if number is None else int(number)


def _history(table: str, metadata: dict[str, Any]) -> int:
    """The number that the newest snapshot with one carries: others may have committed after us (a compaction)."""
    snapshots = {s["snapshot-id"]: s for s in metadata["snapshots"]}
    snapshot = snapshots.get(metadata.get("current-snapshot-id"))
    while snapshot is not None:
        number = number_in(snapshot)
        if number is not None:
            return number
        snapshot = snapshots.get(snapshot.get("parent-snapshot-id"))
    raise _fault(table, "no snapshot in its history carries a revision's number")


def _fault(table: str, found: str) -> InfrastructureError:
    return InfrastructureError("HR513", f"lake {table!r}", found, f"run `headrace rebuild {table}`")
