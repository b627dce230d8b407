"""Whether PyArrow knows pandas. It looks at its first conversion of a Python list, and imports what it finds.

That takes 0.7 s and 60 MB wherever pandas happens to be installed, which a process that parses files has no use for:
only a pipeline's own steps may. What PyArrow takes for missing in what they return (NaN, NaT, NA) depends on it, so
they get it. Conversions of ours name their type, which keeps PyArrow from looking. Called by the confined child alone.
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
        arrow.array([], arrow.null())  # with a type: to infer one, PyArrow's C++ would look for itself, and only once
    finally:
        sys.meta_path.remove(_Nothing)


def find() -> None:
    """Let PyArrow have pandas after all, where one is installed that it takes."""
    try:
        pandas = importlib.import_module("pandas")
        sys.modules["pyarrow"].Table.from_pandas(pandas.DataFrame())
    except ImportError:
        return
