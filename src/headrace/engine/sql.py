"""DuckDB as the engine uses it: in UTC, within a memory limit, locked to the folders it needs before it reads a byte.

DuckDB itself calls untrusted files and SQL unsafe, so the lock comes first and holds for the process. Starting an
instance takes some 50 ms, far too much per small file: one instance per process and set of limits is kept, and each
job gets a cursor of its own, whose temporary tables go with it.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from headrace.model.errors import InfrastructureError

SPILL = "spill"
"""Where below its scratch folder an instance puts what does not fit in memory."""

_instances: dict[tuple[str, int, tuple[str, ...], str], duckdb.DuckDBPyConnection] = {}
_guard = threading.Lock()


@contextmanager
def engine_connection(
    memory_limit: str, threads: int, folders: Sequence[Path], scratch: Path
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A cursor that may read and write below `folders` only, and spills into `scratch`."""
    key = (memory_limit, threads, tuple(map(str, folders)), str(scratch))
    with _guard:
        if key not in _instances:
            _instances[key] = _open(memory_limit, threads, folders, scratch)
        cursor = _instances[key].cursor()
    try:
        yield cursor
    finally:
        cursor.close()


@atexit.register
def close_instances(below: Path | None = None) -> None:
    """Close the instances that may work below a folder, or all: at a project's end, and before the interpreter's.

    Who still has a cursor keeps it; the next connection opens another instance.
    """
    with _guard:
        for key in [k for k in _instances if below is None or str(below) in k[2]]:
            _instances.pop(key).close()


def _open(memory_limit: str, threads: int, folders: Sequence[Path], scratch: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        config={
            "threads": str(threads),
            "memory_limit": memory_limit,
            "temp_directory": str(scratch / SPILL),
            "partitioned_write_max_open_files": "200",
            # Halves the memory of a partitioned COPY, and costs less CPU than the default.
            "partitioned_write_flush_threshold": "16384",
        }
    )
    connection.execute("set global timezone = 'UTC'")
    allowed = ", ".join("'" + str(f).replace("'", "''") + "'" for f in [*folders, scratch])
    connection.execute(f"set allowed_directories = [{allowed}]")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return connection


@contextmanager
def mechanics(which: str) -> Iterator[None]:
    """What DuckDB or the disk refuses while we work on our own files is a fault: it backs off and is tried again."""
    try:
        yield
    except (duckdb.Error, OSError) as exc:
        found = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise InfrastructureError("HR531", which, found, "free space or memory if that is what it lacks") from exc


def scalar(db: duckdb.DuckDBPyConnection, query: str) -> int:
    """The one number a query yields, fetched to its end: a result left open would block the connection."""
    return int(db.execute(query).fetchall()[0][0])
