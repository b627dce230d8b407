"""Named places where tests let a crash happen; nothing at all in production.

The engine calls `point("after-write")` between steps whose order matters. `HEADRACE_FAULT="after-write:3"` kills this
process, as `kill -9` would, when it passes that place for the third time; `"after-write:3=raise"` raises
InfrastructureError there instead, and `=hang` stays there until somebody kills it. Tests in one process `install` a
callable.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from headrace.model.errors import InfrastructureError

VARIABLE = "HEADRACE_FAULT"

_hook: Callable[[str], None] | None = None


def point(name: str) -> None:
    """A place to crash. Costs one comparison unless a fault is installed."""
    if _hook is not None:
        _hook(name)


@contextmanager
def install(hook: Callable[[str], None]) -> Iterator[None]:
    """Call `hook(name)` at each point, in every thread, until the block ends. What it raises, the point raises."""
    global _hook
    before, _hook = _hook, hook
    try:
        yield
    finally:
        _hook = before


def parse(text: str) -> Callable[[str], None]:
    """The hook that `HEADRACE_FAULT` describes: `name[:n][=raise|hang]`. Raises ValueError for anything else."""
    place, _, action = text.partition("=")
    name, _, count = place.partition(":")
    if not name or action not in ("", "raise", "kill", "hang"):
        raise ValueError(f"{VARIABLE}={text!r}: expected name[:n][=raise|hang]")
    left = int(count or 1)

    def hook(passed: str) -> None:
        nonlocal left
        if passed != name:
            return
        left -= 1
        if left == 0 and action == "raise":
            raise InfrastructureError("HR699", f"fault point {name!r}", "a fault was asked for", f"unset {VARIABLE}")
        if left == 0 and action == "hang":
            threading.Event().wait()
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


if os.environ.get(VARIABLE):
    _hook = parse(os.environ[VARIABLE])
