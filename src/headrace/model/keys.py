"""Which names are no objects, in every home. For the stores and the watcher; a pipeline's own wishes are not asked."""

from __future__ import annotations

UNFINISHED = (".part", ".tmp")
MOST_BYTES = 1024
"""Of a key: S3's limit, so that a definition can move there."""


def ignored(name: str) -> bool:
    """Whether a file or folder of this name is still being written, or is none of ours."""
    return name.startswith(".") or name.endswith(UNFINISHED)
