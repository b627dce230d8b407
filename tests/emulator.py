"""MiniStack as a process: S3, SQS, Lambda, DynamoDB and CloudFormation on one port of 127.0.0.1, all state in memory.

Its fixtures are in conftest.py. Nothing of the environment reaches it: no proxy, no profile, no real credentials.

A `Judging` one judges every request by the policies of who asks, as AWS does: functions have the rights of their roles
and no others, buckets and queues refuse whom their policies refuse. It speaks TLS, which our policies ask for.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
REGION = "eu-west-2"
ACCOUNT = "000000000000"  # the one account that MiniStack plays

FOREIGN = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
"""Variables that would lead a client elsewhere."""


def client_environment(endpoint: str, home: Path) -> dict[str, str]:
    """What a client of `endpoint` finds in its environment; `home` keeps it from the user's own configuration."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": str(home / "no-aws-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "no-aws-credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def missing(reason: str) -> None:
    """Skips the test on a user's machine; fails it where everything has to be there."""
    if os.environ.get("HEADRACE_CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def tool(name: str, folder: str, variable: str, target: str) -> Path:
    """An executable of an environment that `make` keeps beside .venv, or the one that `variable` names."""
    given = os.environ.get(variable)
    found = Path(given) if given else ROOT / folder / "bin" / name
    if not found.is_file():
        missing(f"no {name} at {found}: `make {target}` installs it, or {variable} names it")
    return found


class MiniStack:
    """One emulator. `start` waits until it answers; `stop` ends it and its functions; all that it held is lost then."""

    scheme = "http"

    def __init__(self, program: Path, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.program = program
        self.folder = folder
        self.settings = dict(settings or {})
        self.log = folder / "ministack.log"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def client_environment(self, home: Path) -> dict[str, str]:
        """What a client of this emulator finds in its environment; `home` as in `client_environment`."""
        return client_environment(self.endpoint, home)

    def start(self, patience: float = 60) -> MiniStack:
        """On a free port; another one if somebody took it in between."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for _ in range(5):
            self.port = free_port()
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [self.program],
                    cwd=self.folder,
                    env=self.environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=end_with_parent(),
                )
            if self.answers(patience):
                return self
            self.stop()
        raise RuntimeError(f"MiniStack does not start; see {self.log}:\n{self.tail()}")

    def environment(self) -> dict[str, str]:
        scratch = self.folder / "tmp"
        scratch.mkdir(exist_ok=True)
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "TMPDIR": str(scratch),  # packages of functions are unpacked there
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": "127.0.0.1",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "LAMBDA_EXECUTOR": "local",  # functions are processes, never containers
            "MINISTACK_REGION": REGION,
            **{name: value for name, value in client_environment("", self.folder).items() if value},
            **self.settings,
        }

    def answers(self, patience: float) -> bool:
        assert self.process is not None
        until = time.monotonic() + patience
        while time.monotonic() < until and self.process.poll() is None:
            try:
                ways = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.trust()))
                with urllib.request.build_opener(*ways).open(f"{self.endpoint}/_ministack/health", timeout=2) as answer:
                    return bool(answer.status == 200)
            except (urllib.error.URLError, OSError):  # also where there is no certificate yet
                time.sleep(0.05)
        return False

    @property
    def certificate(self) -> Path | None:
        """By which clients know this emulator; None where it speaks no TLS."""
        return None

    def trust(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=str(self.certificate)) if self.certificate else None

    def stop(self) -> None:
        """By its own process id; the group is its own too, so that a function in a loop ends with it."""
        process, self.process = self.process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # all of them are gone
        process.wait(timeout=10)
        shutil.rmtree(self.folder / "tmp", ignore_errors=True)

    def restart(self) -> MiniStack:
        """Empty again, on another port."""
        self.stop()
        return self.start()

    def tail(self, lines: int = 60) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Judging(MiniStack):
    """An emulator that enforces IAM. Its clients are the root of the account: only resources refuse them anything."""

    scheme = "https"

    def __init__(self, program: Path, folder: Path) -> None:
        if shutil.which("openssl") is None:
            missing("no openssl, with which MiniStack makes its certificate: install it to run this test")
        super().__init__(program, folder, {"AUTH": "true", "USE_SSL": "1"})

    @property
    def certificate(self) -> Path:
        """Made when it starts, for 127.0.0.1 alone."""
        return self.folder / "tmp" / "ministack-tls" / "server.crt"

    def client_environment(self, home: Path) -> dict[str, str]:
        return {**super().client_environment(home), "AWS_CA_BUNDLE": str(self.certificate)}


def speak_to(running: MiniStack, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Let the environment name this emulator and nothing else, until the test ends."""
    for name in FOREIGN:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in running.client_environment(home).items():
        monkeypatch.setenv(name, value)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end_with_parent() -> Callable[[], None] | None:
    """On Linux the emulator ends with the tests, also when they are killed. (The call is looked up before the fork.)"""
    if sys.platform != "linux":
        return None
    prctl, death_signal = ctypes.CDLL(None).prctl, 1
    return lambda: prctl(death_signal, signal.SIGTERM)
