"""The libraries of the functions: which versions, by which hashes, and how they come into this user's cache.

The lock ships with Headrace: one wheel per library and architecture, written by `tools/lock` from what the project
itself is locked to. pip fetches what is missing and checks each hash; nothing is installed, nothing is built.

| code | means |
|---|---|
| HR820 | an architecture that functions do not run on |
| HR821 | the package index cannot be reached |
| HR822 | there is no pip |
| HR823 | a library's bytes are not those that were locked |
| HR824 | a library cannot be had for the functions, for the reason given |
| HR825 | a line of requirements.txt does not say one version and its hashes, or a library is in none |
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal, get_args

from headrace.model.errors import DefinitionError, InfrastructureError

Architecture = Literal["x86_64", "arm64"]
MACHINE: dict[str, str] = {"x86_64": "x86_64", "arm64": "aarch64"}
PYTHON = "3.12"
"""The runtime of the functions: Lambda's python3.12, on Amazon Linux 2023."""

GLIBC = 28
"""Newest 2.x that a wheel may ask for. The runtime has 2.34, the wheels that are there stop at this one."""

UNREACHABLE = re.compile(
    r"NewConnectionError|NameResolution|name resolution|ConnectTimeout|Connection (refused|timed out|reset|broken)"
    r"|ProxyError|Network is unreachable|Max retries exceeded|Read timed out|ReadTimeout",
    re.IGNORECASE,
)
MISMATCH = re.compile(r"DO NOT MATCH THE HASHES|hash mismatch", re.IGNORECASE)
HOW = f"`uv pip compile --python-version {PYTHON} --generate-hashes requirements.in -o requirements.txt` writes it so"


@dataclass(frozen=True, slots=True)
class Wheel:
    """One library of one version. Its file has one of these SHA-256 digests."""

    name: str
    version: str
    digests: tuple[str, ...]

    @property
    def line(self) -> str:
        """As pip reads it."""
        return f"{self.name}=={self.version} " + " ".join(f"--hash=sha256:{digest}" for digest in self.digests)


def architecture(given: str) -> Architecture:
    """Raises DefinitionError HR820."""
    for known in get_args(Architecture):
        if given == known:
            return known  # type: ignore[no-any-return]
    raise DefinitionError("HR820", "architecture", f"{given!r}", f"use one of {', '.join(get_args(Architecture))}")


def lock_of(architecture: Architecture) -> str:
    """The lock as a text."""
    return (resources.files("headrace.aws.bundle") / f"requirements-{architecture}.txt").read_text("utf-8")


def locked(architecture: Architecture) -> dict[str, Wheel]:
    """Every library that Headrace is locked to, by its name."""
    return {wheel.name: wheel for wheel in parse(lock_of(architecture), f"requirements-{architecture}.txt")}


def parse(text: str, which: str) -> list[Wheel]:
    """The wheels that a requirements file pins. Raises DefinitionError HR825 with the line."""
    found = []
    joined = re.sub(r"\\\n", "  ", text)  # keeps no line count: a name says as much
    for line in (re.sub(r"(^|\s)#.*", "", raw).strip() for raw in joined.splitlines()):
        if not line:
            continue
        match = re.fullmatch(
            r"([\w.-]+)(?:\[[\w.,\s-]*\])?\s*==\s*([\w.!+-]+)((?:\s+--hash[= ]sha256:[0-9a-f]{64})+)", line
        )
        if match is None:
            raise DefinitionError("HR825", which, f"{line[:60]!r} is not `name==version --hash=sha256:…`", HOW)
        name = re.sub(r"[-_.]+", "-", match[1]).lower()
        found.append(Wheel(name, match[2], tuple(re.findall(r"sha256:([0-9a-f]{64})", match[3]))))
    return found


def cache_folder() -> Path:
    """Where this user's wheels and libraries are kept: HEADRACE_CACHE, or `headrace` in the usual place."""
    given = os.environ.get("HEADRACE_CACHE")
    if given:
        return Path(given).absolute()
    usual = os.environ.get("XDG_CACHE_HOME")
    return (Path(usual) if usual else Path.home() / ".cache") / "headrace"


def fetch(wheels: Sequence[Wheel], architecture: Architecture, cache: Path) -> dict[str, Path]:
    """The verified files of these wheels, by the library's name; pip fetches those that the cache lacks.

    Raises InfrastructureError HR821 to HR824. A damaged file of the cache is fetched again.
    """
    folder = cache / "wheels" / architecture
    folder.mkdir(parents=True, exist_ok=True)
    missing = [wheel for wheel in wheels if _kept(wheel, folder) is None]
    if missing:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
            _download(missing, architecture, Path(scratch))
            for path in sorted(Path(scratch).glob("*.whl")):
                (folder / digest_of(path)).mkdir(exist_ok=True)
                path.replace(folder / digest_of(path) / path.name)
    return {wheel.name: _found(wheel, folder) for wheel in wheels}


def digest_of(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _found(wheel: Wheel, folder: Path) -> Path:
    kept = _kept(wheel, folder)
    if kept is None:
        raise InfrastructureError("HR823", f"{wheel.name} {wheel.version}", "pip brought other bytes", "try again")
    return kept


def _kept(wheel: Wheel, folder: Path) -> Path | None:
    """The wheel's file in the cache, with the bytes that its folder's name promises."""
    for digest in wheel.digests:
        for path in sorted((folder / digest).glob("*.whl")):
            if digest_of(path) == digest:
                return path
            path.unlink()
    return None


def _download(wheels: Iterable[Wheel], architecture: Architecture, into: Path) -> None:
    wanted = into / "requirements.txt"
    wanted.write_text("".join(f"{wheel.line}\n" for wheel in wheels), "utf-8")
    command = [*_pip(), "download", "--quiet", "--no-input", "--disable-pip-version-check", "--retries", "2"]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "--requirement", str(wanted)]
    command += ["--dest", str(into), "--python-version", PYTHON, "--implementation", "cp", *_platforms(architecture)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise _refused(done.stderr + done.stdout)


def _platforms(architecture: Architecture) -> list[str]:
    """Each tag that a wheel may carry, the newest first: older releases of pip do not know that one includes others."""
    machine = MACHINE[architecture]
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC, 4, -1)]
    tags += [f"manylinux{old}_{machine}" for old in ("2014", "2010", "1")]
    return [word for tag in tags for word in ("--platform", tag)]


def _pip() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    for name in ("pip", "pip3"):
        if shutil.which(name):
            return [name]
    if shutil.which("uv"):
        return ["uv", "tool", "run", "pip"]
    raise InfrastructureError("HR822", "package", "there is no pip here", "install it: `python -m ensurepip`, or uv")


def _refused(said: str) -> InfrastructureError:
    """Why pip did not bring them, in its own last words, without addresses: they may hold credentials."""
    said = re.sub(r"\w+://\S+", "(an address)", said)
    errors = [line.strip() for line in said.splitlines() if line.strip().startswith("ERROR")]
    last = (errors or said.strip().splitlines() or ["nothing"])[-1].removeprefix("ERROR:").strip()[:300]
    if MISMATCH.search(said):
        name = re.search(r"^\s*(\S+==\S+) from", said, re.MULTILINE)
        return InfrastructureError(
            "HR823",
            name[1] if name else "package",
            "the index gives other bytes than those that were locked",
            "ask who keeps your package index; do not deploy",
        )
    if UNREACHABLE.search(said):
        return InfrastructureError(
            "HR821", "package", "the package index cannot be reached", "go online once, or set PIP_INDEX_URL"
        )
    return InfrastructureError("HR824", "package", last, "see that your package index has it")
