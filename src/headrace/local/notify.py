"""Tells people, on a machine of their own: a line on stderr, one in the log, one in `notifications.jsonl`.

| code | means |
|---|---|
| HR307 | a notification could not be stored; the outbox keeps it and tries again |
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from headrace.engine import log
from headrace.local.clock import SystemClock
from headrace.model.errors import InfrastructureError
from headrace.ports import Clock


class FileNotifier:
    """headrace.ports.Notifier that appends to a file. A message that `send` returned from is on the disk."""

    def __init__(self, path: Path, clock: Clock | None = None, stream: TextIO | None = None) -> None:
        self.path = path
        self._clock: Clock = clock or SystemClock()
        self._stream = stream

    def send(self, subject: str, body: str, attributes: Mapping[str, str]) -> None:
        """Store and show a message. Sent twice it stands there twice: delivery is at least once."""
        at = self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        entry = {"at": at, "subject": subject, "body": body, "attributes": dict(attributes)}
        try:
            self._append((json.dumps(entry, ensure_ascii=False) + "\n").encode())
        except OSError as exc:
            found = exc.strerror or str(exc)
            raise InfrastructureError("HR307", str(self.path), found, "free space on the disk") from exc
        log.event("notified", logging.WARNING, subject=subject, **attributes)
        # It is stored: a terminal that has gone, or a closed pipe, is no reason to send it again.
        with suppress(OSError, ValueError):
            print(f"! {subject}: {body}" if body else f"! {subject}", file=self._stream or sys.stderr)

    def _append(self, data: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
