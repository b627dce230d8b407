"""A child that parses files has no pandas; one that runs somebody's step has it as if nothing had been done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from headrace.engine.sandbox import Sandbox
from headrace.engine.settings import Settings

pytest.importorskip("pandas")


@pytest.fixture
def child() -> Iterator[Sandbox]:
    with Sandbox(Settings(), preload=("pandas_handlers",)) as made:
        yield made


def ask(child: Sandbox, what: str) -> dict[str, Any]:
    return child.call(f"pandas_handlers:{what}", {}, 60)


def test_lists_are_converted_without_pandas_until_a_step_asks_for_it(child: Sandbox) -> None:
    assert ask(child, "lists") == {"imported": False}
    assert ask(child, "frames") == {"nulls": [1, 1], "rows": 2}


def test_whoever_asks_for_frames_gets_them(child: Sandbox) -> None:
    assert ask(child, "conversions") == {"rows": [2, 1]}
