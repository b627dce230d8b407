"""Type checkers see what the vocabulary means: constructors, defaults and policies."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SYSTEMS = sorted((HERE / "systems").glob("*.py"))
WRONG = HERE / "wrong" / "mistakes.py"


def tool(name: str) -> str:
    """The command beside this Python, or on the path; skipped where there is none."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def mypy(files: list[Path], cache: Path) -> subprocess.CompletedProcess[str]:
    command = [tool("mypy"), "--strict", "--no-error-summary", "--config-file=", f"--cache-dir={cache}"]
    command += ["--scripts-are-modules", f"--python-executable={sys.executable}"]
    return subprocess.run([*command, *map(str, files)], capture_output=True, text=True, timeout=300, cwd=cache)


def pyright(files: list[Path], folder: Path) -> list[tuple[str, int, str]]:
    """(file, line, message) of each error. Skipped where pyright cannot run: it needs node."""
    for path in files:
        shutil.copy(path, folder)
    (folder / "pyrightconfig.json").write_text(json.dumps({"include": ["."], "typeCheckingMode": "strict"}))
    command = [tool("pyright"), "--outputjson", "--pythonpath", sys.executable, "-p", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        found = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as exc:
        pytest.skip(f"pyright does not run here: {exc}")
    assert found["summary"]["filesAnalyzed"] == len(files)
    return [
        (Path(d["file"]).name, d["range"]["start"]["line"] + 1, d["message"])
        for d in found["generalDiagnostics"]
        if d["severity"] == "error"
    ]


def wrong_lines() -> set[int]:
    return {n for n, line in enumerate(WRONG.read_text().splitlines(), 1) if line.endswith("# wrong")}


def test_mypy_strict_accepts_the_example_systems_and_finds_each_mistake_and_nothing_else(tmp_path: Path) -> None:
    """In one test, since each run but the first finds what it needs in the cache."""
    for path in SYSTEMS:  # one by one: they are modules of their own, and two define a Reading
        done = mypy([path], tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    done = mypy([WRONG], tmp_path)
    found = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
    assert found == wrong_lines(), done.stdout


def test_pyright_accepts_the_example_systems(tmp_path: Path) -> None:
    assert pyright(SYSTEMS, tmp_path) == []


def test_pyright_finds_each_mistake_and_nothing_else(tmp_path: Path) -> None:
    found = pyright([WRONG], tmp_path)
    assert {line for _, line, _ in found} == wrong_lines(), found
