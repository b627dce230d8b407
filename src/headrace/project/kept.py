"""Whether what stands can still be read again: its object in the landing folder, or its bytes in the archive.

One answer for all who ask: `replay` and its dry run, `retract --gone`, HR240, `correct` and `explain`.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from headrace.engine.home import Home
from headrace.engine.many import each
from headrace.model.errors import InfrastructureError
from headrace.model.loads import Load


class Kept(StrEnum):
    """Where the bytes of a load are."""

    LANDED = "landed"  # something is under its key: that is what would be read
    ARCHIVED = "archived"
    DAMAGED = "damaged"  # the archive has something in their place, but not these bytes
    GONE = "gone"
    OUTSIDE = "outside"  # the source does not take in its key any more, whatever lies there


def kept(home: Home, load: Load) -> Kept:
    """Looks at one. An archived copy is read whole: only its bytes tell whether it is what it was."""
    if not home.wants(load.key):
        return Kept.OUTSIDE
    if home.store.stat(load.key) is not None:
        return Kept.LANDED
    if home.pipeline.source.after != "archive":
        return Kept.GONE
    copy = home.spool / f"{home.token()}-kept"
    try:
        if home.store.fetch_archived(load.key, load.version, copy):
            return Kept.ARCHIVED
        return Kept.DAMAGED if home.store.has_archived(load.key, load.version) else Kept.GONE
    except InfrastructureError:
        return Kept.ARCHIVED  # it is there, and may be read when the fault is mended
    finally:
        copy.unlink(missing_ok=True)


def lost(home: Home, loads: Iterable[Load]) -> dict[str, Kept]:
    """The keys of those that cannot be read again, each with what became of its bytes."""
    some = list(loads)
    found = zip(some, each(lambda load: kept(home, load), some, home.settings.looks), strict=True)
    return {load.key: state for load, state in found if state in (Kept.DAMAGED, Kept.GONE, Kept.OUTSIDE)}
