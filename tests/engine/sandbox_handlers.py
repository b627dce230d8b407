"""What the sandbox's tests ask the child to do: each function answers one request, as `engine.stage.handle` does."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from headrace.formats.rows import BadItem
from headrace.model.errors import BadObject, InfrastructureError

Json = dict[str, Any]


def echo(payload: Json) -> Json:
    print("noise on stdout must not disturb the protocol")
    return payload


def identity(payload: Json) -> Json:
    return {"pid": os.getpid(), "session": os.getsid(0), "environment": sorted(os.environ), "path": sys.path}


def bad(payload: Json) -> Json:
    raise BadObject("HR401", "a.csv", "no header", "add one")


def bad_item(payload: Json) -> Json:
    raise BadItem(3, BadObject("HR402", "b.csv", "no rows", ""))


def fault(payload: Json) -> Json:
    raise InfrastructureError("HR304", "root", "no space", "free some")


def surprise(payload: Json) -> Json:
    return {"x": 1 // payload["zero"]}


def leave(payload: Json) -> Json:
    sys.exit("a step must not end the child")


def unsendable(payload: Json) -> Json:
    return {"path": Path("x")}


def fill_disk(payload: Json) -> Json:
    Path("/dev/full").write_text("x")
    return {}


def sleep(payload: Json) -> Json:
    time.sleep(payload["seconds"])
    return {}


def crash(payload: Json) -> Json:
    ctypes.string_at(0)
    return {}


def vanish(payload: Json) -> Json:
    os._exit(7)


def hog(payload: Json) -> Json:
    held = []
    while True:
        held.append(b"x" * 50_000_000)


def hog_of_duckdb(payload: Json) -> Json:
    import duckdb

    db = duckdb.connect(config={"memory_limit": "100MB", "max_temp_directory_size": "0KB"})
    db.execute("select len(list(i)) from range(100000000) t(i)").fetchall()
    return {}


def grow(payload: Json) -> Json:
    globals()["_kept"] = b"x" * payload["bytes"]
    return {"pid": os.getpid()}


def duckdb_round_trip(payload: Json) -> Json:
    """Write CSV, read it with two threads, COPY to partitioned Parquet, read that: what staging does."""
    import duckdb

    folder = Path(payload["folder"])
    db = duckdb.connect(config={"threads": 2, "memory_limit": "500MB", "temp_directory": str(folder / "tmp")})
    db.execute(f"copy (select i, i % 7 as part, random() as r from range(500000) t(i)) to '{folder}/a.csv'")
    db.execute(f"create table t as from read_csv('{folder}/a.csv', parallel = true)")
    db.execute(f"copy t to '{folder}/out' (format parquet, partition_by (part))")
    (found,) = db.execute(f"select count(*), sum(part) from read_parquet('{folder}/out/**/*.parquet')").fetchall()
    return {"rows": found[0], "sum": int(found[1])}


def attempts(payload: Json) -> Json:
    """What the child tries beyond its rights, and how each ended."""
    me, parent = os.getpid(), os.getppid()
    outcomes = {
        "socket": _tried(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)),
        "unix": _tried(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)),
        "resolve": _tried(lambda: socket.create_connection(("127.0.0.1", 9), timeout=1)),
        "exec": _tried(lambda: os.execv("/bin/true", ["true"])),
        "run": _tried(lambda: subprocess.run(["/bin/true"], check=True)),
        "fork": _tried(_fork),
        "signal parent": _tried(lambda: os.kill(parent, 0)),
        "signal itself": _tried(lambda: os.kill(me, 0)),
        "thread": _tried(_thread),
        "io_uring": _tried(lambda: _syscall(425, 1, 0)),
        "ptrace": _tried(lambda: _syscall(101 if os.uname().machine == "x86_64" else 117, 16, parent, 0, 0)),
    }
    if "outside" in payload:
        outcomes["write outside"] = _tried(lambda: Path(payload["outside"]).write_text("x"))
        outcomes["append outside"] = _tried(lambda: open(payload["victim"], "a").close())
        outcomes["truncate outside"] = _tried(lambda: os.truncate(payload["victim"], 0))
        outcomes["delete outside"] = _tried(lambda: os.unlink(payload["victim"]))
        outcomes["write inside"] = _tried(lambda: Path(payload["inside"]).write_text("x"))
    return outcomes


def _tried(action: Any) -> str:
    try:
        action()
    except OSError as exc:
        return type(exc).__name__
    return "done"


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _thread() -> None:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()


def _syscall(number: int, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, *arguments) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
