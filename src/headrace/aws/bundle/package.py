"""The code of a function as a zip: libraries, Headrace's own modules, and the project's definitions. Nothing else.

The same inputs give the same bytes, whoever builds where. It asks no AWS. `deploy` and `plan` call it.

| code | means |
|---|---|
| HR826 | requirements.txt wants another version of a library than the one that Headrace is locked to |
| HR828 | a module of the project has the name of a library |
| HR829 | the package is larger than Lambda takes, or cannot be written |
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from zipfile import BadZipFile

from headrace import config
from headrace.aws.bundle import bytecode, contents, wheels, zipped
from headrace.aws.bundle.closure import always_imported, closure
from headrace.aws.bundle.libraries import key_of, libraries
from headrace.aws.bundle.wheels import Wheel
from headrace.aws.bundle.zipped import Member
from headrace.aws.options import Role
from headrace.model.errors import DefinitionError, InfrastructureError

REQUIREMENTS = "requirements.txt"
"""What a project's own steps import besides: in its folder, pinned and hashed. Both functions get it."""

_OURS = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, slots=True)
class Package:
    """A function's code. `bytecode` is False where no Python 3.12 was there to compile: it works, and starts slower."""

    path: Path
    sha256: str
    unzipped_bytes: int
    files: tuple[str, ...]
    bytecode: bool = True


def build(project_dir: Path, function: Role, architecture: str, into: Path) -> Package:
    """Make `into/<function>-<architecture>.zip`, or find it there when nothing changed.

    Raises DefinitionError HR820, HR825, HR826, HR828 and what reading the project raises; InfrastructureError HR821 to
    HR824, HR827, HR829.
    """
    wanted, own, python, path, key = _inputs(project_dir, function, architecture, into)
    known = _known(path, key)
    if known is not None:
        return known
    try:
        shared = libraries(wanted, wheels.architecture(architecture), python, wheels.cache_folder())
        made = _made(path, shared, {**own, **_headrace(function)}, python)
        _note(path, key, made)
    except (OSError, BadZipFile) as exc:
        raise InfrastructureError(
            "HR829", str(path), f"cannot be made: {exc}", "free space, or clear the cache"
        ) from exc
    return made


def current(project_dir: Path, function: Role, architecture: str, into: Path) -> Package | None:
    """The package that `build` would give without building: None where inputs changed, or none was built here."""
    *_, path, key = _inputs(project_dir, function, architecture, into)
    return _known(path, key)


def _inputs(
    project_dir: Path, function: Role, architecture: str, into: Path
) -> tuple[list[Wheel], dict[str, bytes], Path | None, Path, str]:
    """Libraries, the project's own files, the compiler; the package's path, and the digest of all that goes into it."""
    target = wheels.architecture(architecture)
    folder = config.find(project_dir)
    definitions, foreign = _definitions(folder)
    at_once = {top for name, text in definitions.items() if name.endswith(".py") for top in always_imported(text)}
    wanted = _libraries(folder, function, target, foreign if function == "ingest" else at_once)  # ingest runs the steps
    python = bytecode.find()
    own = {**definitions, config.FILE: _project_file(folder)}
    key = hashlib.sha256(f"{key_of(wanted, target, python)} {_digest(own)} {_rules()}".encode()).hexdigest()
    return wanted, own, python, into / f"{function}-{architecture}.zip", key


def _made(path: Path, shared: Path, own: Mapping[str, bytes], python: Path | None) -> Package:
    members = list(zipped.members(shared))
    _refuse_hidden(members, own)
    _refuse_lacking(members, own)
    members += [Member.of(name, data) for name, data in own.items()]
    members += [Member.of(name, data) for name, data in _compiled(own, python).items()]
    size = sum(m.size for m in members)
    if size >= contents.MOST_BYTES:
        found = f"{size / 2**20:.0f} MB unzipped, Lambda takes {contents.MOST_BYTES >> 20}"
        raise InfrastructureError("HR829", path.name, found, f"take out of {REQUIREMENTS} what the steps do not need")
    names = zipped.write(path, members)
    return Package(path, wheels.digest_of(path), size, names, python is not None)


def _libraries(folder: Path, function: Role, architecture: wheels.Architecture, imported: set[str]) -> list[Wheel]:
    """Headrace's own, those of them that the definitions import besides, and the project's."""
    locked = wheels.locked(architecture)
    besides = {name for name in (top.replace("_", "-") for top in imported) if name in locked}
    wanted = {name: locked[name] for name in (*contents.LIBRARIES[function], *sorted(besides))}
    more = folder / REQUIREMENTS
    for wheel in wheels.parse(more.read_text("utf-8"), REQUIREMENTS) if more.is_file() else ():
        ours = locked.get(wheel.name)
        if ours is not None and ours.version != wheel.version:
            found = f"{wheel.name} {wheel.version}, and Headrace is locked to {ours.version}"
            raise DefinitionError(
                "HR826", REQUIREMENTS, found, f"pin {wheel.name}=={ours.version}, or take the line out"
            )
        wanted[wheel.name] = ours or wheel
    return [wanted[name] for name in sorted(wanted)]


def _definitions(folder: Path) -> tuple[dict[str, bytes], set[str]]:
    """The definition module, what it imports from the project's folder, the SQL there; and what else it imports."""
    module = config.read(folder).module
    try:
        found, foreign = closure(folder, [module])
    except SyntaxError as exc:
        raise DefinitionError("HR107", f"{exc.filename}:{exc.lineno}", str(exc.msg), "correct the line") from exc
    if module not in found:
        raise DefinitionError("HR104", config.FILE, f"there is no module {module!r}", "set [project] module")
    return {**_texts(folder, found), **_queries(folder)}, {name.partition(".")[0] for name in foreign}


def _queries(folder: Path) -> dict[str, bytes]:
    """SQL that definitions may read from files of its own; not in hidden folders or environments."""
    found = {}
    for here, folders, names in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".") and not Path(here, f, "pyvenv.cfg").exists()]
        for path in (Path(here, name) for name in names if name.endswith(".sql") and not name.startswith(".")):
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def _headrace(function: Role) -> dict[str, bytes]:
    """Headrace's modules that the function can reach."""
    found, _ = closure(_OURS, contents.ENTRIES[function], contents.NOT_THERE)
    return _texts(_OURS, {name: path for name, path in found.items() if name.split(".")[0] == "headrace"})


def _texts(folder: Path, found: Mapping[str, Path]) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found.values() if path.is_file()}


def _project_file(folder: Path) -> bytes:
    raw = tomllib.loads((folder / config.FILE).read_text("utf-8"))
    return contents.project_file(raw.get("project", {}), raw.get("targets", {})).encode()


def _refuse_hidden(members: Sequence[Member], own: Mapping[str, bytes]) -> None:
    """A module that would stand in front of a library's, or beside it under one name."""
    taken = {m.name.split("/")[0].removesuffix(".py").split(".")[0] for m in members}
    for name in own:
        top = name.split("/")[0].removesuffix(".py")
        if top in taken:
            raise DefinitionError(
                "HR828", name, f"{top!r} is the name of a library that the function needs", "rename it"
            )


def _refuse_lacking(members: Sequence[Member], own: Mapping[str, bytes]) -> None:
    """What a module imports whenever it is imported itself, and nobody brings."""
    there = {m.name.split("/")[0].split(".")[0] for m in members} | {name.split("/")[0] for name in own}
    there |= {name.removesuffix(".py") for name in there} | sys.stdlib_module_names
    for name, text in sorted(own.items()):
        lacking = always_imported(text) - there if name.endswith(".py") and not name.startswith("headrace/") else ()
        for top in sorted(lacking):
            found = f"imports {top!r}, which the functions do not have"
            raise DefinitionError("HR825", name, found, f"pin it in {REQUIREMENTS}: {wheels.HOW}")


def _compiled(own: Mapping[str, bytes], python: Path | None) -> dict[str, bytes]:
    if python is None:
        return {}
    modules = [name for name in own if name.endswith(".py")]
    with tempfile.TemporaryDirectory(prefix="headrace-") as scratch:
        for name in modules:
            place = Path(scratch, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(own[name])
        return bytecode.compiled(python, Path(scratch), modules)


def _digest(files: Mapping[str, bytes]) -> str:
    parts = (f"{name} {hashlib.sha256(data).hexdigest()}\n" for name, data in sorted(files.items()))
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _rules() -> str:
    """Headrace itself, all of it: which of its modules a function can reach is only looked up when one changed."""
    folder = _OURS / "headrace"
    return _digest({p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.py")})


def _known(path: Path, key: str) -> Package | None:
    """What `_note` wrote, if it is of these inputs and of the zip that lies there."""
    try:
        noted = json.loads(_notes(path).read_text("utf-8"))
        state = path.stat()
    except (OSError, ValueError):
        return None
    if noted["key"] != key or noted["state"] != [state.st_size, state.st_mtime_ns]:
        return None
    return Package(**{**noted["package"], "path": path, "files": tuple(noted["package"]["files"])})


def _note(path: Path, key: str, made: Package) -> None:
    state = path.stat()
    noted = {"key": key, "state": [state.st_size, state.st_mtime_ns], "package": {**asdict(made), "path": path.name}}
    with zipped.replacing(_notes(path)) as out:
        out.write(json.dumps(noted).encode())


def _notes(path: Path) -> Path:
    return path.with_suffix(".json")
