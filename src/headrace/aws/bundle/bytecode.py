"""Bytecode of a package's modules, made by the Python of the functions: their folder is read-only, so without it each
cold start compiles everything anew.

Other Pythons' is of no use there. Where no 3.12 is on this machine there is none: `find` says so, the caller tells.
Unchecked: nothing asks a source file's date, which a zip does not keep.

| code | means |
|---|---|
| HR827 | the Python that should compile for the functions does not work |
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from headrace.aws.bundle.wheels import PYTHON
from headrace.model.errors import InfrastructureError

TASK = "/var/task"
"""Where Lambda unzips a package: modules say so of themselves, and need no correction at import."""

_TAG = f"cpython-{PYTHON.replace('.', '')}"
_WORK = """
import json, py_compile, sys
if sys.version_info[:2] != (3, 12):
    raise SystemExit("it is %d.%d" % sys.version_info[:2])
for source, name, into in json.load(sys.stdin):
    try:
        py_compile.compile(source, into, name, True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    except py_compile.PyCompileError:
        pass  # a library's template, or of another Python: importing it says so
"""
_MANAGED = (
    ("PYENV_ROOT", "~/.pyenv", "versions"),
    ("ASDF_DATA_DIR", "~/.asdf", "installs/python"),
    ("MISE_DATA_DIR", "~/.local/share/mise", "installs/python"),
    ("UV_PYTHON_INSTALL_DIR", "~/.local/share/uv/python", ""),
)
"""Version managers: variable and usual place of their folder, and where below it Pythons are."""


def find() -> Path | None:
    """A Python 3.12: this one, HEADRACE_PYTHON312, on the path, or a version manager's. Runs nothing."""
    if sys.version_info[:2] == (3, 12):
        return Path(sys.executable)
    given = os.environ.get("HEADRACE_PYTHON312") or shutil.which(f"python{PYTHON}")
    if given and Path(given).parent.name != "shims":  # a version manager's script, which may have no such version
        return Path(given)
    return next((python for manager in _MANAGED if (python := _newest(*manager))), None)


def name_of(module: str) -> str:
    """`a/b.py` → `a/__pycache__/b.cpython-312.pyc`."""
    folder, _, file = module.rpartition("/")
    return f"{folder}/__pycache__/{file.removesuffix('.py')}.{_TAG}.pyc".lstrip("/")


def compiled(python: Path, folder: Path, modules: Sequence[str]) -> dict[str, bytes]:
    """Compile modules below `folder`; their bytecode by its name in the package. Raises InfrastructureError HR827."""
    out = folder / ".bytecode"
    work = [(str(folder / m), f"{TASK}/{m}", str(out / name_of(m))) for m in sorted(modules)]
    environment = {"PYTHONHASHSEED": "0", "LANG": "C.UTF-8"}
    command = [str(python), "-s", "-S", "-P", "-c", _WORK]
    try:
        done = subprocess.run(command, input=json.dumps(work), capture_output=True, text=True, env=environment)
    except OSError as exc:
        raise _broken(python, str(exc)) from exc
    if done.returncode != 0:
        raise _broken(python, (done.stderr.strip().splitlines() or ["it ended"])[-1])
    made = {name_of(m): out / name_of(m) for m in modules}
    return {name: path.read_bytes() for name, path in made.items() if path.is_file()}


def _broken(python: Path, found: str) -> InfrastructureError:
    return InfrastructureError("HR827", str(python), found, f"set HEADRACE_PYTHON312 to a Python {PYTHON}")


def _newest(variable: str, usual: str, below: str) -> Path | None:
    folder = Path(os.environ.get(variable) or usual).expanduser() / below
    found = [p for p in folder.glob(f"*{PYTHON}.*/bin/python{PYTHON}") if os.access(p, os.X_OK)]
    return max(found, key=lambda p: [int(n) for n in re.findall(r"\d+", p.parent.parent.name)], default=None)
