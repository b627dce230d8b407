"""Whether PyArrow knows pandas. It looks at its first conversion of a Python list, and imports what it finds.

That takes 0.7 s and 60 MB wherever pandas happens to be installed, which a process that parses files has no use for:
only a pipeline's own steps may. What PyArrow takes for missing (NaN) in a pandas Series depends on it, so they get it.
Called by the confined child, never in a user's process.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec


class _Nothing:
    """A finder that finds no pandas."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name == "pandas":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def look_in_vain() -> None:
    """Let PyArrow look for pandas now and find none: if it is there, and pandas was not imported already."""
    arrow = sys.modules.get("pyarrow")
    if arrow is None or "pandas" in sys.modules:
        return
    sys.meta_path.insert(0, _Nothing)
    try:
        arrow.array([])
    finally:
        sys.meta_path.remove(_Nothing)


def find() -> None:
    """Let PyArrow have pandas after all, where it is installed."""
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        return
    sys.modules["pyarrow"].Table.from_pandas(pandas.DataFrame())
