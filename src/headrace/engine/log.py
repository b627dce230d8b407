"""What happened, as JSON lines in `logs/headrace.jsonl` below the root: for `headrace logs`, and for machines.

Through the standard `logging`, so an application that embeds Headrace sees the same records. Nothing is written until
`configure`. A log that cannot be written fails no data: `logging` says so on stderr and the work goes on.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from headrace.engine.settings import Settings

NAME = "headrace.jsonl"
_logger = logging.getLogger("headrace")
_logger.addHandler(logging.NullHandler())  # a library is silent until it is asked to speak


def event(what: str, level: int = logging.INFO, **fields: Any) -> None:
    """Record that something happened: `event("staged", load=…, rows=…)`. Costs a comparison when nobody listens."""
    if _logger.isEnabledFor(level):
        _logger.log(level, what, extra={"fields": fields})


@contextmanager
def timed(what: str, **fields: Any) -> Iterator[dict[str, Any]]:
    """Record an action with its seconds, and its error if it raises; fields may be added to what is yielded."""
    started = time.perf_counter()
    try:
        yield fields
    except BaseException as exc:
        event(what, logging.ERROR, **fields, seconds=round(time.perf_counter() - started, 4), error=str(exc))
        raise
    event(what, **fields, seconds=round(time.perf_counter() - started, 4))


def configure(folder: Path, settings: Settings, level: int = logging.INFO) -> logging.Handler:
    """Write to `folder` from now on; give the handler to `stop` in the end."""
    handler = JsonLines(folder, settings.log_bytes, settings.keep_logs)
    _logger.addHandler(handler)
    if _logger.level == logging.NOTSET or _logger.level > level:
        _logger.setLevel(level)
    return handler


def to_stream(stream: TextIO, level: int = logging.INFO) -> logging.Handler:
    """Write the same lines to a stream: for a place that gathers what its processes print."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Lines())
    _logger.addHandler(handler)
    if _logger.level == logging.NOTSET or _logger.level > level:
        _logger.setLevel(level)
    return handler


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return line(record)


def stop(handler: logging.Handler) -> None:
    _logger.removeHandler(handler)
    handler.close()


@contextmanager
def listening(tell: Callable[[str, Mapping[str, Any]], None], level: int = logging.INFO) -> Iterator[None]:
    """Call `tell` with each event and its fields, on the thread where it happens, until the block ends."""
    handler = _Listener(tell)
    _logger.addHandler(handler)
    if _logger.level == logging.NOTSET or _logger.level > level:
        _logger.setLevel(level)
    try:
        yield
    finally:
        stop(handler)


class _Listener(logging.Handler):
    def __init__(self, tell: Callable[[str, Mapping[str, Any]], None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._tell(record.getMessage(), getattr(record, "fields", {}))
        except Exception:  # a closed terminal must not end the thread that has something to say
            self.handleError(record)


class JsonLines(logging.Handler):
    """Appends one line per record, whole even when several processes write; renames the file when it is `limit` long.

    `headrace.jsonl.1` is the newest of the `keep` older files.
    """

    def __init__(self, folder: Path, limit: int, keep: int) -> None:
        super().__init__()
        self._path = folder / NAME
        self._limit, self._keep = limit, keep
        self._file = -1

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._reopen()
            os.write(self._file, (line(record) + "\n").encode())  # one write: lines of two processes do not mix
            if os.fstat(self._file).st_size > self._limit:
                self._rotate()
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        super().close()

    def _reopen(self) -> None:
        """Open the file, or its successor if another process has rotated it."""
        if self._file >= 0:
            try:
                if os.stat(self._path).st_ino == os.fstat(self._file).st_ino:
                    return
            except FileNotFoundError:
                pass
            os.close(self._file)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def _rotate(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)  # of this very file: whoever comes second finds it renamed
        try:
            if os.stat(self._path).st_ino != os.fstat(self._file).st_ino:
                return
            for n in range(self._keep, 1, -1):
                older = self._path.with_name(f"{NAME}.{n - 1}")
                if older.exists():
                    os.replace(older, self._path.with_name(f"{NAME}.{n}"))
            os.replace(self._path, self._path.with_name(f"{NAME}.1"))
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)


def line(record: logging.LogRecord) -> str:
    """A record as JSON: `at` (UTC), `level`, `event`, then its fields."""
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    found: dict[str, Any] = {"at": at, "level": record.levelname.lower(), "event": record.getMessage()}
    fields: Mapping[str, Any] = getattr(record, "fields", {})
    found |= {name: value for name, value in fields.items() if name not in found}
    if record.exc_info:
        found["trace"] = logging.Formatter().formatException(record.exc_info)
    return json.dumps(found, ensure_ascii=False, default=str)


def read(folder: Path) -> Iterator[dict[str, Any]]:
    """Every record in `folder`, oldest first. A torn last line (power loss) is passed over."""
    older = sorted(folder.glob(f"{NAME}.*"), key=lambda path: -int(path.suffix[1:]))
    for path in [*older, folder / NAME]:
        if not path.exists():
            continue
        with path.open(encoding="utf-8", errors="replace") as file:
            for text in file:
                try:
                    yield json.loads(text)
                except ValueError:
                    continue
