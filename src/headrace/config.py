"""A project on disk: `headrace.toml` as typed values, and the pipelines that its definition module declares.

Reads and imports, decides nothing and opens no state. Called by `project.py` and by commands that need no target.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
import sys
import tomllib
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.model.errors import DefinitionError, HeadraceError, UsageError
from headrace.model.where import meant

if TYPE_CHECKING:
    from headrace.model.pipeline import Pipeline

FILE = "headrace.toml"
KINDS = ("local", "aws")


@dataclass(frozen=True, slots=True)
class TargetConfig:
    """One `[targets.NAME]`: where pipelines live. `settings` holds what is left of the table: how much it may use.

    `root` is where a local target keeps everything, and any other its copies.
    """

    name: str
    kind: str
    root: Path
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Config:
    """What `headrace.toml` in `directory` says. `name` is the project's, by default its folder's."""

    directory: Path
    module: str
    targets: Mapping[str, TargetConfig]
    name: str = ""

    def target(self, name: str) -> TargetConfig:
        """The target of that name. Raises UsageError HR105 if there is none, HR106 if this version cannot open it."""
        if name not in self.targets:
            known = ", ".join(sorted(self.targets))
            raise UsageError("HR105", FILE, f"there is no target {name!r}", _suggest(name, self.targets, known))
        found = self.targets[name]
        if found.kind not in KINDS:
            next = f"use {' or '.join(map(repr, KINDS))}"
            raise UsageError("HR106", f"{FILE} [targets.{name}]", f"kind {found.kind!r} cannot be used", next)
        return found


def find(directory: Path) -> Path:
    """The nearest folder with a `headrace.toml`, from `directory` upwards. Raises UsageError HR101."""
    if not directory.is_dir():
        found = "is a file" if directory.exists() else "there is no such folder"
        raise UsageError("HR101", str(directory), found, "give the project's folder")
    start = directory.resolve()
    for folder in (start, *start.parents):
        if (folder / FILE).is_file():
            return folder
    raise UsageError("HR101", str(directory), f"no {FILE} here or above", "begin one with `headrace init`")


def read(directory: Path) -> Config:
    """The configuration of the project that holds `directory`. Raises DefinitionError HR102 and HR103."""
    folder = find(directory)
    try:
        raw = tomllib.loads((folder / FILE).read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        line = re.search(r"at line (\d+)", str(exc))
        which = f"{FILE}:{line[1]}" if line else FILE
        raise DefinitionError("HR102", which, f"is not TOML: {exc}", "correct the line") from exc
    _refuse_unknown(raw, {"project", "targets"}, FILE)
    project = _table(raw.get("project", {}), f"{FILE} [project]")
    _refuse_unknown(project, {"module", "name"}, f"{FILE} [project]")
    module = project.get("module", "pipelines")
    if not isinstance(module, str) or not all(part.isidentifier() for part in module.split(".")):
        raise DefinitionError("HR103", f"{FILE} [project]", f"module = {module!r} is no module name", 'try "pipelines"')
    targets = _table(raw.get("targets", {"local": {}}), f"{FILE} [targets]")
    name = project.get("name", folder.name)
    if not isinstance(name, str) or not re.fullmatch(r"[\w .:/=+@-]{1,128}", name):
        next = "use letters, digits, spaces and any of . : / = + @ - _"
        raise DefinitionError("HR103", f"{FILE} [project]", f"name = {name!r} cannot be used", next)
    return Config(folder, module, {name: _target(folder, name, value) for name, value in targets.items()}, name)


def _target(folder: Path, name: str, value: Any) -> TargetConfig:
    which = f"{FILE} [targets.{name}]"
    table = dict(_table(value, which))
    kind = table.pop("kind", "local")
    root = table.pop("root", ".headrace" if kind == "local" else f".headrace/{name}")
    if not isinstance(kind, str) or not isinstance(root, str) or not root:
        raise DefinitionError("HR103", which, "kind and root are texts", 'e.g. kind = "local", root = ".headrace"')
    return TargetConfig(name, kind, (folder / Path(root).expanduser()).absolute(), table)


def _table(value: Any, which: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DefinitionError("HR103", which, f"is {value!r}", "it must be a table")
    return value


def _refuse_unknown(raw: Mapping[str, Any], known: set[str], which: str) -> None:
    for name in raw:
        if name not in known:
            raise DefinitionError(
                "HR103", which, f"{name!r} is not known", _suggest(name, known, ", ".join(sorted(known)))
            )


def _suggest(name: str, known: Mapping[str, Any] | set[str], all_of_them: str) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {close[0]!r}?" if close else f"known are {all_of_them}"


def load_pipelines(config: Config) -> dict[str, Pipeline]:
    """Import the definition module, fresh, from the project's folder alone; its pipelines by name.

    Raises DefinitionError with file and line: HR104 no such module, HR107 Python cannot read it, HR108 it raised,
    HR109 it declares no pipeline, HR112 two pipelines share a name or a table; and whatever a definition itself raises.
    """
    from headrace.model.pipeline import Pipeline

    with _importing_from(config.directory):
        module = _import(config)
    found: list[Pipeline] = []
    for value in vars(module).values():
        if isinstance(value, Pipeline) and not any(value is other for other in found):
            found.append(value)
    which = f"{config.module.replace('.', '/')}.py"
    if not found:
        raise DefinitionError("HR109", which, "declares no pipeline", 'add one, e.g. lv = Pipeline("lv", …)')
    _refuse_shared(found, which)
    return {pipeline.name: pipeline for pipeline in found}


def _import(config: Config) -> Any:
    if config.module.split(".")[0] in sys.stdlib_module_names:
        raise DefinitionError("HR104", FILE, f"module {config.module!r} is a standard module's name", "rename it")
    try:
        return importlib.import_module(config.module)
    except HeadraceError as exc:
        raise _placed(exc, config.directory) from exc
    except SyntaxError as exc:
        which = f"{_below(exc.filename or '', config.directory)}:{exc.lineno}"
        raise DefinitionError("HR107", which, f"{exc.msg}", "correct the line") from exc
    except ModuleNotFoundError as exc:
        if exc.name == config.module.split(".")[0]:
            raise DefinitionError(
                "HR104", FILE, f"there is no module {config.module!r} in {config.directory}", "set [project] module"
            ) from exc
        raise DefinitionError(
            "HR108", _place(exc, config.directory), f"there is no module {exc.name!r}", "install or correct it"
        ) from exc
    except Exception as exc:
        if isinstance(exc, TypeError) and (unknown := _unknown_keyword(exc, _place(exc, config.directory))):
            raise unknown from exc
        raise DefinitionError(
            "HR108", _place(exc, config.directory), f"{type(exc).__name__}: {exc}", "correct the definition"
        ) from exc


def _placed(exc: HeadraceError, directory: Path) -> HeadraceError:
    """The same error, with file and line in front where it does not say so itself."""
    place = _place(exc, directory)
    if not place or re.search(r"\.py:\d+", exc.which):
        return exc
    placed = DefinitionError(exc.code, f"{place} {exc.which}".strip(), exc.found, exc.next)
    placed.others = exc.others
    return placed


def _unknown_keyword(exc: TypeError, place: str) -> DefinitionError | None:
    """HR217 for a misspelt keyword of the vocabulary, which Python refuses without a word on what it may have meant."""
    from headrace.model import pipeline, record

    match = re.match(r"(\w+)(\.__init\w*__)?\(\) got an unexpected keyword argument '(\w+)'", str(exc))
    what = (vars(pipeline) | vars(record)).get(match[1]) if match else None
    if match is None or what is None:
        return None
    called = getattr(what, match[2][1:]) if match[2] else what
    possible = [name for name in inspect.signature(called).parameters if name not in ("self", "where", "kwargs")]
    return DefinitionError(
        "HR217", f"{place} {match[1]}".strip(), f"it takes no {match[3]!r}", meant(match[3], possible)
    )


def _place(exc: BaseException, directory: Path) -> str:
    inside = [
        f"{_below(frame.filename, directory)}:{frame.lineno}"
        for frame in traceback.extract_tb(exc.__traceback__)
        if Path(frame.filename).is_relative_to(directory)
    ]
    return inside[-1] if inside else ""


def _below(filename: str, directory: Path) -> str:
    path = Path(filename)
    return str(path.relative_to(directory)) if path.is_relative_to(directory) else filename


_ours: set[str] = set()
"""Modules that an earlier call imported from a project's folder: forgotten before the next import."""


@contextmanager
def _importing_from(directory: Path) -> Iterator[None]:
    for name in _ours:
        sys.modules.pop(name, None)
    _ours.clear()
    before, bytecode = set(sys.modules), sys.dont_write_bytecode
    sys.path.insert(0, str(directory))
    sys.dont_write_bytecode = True  # an edit within one second of the last must count
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(directory))
        sys.dont_write_bytecode = bytecode
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).is_relative_to(directory):
                _ours.add(name)


def _refuse_shared(pipelines: list[Pipeline], which: str) -> None:
    names: set[str] = set()
    tables: dict[str, str] = {}
    for pipeline in pipelines:
        if pipeline.name in names:
            raise DefinitionError("HR112", which, f"two pipelines are named {pipeline.name!r}", "rename one")
        names.add(pipeline.name)
        for sink in pipeline.sinks:
            owner = tables.setdefault(sink.table, pipeline.name)
            if owner != pipeline.name:
                raise DefinitionError(
                    "HR112", which, f"table {sink.table!r} belongs to {owner!r} and {pipeline.name!r}", "rename one"
                )
