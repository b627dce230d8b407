"""Holds imports to one direction, and each heavy library to its place, so that the layout tells the truth."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src"

MAY_IMPORT: dict[str, set[str]] = {
    "model": set(),
    "ports": {"model"},
    "contract": {"model", "ports"},
    "formats": {"model", "ports"},
    "sinks": {"model", "ports", "engine.faults"},  # a fault point is a no-op that needs nothing
    "engine": {"model", "ports", "contract", "formats", "sinks"},
    "spark": {"model", "ports", "contract"},
    "local": {"model", "ports", "contract", "formats", "sinks", "engine"},
    "aws": {"model", "ports", "contract", "formats", "sinks", "engine", "config"},  # its handlers are a surface
    "config": {"model", "ports", "contract", "engine"},
    "project": {"model", "ports", "contract", "formats", "sinks", "engine", "config", "local", "aws", "spark"},
    "server": {"model", "ports", "project"},
    "cli": {"", "model", "config", "project", "server", "engine.home", "engine.settings", "engine.log"},
    "": {"model", "project"},  # headrace/__init__.py: the user's vocabulary
    "__main__": {"cli"},
}
"""Each part of the package, and the parts that it may use besides itself (docs/architecture.md says why)."""

ONLY_IN: dict[str, set[str]] = {
    "boto3": {"aws"},
    "botocore": {"aws"},
    "pyspark": {"spark"},
    "fastapi": {"server"},
    "uvicorn": {"server"},
    "watchfiles": {"local"},
    "fastexcel": {"formats"},
    "charset_normalizer": {"formats"},
    "pyiceberg": {"sinks", "local", "aws"},
    "rich": {"cli"},
}
"""Libraries whose use shows in the layout."""

HOMES = re.compile(
    r"(?<![a-z0-9])(aws|amazon|boto3?|botocore|s3|dynamo(db)?|sqs|sns|glue|athena|lambda|sqlite3?|local)(?![a-z0-9])",
    re.IGNORECASE,
)
"""What only a home knows. In comments and docstrings the engine may say what happens where."""

TWINS: dict[str, tuple[str, str]] = {
    "store": ("FolderStore", "S3Store"),
    "queue": ("SqliteQueue", "SqsQueue"),
    "ledger": ("SqliteLedger", "DynamoLedger"),
    "ledger_corrections": ("SqliteCorrections", "DynamoCorrections"),
    "ledger_hints": ("SqliteHints", "DynamoHints"),
    "ledger_history": ("SqliteHistory", "DynamoHistory"),
    "keyed": ("KeyedWriter", "DynamoWriter"),
    "base": ("FolderBase", "S3Base"),
    "catalog": ("SqliteCatalog", "GlueCatalog"),
    "folder": ("LocalFolder", "S3Folder"),
    "metadata": ("DurableFileIO", "S3FileIO"),
    "notify": ("FileNotifier", "SnsNotifier"),
    "target": ("LocalTarget", "AwsTarget"),
}
"""Per file of both homes: the class that each has in it."""

ONE_HOME_ONLY: dict[str, str] = {
    "FolderStore.make_prefix": "a prefix of S3 needs no folder",
    "SqliteQueue.acknowledge_in": "one database holds queue and ledger: a stage acknowledges in its transaction",
    "FolderStore.create": "a bucket is made by the deployment",
    "LocalTarget.landing": "a folder that a person may copy into",
    "SqsQueue.asked": "a command waits until a stack has taken what it asked for; a root can simply be counted",
    "S3Base.clear": "a machine of Lambda lives on after its work failed; a folder is swept as a process begins",
    "AwsTarget.ledger": "a function opens one for each invocation, whose own events it acknowledges",
}
"""Public methods that the other home's twin has no use for, and why."""


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted((SOURCE / "headrace").rglob("*.py")):
        yield part_of(path), path


def part_of(path: Path) -> str:
    """`headrace/engine/stage.py` is of the part `engine`; a module at the top is its own part."""
    first = path.relative_to(SOURCE / "headrace").parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    yield from imported(path.read_text(encoding="utf-8"), path.relative_to(SOURCE).parent.parts)


def imported(text: str, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Every absolute name that a module of `package` imports, also under TYPE_CHECKING and inside functions."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, name.name) for name in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = ".".join([*package[: len(package) - level + 1], *([module] if module else [])])
                origin = base if level else str(module)
                for name in names:
                    yield node.lineno, f"{origin}.{name.name}" if origin == "headrace" else origin


def test_imports_point_one_way() -> None:
    wrong = []
    for part, path in modules():
        for line, name in imports(path):
            head, _, rest = name.partition(".")
            if head != "headrace":
                continue
            target = rest.split(".")[0]
            if target != part and not {target, rest} & MAY_IMPORT[part]:
                wrong.append(f"{path.relative_to(SOURCE)}:{line} {part or 'headrace'} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_every_part_of_the_package_has_its_place_in_the_layers() -> None:
    assert {part for part, _ in modules()} <= set(MAY_IMPORT)


def test_the_model_needs_the_standard_library_alone() -> None:
    allowed = set(sys.stdlib_module_names) | {"headrace"}
    wrong = [
        f"{path.relative_to(SOURCE)}:{line} {name}"
        for part, path in modules()
        if part == "model"
        for line, name in imports(path)
        if name.split(".")[0] not in allowed
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("library", sorted(ONLY_IN))
def test_a_library_is_used_only_where_the_layout_says(library: str) -> None:
    wrong = [
        f"{path.relative_to(SOURCE)}:{line} {name}"
        for part, path in modules()
        if part not in ONLY_IN[library]
        for line, name in imports(path)
        if name.split(".")[0] == library
    ]
    assert not wrong, "\n".join(wrong)


def test_the_two_homes_do_not_know_each_other() -> None:
    assert "aws" not in MAY_IMPORT["local"]
    assert "local" not in MAY_IMPORT["aws"]


def words(text: str) -> Iterator[tuple[int, str]]:
    """Every name and every string in the code of a module, docstrings aside."""
    tree = ast.parse(text)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(said)) if id(node) not in prose:
                yield node.lineno, said
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                yield node.lineno, name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node.lineno, name
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield node.lineno, " ".join([getattr(node, "module", None) or "", *(alias.name for alias in names)])


def test_no_file_of_the_engine_names_a_home() -> None:
    wrong = [
        f"{path.relative_to(SOURCE)}:{line} {word[:80]}"
        for part, path in modules()
        if part == "engine"
        for line, word in words(path.read_text(encoding="utf-8"))
        if HOMES.search(word)
    ]
    assert not wrong, "\n".join(wrong)


def test_a_home_is_seen_in_names_and_texts_and_not_in_prose() -> None:
    text = (
        '"""On AWS."""\nfrom headrace.local import store\nx = s3_key  # dynamodb\ny = f"{x} of DynamoDB"\nlocally = 1\n'
    )
    assert [line for line, word in words(text) if HOMES.search(word)] == [2, 3, 4]


def public_methods(home: str, file: str, name: str) -> list[str]:
    """The methods of a class in the order of its source; what it inherits is not among them."""
    path = SOURCE / "headrace" / home / f"{file}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    assert found, f"{path.relative_to(SOURCE)} has no class {name}"
    return [node.name for node in found[0].body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]


@pytest.mark.parametrize("file", sorted(TWINS))
def test_the_twins_of_both_homes_have_the_same_methods_in_the_same_order(file: str) -> None:
    here, there = TWINS[file]
    local = [name for name in public_methods("local", file, here) if f"{here}.{name}" not in ONE_HOME_ONLY]
    aws = [name for name in public_methods("aws", file, there) if f"{there}.{name}" not in ONE_HOME_ONLY]
    assert aws == local


def test_every_exception_to_the_mirror_exists() -> None:
    known = {
        f"{name}.{method}"
        for file, names in TWINS.items()
        for home, name in zip(("local", "aws"), names, strict=True)
        if (SOURCE / "headrace" / home / f"{file}.py").exists()
        for method in public_methods(home, file, name)
    }
    assert ONE_HOME_ONLY.keys() <= known


def test_a_wrong_import_is_seen_wherever_it_stands() -> None:
    text = "def f():\n    import pyspark.sql\nfrom ..engine import loop\nfrom headrace import local\n"
    found = {name for _, name in imported(text, ("headrace", "model"))}
    assert found == {"headrace.engine", "headrace.local", "pyspark.sql"}
