"""The worker's handle of one warm, confined child process that parses foreign bytes. See `child.py` for the other end.

A crash, a bomb or an endless parse ends the child and costs one call; the worker goes on with a fresh one.

| code | means |
|---|---|
| HR601 | the child was killed from outside, perhaps by the system for want of memory |
| HR602 | the child ran out of the memory that it may use |
| HR603 | the child took longer than the timeout, and was killed |
| HR604 | the child crashed |
| HR605 | no child could be started |
| HR606 | the child found no space left on the disk |
| HR607 | something unexpected was raised in the child; the message ends with the place |
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Self

from headrace.engine import child, log
from headrace.engine.settings import Settings
from headrace.formats.rows import BadItem
from headrace.model.errors import BadObject, DefinitionError, InfrastructureError

Reason = Literal["killed", "memory", "timeout", "crash", "start"]
CODES: dict[Reason, str] = {
    "killed": "HR601",
    "memory": "HR602",
    "timeout": "HR603",
    "crash": "HR604",
    "start": "HR605",
}
_NEXT: dict[Reason, str] = {
    "killed": "it is tried again; free memory on the machine if this repeats",
    "memory": "raise `memory_limit` if the input is that large by right",
    "timeout": "raise `child_timeout` if the input takes that long by right",
    "crash": "it is tried again; the object is called dead if this repeats",
    "start": "run `headrace doctor`",
}
START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from headrace.engine.child import main; main(sys.argv[2])"
)
PRELOAD = ("headrace.engine.stage",)
STARTING = 60.0  # seconds that a child may take until it is ready, on a busy machine
PASSED_ON = ("HEADRACE_FAULT", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "ARROW_DEFAULT_MEMORY_POOL")


class ChildDied(InfrastructureError):
    """The child ended, or was ended, in the midst of a call. `reason` tells how."""

    def __init__(self, reason: Reason, which: str, found: str) -> None:
        self.reason = reason
        super().__init__(CODES[reason], which, found, _NEXT[reason])


class Sandbox:
    """One child, started when it is first needed and again after it died. One call at a time; one thread at a time.

    `writable`: the only folders that the child may write to, where the system can enforce it (None: anywhere).
    """

    def __init__(
        self, settings: Settings, *, writable: Sequence[Path] | None = None, preload: Sequence[str] = PRELOAD
    ) -> None:
        self._settings = settings
        self._writable = None if writable is None else [str(folder) for folder in writable]
        self._preload = list(preload)
        self._process: subprocess.Popen[bytes] | None = None
        self._descriptors: list[int] = []
        self._requests = self._answers = -1
        self._said = tempfile.TemporaryFile("ab+")  # noqa: SIM115 - what the child and what runs in it print
        self._waiting: tuple[str, float] | None = None
        self._calls = 0
        self._grown_from: int | None = None
        self.granted: dict[str, bool] = {}
        """What confinement the system granted the child; filled by the first call (see `headrace doctor`)."""

    def call(self, kind: str, payload: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Ask the child and wait for its answer.

        Raises BadObject (a BadItem with `index`, if the handler said which), DefinitionError or InfrastructureError as
        the handler did, ChildDied when the child ended or exceeded `timeout` seconds.
        """
        self.submit(kind, payload, timeout)
        return self.result()

    def submit(self, kind: str, payload: dict[str, Any], timeout: float) -> None:
        """Begin a call and return; `result` must follow before the next one."""
        if self._waiting is not None:
            raise RuntimeError("a call is under way: take its result first")
        self.start()
        if self._grown_from is None:
            self._greet()
        request = child.pack({"kind": kind, "payload": payload, "timeout": timeout})
        self._waiting = (kind, time.monotonic() + timeout)
        self._write(request)

    def result(self) -> dict[str, Any]:
        """Wait for the answer of the call under way; raises as `call` does."""
        if self._waiting is None:
            raise RuntimeError("no call is under way")
        try:
            reply = self._read()
        finally:
            self._waiting = None
        self._calls += 1
        error = reply.get("error")
        if (error or {}).get("fault") == "memory" or self._worn(reply["rss"]):
            self.close()
            self.start()  # at once, so that it is warm when it is needed
        if error is not None:
            raise _raised(error)
        found: dict[str, Any] = reply["ok"]
        return found

    def start(self) -> None:
        """Start the child unless it runs; does not wait until it is ready."""
        if self._process is not None:
            return
        lifeline, ours = os.pipe()
        requests, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        theirs = [lifeline, requests, answers]
        self._descriptors = [ours, self._requests, self._answers]
        os.set_blocking(self._requests, False)
        options = child.Options(
            parent=os.getpid(),
            lifeline=lifeline,
            requests=requests,
            answers=answers,
            memory=self._settings.child_memory_bytes,
            file_size=self._settings.child_file_size,
            threads=self._settings.threads,
            preload=self._preload,
            writable=self._writable,
        )
        path = json.dumps([os.path.abspath(place) for place in sys.path])  # -I ignores PYTHONPATH and the folder
        command = [sys.executable, "-I", "-X", "faulthandler", "-c", START, path, json.dumps(asdict(options))]
        environment = {"LANG": "C.UTF-8", "TZ": "UTC"} | {k: os.environ[k] for k in PASSED_ON if k in os.environ}
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                env=environment,
                pass_fds=theirs,
                start_new_session=True,  # Ctrl-C is for the worker, which ends its child itself
            )
        except OSError as exc:
            self.close()
            raise ChildDied("start", "child", str(exc)) from exc
        finally:
            for descriptor in theirs:
                os.close(descriptor)

    def close(self) -> None:
        """End the child, if any, at once. The sandbox can be used again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._process, self._descriptors = None, []
        self._calls, self._grown_from = 0, None
        self._said.truncate(0)

    @property
    def pid(self) -> int | None:
        """The running child's process id."""
        return None if self._process is None else self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _greet(self) -> None:
        self._waiting = ("start", time.monotonic() + STARTING)
        try:
            hello = self._read()
        except ChildDied as exc:
            raise ChildDied("start", "child", exc.found) from exc
        finally:
            self._waiting = None
        self.granted, self._grown_from = hello["ready"], hello["rss"]

    def _worn(self, resident: int) -> bool:
        growth = resident - (self._grown_from or 0)
        return self._calls >= self._settings.child_calls or growth > self._settings.child_growth

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            self._until_ready(self._requests, select.POLLOUT)
            try:
                left = left[os.write(self._requests, left) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise self._died() from None

    def _read(self) -> dict[str, Any]:
        (size,) = child.SIZE.unpack(self._exactly(child.SIZE.size))
        return child.unpack(self._exactly(size))

    def _exactly(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            self._until_ready(self._answers, select.POLLIN)
            part = os.read(self._answers, min(size - len(found), 1 << 20))
            if not part:
                raise self._died()
            found += part
        return bytes(found)

    def _until_ready(self, descriptor: int, what: int) -> None:
        assert self._waiting is not None
        poll = select.poll()
        poll.register(descriptor, what)
        if not poll.poll(max(self._waiting[1] - time.monotonic(), 0) * 1000):
            kind, self._waiting = self._waiting[0], None
            self.close()
            raise ChildDied("timeout", kind, "it took longer than the timeout")

    def _died(self) -> ChildDied:
        """Why the child closed its end; clears it away, so that the next call starts a fresh one."""
        assert self._process is not None and self._waiting is not None
        kind, self._waiting = self._waiting[0], None
        status = self._process.wait()
        self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - 4000))
        said = self._said.read().decode(errors="replace").strip()
        self.close()
        return _explained(kind, status, said)


class InProcess:
    """The same calls answered here, unconfined: for tests that run thousands of histories."""

    granted: dict[str, bool] = {}  # noqa: RUF012 - nothing is granted, ever

    def __init__(self) -> None:
        self._reply: dict[str, Any] | None = None

    def call(self, kind: str, payload: dict[str, Any], timeout: float) -> dict[str, Any]:
        self.submit(kind, payload, timeout)
        return self.result()

    def submit(self, kind: str, payload: dict[str, Any], timeout: float) -> None:
        copy = json.loads(json.dumps(payload))  # what a handler sees has been through JSON
        self._reply = json.loads(json.dumps(child.answer(kind, copy)))

    def result(self) -> dict[str, Any]:
        reply, self._reply = self._reply, None
        if reply is None:
            raise RuntimeError("no call is under way")
        if "error" in reply:
            raise _raised(reply["error"])
        found: dict[str, Any] = reply["ok"]
        return found

    def start(self) -> None: ...

    def close(self) -> None: ...


def _explained(kind: str, status: int, said: str) -> ChildDied:
    last = said[-1500:]
    if any(sign in said for sign in ("bad_alloc", "MemoryError", "Cannot allocate memory", "memory allocation of")):
        return ChildDied("memory", kind, "it asked for more memory than it may use")
    if status == -signal.SIGKILL:
        return ChildDied("killed", kind, "its process was killed")
    if status == -signal.SIGXCPU:
        return ChildDied("timeout", kind, "it used more CPU time than the timeout allows")
    how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit {status}"
    return ChildDied("crash", kind, f"its process ended with {how}" + (f": {last}" if last else ""))


def _raised(error: dict[str, Any]) -> Exception:
    match error["fault"]:
        case "bad":
            bad = BadObject(error["code"], error["which"], error["found"], error["next"])
            return bad if error["index"] is None else BadItem(error["index"], bad)
        case "definition":
            return DefinitionError(error["code"], error["which"], error["found"], error["next"])
        case "known":
            return InfrastructureError(error["code"], error["which"], error["found"], error["next"])
        case "memory":
            return ChildDied("memory", "child", error["found"])
        case "space":
            return InfrastructureError("HR606", "child", error["found"], "free space on the disk")
        case _:
            lines = error["trace"].strip().splitlines()
            place = next((line.strip() for line in reversed(lines) if line.lstrip().startswith("File ")), "")
            log.event("child.raised", error=error["found"], trace=error["trace"])
            first = error["found"].strip().partition("\n")[0]
            return InfrastructureError("HR607", "child", first, f"raised at {place}; `headrace logs` has all of it")
