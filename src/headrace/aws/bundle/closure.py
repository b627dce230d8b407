"""Which modules of a folder a module needs: what it imports, wherever in its text, and what those import.

It reads, and imports nothing: a definition may do anything when it is imported. Imports for type checkers alone do not
count. Called by `package.py`, for Headrace's own modules and for a project's.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path


def closure(folder: Path, entries: Iterable[str], without: Sequence[str] = ()) -> tuple[dict[str, Path], set[str]]:
    """Modules found below `folder` by their dotted names, and the names that were imported but are not there.

    The second are other people's, as they were written: `numpy.linalg` for `import numpy.linalg`. Packages `without`
    which it should do are passed over, imported or not. Raises SyntaxError.
    """
    found: dict[str, Path] = {}
    foreign: set[str] = set()
    todo = list(entries)
    while todo:
        name = todo.pop()
        if name in found or name in foreign or any(f"{name}.".startswith(f"{part}.") for part in without):
            continue
        path = locate(folder, name)
        if path is None:
            foreign.add(name)
            continue
        if path.is_file():
            found[name] = path
            todo += _imported(path, name, folder)
        parent = name.rpartition(".")[0]
        if parent:
            todo.append(parent)  # importing a.b runs a first
    return found, {name for name in foreign if locate(folder, name.partition(".")[0]) is None}


def always_imported(text: bytes) -> set[str]:
    """The first names of what a module imports each time: not within a function, a `try` or an `if`."""
    body = ast.parse(text).body
    plain = {alias.name for node in body if isinstance(node, ast.Import) for alias in node.names}
    plain |= {str(node.module) for node in body if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.partition(".")[0] for name in plain}


def locate(folder: Path, name: str) -> Path | None:
    """The file of a module, or the folder of a package that has none."""
    base = folder.joinpath(*name.split("."))
    for path in (base / "__init__.py", base.with_name(f"{base.name}.py")):
        if path.is_file():
            return path
    return base if base.is_dir() and any(base.rglob("*.py")) else None


def _imported(path: Path, name: str, folder: Path) -> Iterator[str]:
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in _walk(ast.parse(path.read_bytes(), str(path))):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = [*package[: len(package) - level + 1], *([module] if module else [])] if level else [str(module)]
                origin = ".".join(base)
                yield origin
                inside = (f"{origin}.{alias.name}" for alias in names if alias.name != "*")
                yield from (full for full in inside if locate(folder, full) is not None)  # else it is no module


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that runs: what stands under `if TYPE_CHECKING:` does not."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and _for_checkers(node.test):
            for other in node.orelse:
                yield other
                yield from _walk(other)
            continue
        yield node
        yield from _walk(node)


def _for_checkers(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )
