"""Files of the substation example, real ones where they are, else as its generator writes them; and its stack."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from emulator import ROOT, MiniStack

from .deployed import Stack

EXAMPLE = ROOT / "examples" / "substation_load"
PREFIX = "raw/prod/lv/"
QUICK = "ingest_timeout = 120\npublish_timeout = 120\nextras = false\nbackoff = 0.2\nbackoff_limit = 1\n"
"""What is shorter in a trial, so that it need not wait."""


def example(aws: MiniStack, home: Path) -> Stack:
    """A copy of the example, not deployed yet."""
    stack = Stack.of_copy(aws, EXAMPLE, home)
    with (stack.folder / "headrace.toml").open("a") as places:
        places.write(QUICK)
    return stack


def real_files(most: int) -> dict[str, Path]:
    """Key → file of the real ones, the smallest first; none where they are not on this machine."""
    given = os.environ.get("HEADRACE_REAL_DATA")
    folder = (Path(given) if given else ROOT.parent / "shared" / "data") / "lv_load_monitor"
    found = sorted(folder.rglob("*.csv"), key=lambda path: (path.stat().st_size, path))[:most]
    return {path.relative_to(folder).as_posix(): path for path in found}


def made_files(folder: Path, most: int) -> dict[str, Path]:
    """Key → file as the example's generator writes them."""
    spec = importlib.util.spec_from_file_location("made_lv_files", EXAMPLE / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    made: list[Path] = module.generate(folder, substations=most, days=1, months=["2025-05"])
    return {path.relative_to(folder).as_posix(): path for path in made}
