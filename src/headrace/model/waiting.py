"""Which of the staged jobs a revision takes, where it may not take all: whole ones, as files are settled whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    """What was staged together: `keys` of objects whose rows share files of `size` bytes, the oldest load's `order`."""

    order: int
    keys: frozenset[str]
    size: int


def first_of(jobs: Iterable[Waiting], most: float, beside: Iterable[str] = ()) -> set[str]:
    """The keys of the oldest jobs with `most` bytes together, at least of one, and of those with a key in `beside`.

    A job that shares a key with a chosen one comes with it, however large: a key is looked at with all that is staged.
    """
    keys: set[str] = set()
    left = sorted(jobs, key=lambda job: job.order)
    taken = 0
    for job in left:
        if keys and taken + job.size > most:
            break
        keys |= job.keys
        taken += job.size
    seeds = keys.union(beside)
    while joined := [job for job in left if not job.keys.isdisjoint(seeds) and not job.keys <= keys]:
        for job in joined:
            keys |= job.keys
        seeds |= keys
    return keys
