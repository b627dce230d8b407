"""The demo: the substation example with generated files, loaded, asked, and left where a person can go on."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import tempfile
import time
from pathlib import Path
from types import ModuleType

import headrace
from headrace.cli.output import Output, count
from headrace.cli.start import GITIGNORE
from headrace.model.errors import UsageError
from headrace.model.hints import typed

QUERY = "average_load_per_substation.sql"


def run_demo(arguments: argparse.Namespace, output: Output) -> int:
    """Copy the example, generate its files, run, ask. Exit code of the run."""
    started = time.perf_counter()
    if arguments.dry_run:
        into = arguments.directory or "a new temporary folder"
        output.say(f"would copy {example()} to {into}, generate files, and load them")
        return 0
    folder = Path(arguments.directory) if arguments.directory else Path(tempfile.mkdtemp(prefix="headrace-demo-"))
    if folder.exists() and any(folder.iterdir()):
        raise UsageError("HR135", str(folder), "is not empty; nothing is overwritten", "choose another DIR")
    shutil.copytree(example(), folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", ".headrace"))
    (folder / ".gitignore").write_text(GITIGNORE, encoding="utf-8")
    files = _generator(folder).generate(folder / "input")
    output.say(f"{count(len(files), 'file')} generated in {folder / 'input'}")
    return _load_and_ask(folder, files, started, output)


def _load_and_ask(folder: Path, files: list[Path], started: float, output: Output) -> int:
    from headrace.project import open_project

    with open_project(folder) as project:
        result = project.run("lv", files)
        output.data(result.accounting)
        query = (folder / "queries" / QUERY).read_text("utf-8")
        answer = project.sql(query)
        output.say(f"\n{QUERY}:")
        output.table(answer.rows()[:5], answer.columns, plain=True)
        asset = next(iter(project.sql("SELECT asset_id FROM lv_data LIMIT 1")))["asset_id"]
        root = project.root
    output.say(
        f"\n{count(result.totals['loaded'], 'row')} loaded in {time.perf_counter() - started:.1f} s. Where things are:"
    )
    output.say(f"  {folder / 'pipelines.py'}: the definition")
    output.say(f"  {root / 'lake' / 'lv_data'}: Parquet under an Iceberg table")
    output.say(f"  {root / 'landing'}: where files arrive")
    output.say("What to try next:")
    output.say(f"  cd {folder}")
    output.say('  headrace sql "SELECT count(*) FROM lv_data"')
    output.say(f"  {typed('get', 'asset_data', asset, '--limit', 5)}")
    output.say("  headrace history")
    output.say("  headrace status")
    return result.exit_code


def example() -> Path:
    """The packaged example: beside the package in a checkout, inside it where it is installed."""
    package = Path(headrace.__file__).parent
    for folder in (package / "examples", package.parent.parent / "examples"):
        if (folder / "substation_load" / "pipelines.py").is_file():
            return folder / "substation_load"
    raise UsageError("HR138", "examples/substation_load", "is not part of this installation", "install Headrace again")


def _generator(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("headrace_demo_generate", folder / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
