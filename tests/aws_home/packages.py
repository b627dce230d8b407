"""A project to package, a bare Python 3.12 to run it, and a small library that an index of its own holds."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from emulator import ROOT, missing
from headrace.aws.bundle import bytecode
from headrace.aws.bundle.package import Package, build
from headrace.model.errors import InfrastructureError

CANARY = "canary-5e0a7c1d9b"
PIPELINES = """
import pyarrow as pa

from headrace import Pipeline, Record, files, lake
from helpers.doubling import doubled


class Row(Record, key="k", zone="Europe/London"):
    k: int
    v: int


def twice(table: pa.Table) -> pa.Table:
    return doubled(table)


rows = Pipeline("rows", source=files("in/"), record=Row, steps=[twice], sinks=[lake("t")])
"""
DEFINED = PIPELINES.replace("import pyarrow as pa\n", "").replace("pa.Table", "object")
"""The same without a library at import: what both functions can read."""

HELPER = """
def doubled(table):
    import pyarrow.compute as pc

    return table.set_column(table.schema.get_field_index("v"), "v", pc.multiply(table["v"], 2))
"""
TARGETS = f"""
[project]
module = "pipelines"

[targets.local]
kind = "local"
root = ".headrace-{CANARY}"

[targets.aws]
kind = "aws"
stack = "rows"
region = "eu-west-2"
child_timeout = "4 min"
alarm_email = "{CANARY}@example.org"
profile = "{CANARY}"
password = "{CANARY}"
"""


def project(folder: Path) -> Path:
    """A project with something secret wherever people keep it, and the modules that its definitions import."""
    told = {
        "headrace.toml": TARGETS,
        "pipelines.py": DEFINED,
        "helpers/__init__.py": "",
        "helpers/doubling.py": HELPER,
        "helpers/unused.py": f"KEY = '{CANARY}'",
        "steps/clean.sql": "select * from input",
        "notes.py": f"KEY = '{CANARY}'",
        **dict.fromkeys(
            (".env", ".envrc", "readings.csv", "credentials", "helpers/data.json", ".git/config"), f"key = {CANARY}\n"
        ),
        **dict.fromkeys(
            (
                ".headrace/state.db",
                "tests/test_it.py",
                "__pycache__/pipelines.pyc",
                ".hidden/a.sql",
                "env/pyvenv.cfg",
                "env/b.sql",
            ),
            f"{CANARY}\n",
        ),
    }
    for name, text in told.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder


def built(folder: Path, function: Any, into: Path, architecture: str = "x86_64") -> Package:
    """The package; the test is skipped where its libraries cannot be had, and fails where they must be."""
    try:
        return build(folder, function, architecture, into)
    except InfrastructureError as exc:
        if exc.code in ("HR821", "HR822"):
            missing(f"the functions' libraries are not here: {exc}")
        raise


def python312() -> Path:
    found = bytecode.find()
    if found is None:
        missing("no Python 3.12 here: install it on the path or by a version manager, or set HEADRACE_PYTHON312")
    assert found is not None
    return found


def unpacked(package: Package, folder: Path) -> Path:
    """As Lambda has it: nobody may write to the folder or what is in it."""
    with zipfile.ZipFile(package.path) as opened:
        opened.extractall(folder)
    for path in [*folder.rglob("*"), folder]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    return folder


def writable(folder: Path) -> None:
    """So that the test's folder can be removed."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)


def bare(python: Path, *words: str | Path, work: Path) -> dict[str, Any]:
    """Run bare.py in an interpreter that sees no site, no home and no time zones of the system."""
    script = Path(__file__).with_name("bare.py")
    (work / "tmp").mkdir(exist_ok=True)
    command = [str(python), "-I", "-S", str(script), *map(str, words)]
    environment = {"PYTHONTZPATH": "", "TMPDIR": str(work / "tmp"), "LANG": "C.UTF-8", "PATH": os.defpath}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/", timeout=120)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command[3:])} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def library(index: Path, text: str = "ANSWER = 42\n") -> str:
    """Put the wheel of a library into a folder that pip can find it in; returns the wheel's digest."""
    index.mkdir(parents=True, exist_ok=True)
    path = index / "littlelib-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("littlelib/__init__.py", text)
        made.writestr("littlelib-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: littlelib\nVersion: 1.0\n")
        made.writestr("littlelib-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        made.writestr("littlelib-1.0.dist-info/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


SOURCE = ROOT / "src" / "headrace"
