"""The confined child: parses foreign bytes for the worker, and can do nothing else. Started by `sandbox.Sandbox`.

It takes its own rights away first, then answers one request after the other over pipes, until its parent is gone.
It knows no ledger, store or sink; which function answers which kind of request is `HANDLERS`.
"""

from __future__ import annotations

import errno
import fcntl
import importlib
import json
import os
import resource
import select
import signal
import struct
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from headrace.engine import confine, pandas_shim
from headrace.model.errors import BadObject, DefinitionError, HeadraceError

Handler = Callable[[dict[str, Any]], dict[str, Any]]

HANDLERS = {"stage": "headrace.engine.stage:handle"}
"""Kind of request -> `module:function`, imported at its first use. A kind with a `:` names its function itself."""

SIZE = struct.Struct(">Q")
"""What each message begins with: the length of the JSON that follows."""

_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Options:
    """What the parent says at the start: descriptors, limits, and what to import before the first request."""

    parent: int
    lifeline: int
    requests: int
    answers: int
    memory: int
    file_size: int
    threads: int
    preload: list[str]
    writable: list[str] | None = None


def main(text: str) -> None:
    """Confine, say so, serve. Never returns to Python that the parent did not ask for."""
    options = Options(**json.loads(text))
    die_with_parent(options.lifeline)
    confine.limit(options.memory, options.file_size)
    granted = {
        "privileges": confine.drop_privileges(),
        "writes": options.writable is not None and confine.forbid_writing_outside(options.writable),
    }
    for module in options.preload:
        _imported(module)
    granted["leaving"] = confine.forbid_leaving()
    granted["memory"] = confine.LINUX
    send(options.answers, pack({"ready": granted, "rss": resident()}))
    serve(options)


def serve(options: Options) -> None:
    """Answer requests in their order, until the parent closes the pipe."""
    while (request := receive(options.requests)) is not None:
        confine.limit_cpu(request["timeout"] * options.threads)
        reply = answer(request["kind"], request["payload"])
        try:
            body = pack({**reply, "rss": resident()})
        except (TypeError, ValueError) as exc:  # not JSON: the handler's mistake, not the end of the child
            body = pack({"error": {"fault": "other", "found": _text(exc), "trace": ""}, "rss": resident()})
        send(options.answers, body)


def answer(kind: str, payload: dict[str, Any]) -> dict[str, Any]:
    """{"ok": …} or {"error": …}; never raises. `fault` says what an error is: bad, definition, memory, space, other."""
    try:
        return {"ok": handler(kind)(payload)}
    except HeadraceError as exc:
        fault = "bad" if isinstance(exc, BadObject) else "definition" if isinstance(exc, DefinitionError) else "known"
        said = {"code": exc.code, "which": exc.which, "found": exc.found, "next": exc.next}
        return {"error": {"fault": fault, **said, "index": getattr(exc, "index", None)}}
    except (Exception, SystemExit) as exc:
        return {"error": {"fault": _fault(exc), "found": _text(exc), "trace": traceback.format_exc(limit=-20)}}


def handler(kind: str) -> Handler:
    """The function that answers requests of this kind."""
    module, _, name = (kind if ":" in kind else HANDLERS[kind]).partition(":")
    found: Handler = getattr(_imported(module), name)
    return found


def _imported(module: str) -> ModuleType:
    found = importlib.import_module(module)
    pandas_shim.look_in_vain()
    return found


def _fault(exc: BaseException) -> str:
    if isinstance(exc, MemoryError) or type(exc).__name__ == "OutOfMemoryException":
        return "memory"
    if (isinstance(exc, OSError) and exc.errno in _SPACE) or os.strerror(errno.ENOSPC) in str(exc):
        return "space"
    return "other"


def _text(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {str(exc)[:2000]}"


def pack(message: Mapping[str, Any]) -> bytes:
    """A message as it goes through the pipe. The standard library's JSON keeps long integers, NaN and infinities."""
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")
    return SIZE.pack(len(body)) + body


def unpack(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(body.decode(errors="surrogatepass"))
    return found


def send(descriptor: int, message: bytes) -> None:
    data = memoryview(message)
    while data:
        data = data[os.write(descriptor, data) :]


def receive(descriptor: int) -> dict[str, Any] | None:
    """The next message, or None when the other end is closed."""
    head = _exactly(descriptor, SIZE.size)
    if head is None:
        return None
    body = _exactly(descriptor, SIZE.unpack(head)[0])
    return None if body is None else unpack(body)


def _exactly(descriptor: int, size: int) -> bytes | None:
    found = bytearray()
    while len(found) < size:
        part = os.read(descriptor, min(size - len(found), 1 << 20))
        if not part:
            return None
        found += part
    return bytes(found)


def resident() -> int:
    """Bytes of memory in use: to tell the parent when a fresh child would be cheaper."""
    if confine.LINUX:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def die_with_parent(lifeline: int) -> None:
    """End this process when the other end of the pipe `lifeline` closes, which it does however the parent ends.

    On Linux the kernel sends SIGKILL itself (a signal-driven descriptor), so it works in the midst of a query, too.
    PR_SET_PDEATHSIG would not do: it fires when the parent's *thread* that started us ends.
    """
    if confine.LINUX:
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
        if select.select([lifeline], [], [], 0)[0]:  # it closed before the kernel was asked
            os.kill(os.getpid(), signal.SIGKILL)
        return
    threading.Thread(target=_wait_and_die, args=(lifeline,), daemon=True).start()


def _wait_and_die(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1])
