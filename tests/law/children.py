"""Children for the trials: the engine's own calls, answered here or in a confined process, that die when told to."""

from __future__ import annotations

import os
import signal
from typing import Any

from headrace.engine import ingest, stage
from headrace.engine.sandbox import ChildDied, Sandbox


class HereChild:
    """Stages in this process. Unlike `sandbox.InProcess` it lets a simulated crash through."""

    def call(self, kind: str, payload: dict[str, Any], timeout: float) -> dict[str, Any]:
        return stage.handle(payload)


class FlakyChild:
    """Passes calls on; one that is armed dies in the midst of the next."""

    def __init__(self, child: ingest.Child) -> None:
        self._child = child
        self.armed = False

    def call(self, kind: str, payload: dict[str, Any], timeout: float) -> dict[str, Any]:
        if not self.armed:
            return self._child.call(kind, payload, timeout)
        self.armed = False
        if not isinstance(self._child, Sandbox):
            self._child.call(kind, payload, timeout)  # what it wrote stays behind
            raise ChildDied("killed", kind, "its process was killed")
        self._child.submit(kind, payload, timeout)
        assert self._child.pid is not None
        os.kill(self._child.pid, signal.SIGKILL)
        try:
            return self._child.result()
        finally:
            self._child.close()  # it may have answered before it died: then the next call must not find it dead
