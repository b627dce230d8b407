"""The same small work for many keys: one after the other, or several at once where each waits for a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def each(work: Callable[[T], R], items: Sequence[T], at_once: int) -> list[R]:
    """What `work` makes of each item, in their order. The first error is raised once all that were begun have ended."""
    if at_once == 1 or len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(at_once, len(items)), "each") as pool:
        return list(pool.map(work, items))
