"""How a pipeline hears of its objects: S3's notifications, and what to do where S3 would refuse them.

S3 allows no two notifications of one event whose prefixes and suffixes both overlap, and a hundred in all. Pipelines
that read overlapping keys therefore hear through a topic, to which each subscribes. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from headrace.model.pipeline import Files, Pipeline

MOST = 100
"""Notifications that one bucket can have."""

EVENTS: tuple[Literal["s3:ObjectCreated:*", "s3:ObjectRemoved:*"], ...] = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*")
"""Deleted objects count as well as new ones; a delete marker is a removal."""


@dataclass(frozen=True, slots=True)
class Filter:
    """The keys that begin with one text and end with another."""

    prefix: str
    suffix: str

    def overlaps(self, other: Filter) -> bool:
        """Whether S3 would say that a key may match both."""
        prefixes = self.prefix.startswith(other.prefix) or other.prefix.startswith(self.prefix)
        suffixes = self.suffix.endswith(other.suffix) or other.suffix.endswith(self.suffix)
        return prefixes and suffixes


@dataclass(frozen=True, slots=True)
class Direct:
    """A pipeline whose queue S3 tells itself, of the keys that match one of the filters."""

    pipeline: Pipeline
    filters: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Shared:
    """Pipelines that hear through a topic of everything below the shortest of their prefixes."""

    prefix: str
    pipelines: tuple[Pipeline, ...]


Way = Direct | Shared


def ways(pipelines: Sequence[Pipeline]) -> tuple[Way, ...]:
    """How each pipeline hears of its objects, in the order of pipelines.

    Filters by suffix save invocations and decide nothing: a function passes over what its pipeline does not want, and
    a scan finds what no filter matched (`.Csv`). Where they would not fit into one bucket, prefixes alone are used.
    """
    narrow = _ways(pipelines, narrow=True)
    return narrow if count(narrow) <= MOST else _ways(pipelines, narrow=False)


def count(ways: Sequence[Way]) -> int:
    """How many notifications these need."""
    return len(EVENTS) * sum(len(way.filters) if isinstance(way, Direct) else 1 for way in ways)


def filters_of(source: Files) -> tuple[Filter, ...]:
    """What S3 should match for a source: `.csv` also comes packed, and S3 tells `.csv` from `.CSV`."""
    suffixes: set[str] = set()
    for suffix in source.suffix:
        suffixes |= {suffix, f"{suffix}.gz", f"{suffix}.zst", ".zip"}
        suffixes |= {suffix.upper(), f"{suffix.upper()}.gz", f"{suffix.upper()}.zst"}
        suffixes |= {f"{suffix}.gz".upper(), f"{suffix}.zst".upper(), ".ZIP"}
    least = [s for s in suffixes if not any(s != other and s.endswith(other) for other in suffixes)]
    return tuple(Filter(source.prefix, s) for s in sorted(least)) or (Filter(source.prefix, ""),)


def _ways(pipelines: Sequence[Pipeline], *, narrow: bool) -> tuple[Way, ...]:
    def covered(group: Sequence[Pipeline]) -> tuple[Filter, ...]:
        if len(group) > 1 or not narrow:
            return (Filter(_shortest(group), ""),)
        return filters_of(group[0].source)

    groups: list[tuple[Pipeline, ...]] = [(pipeline,) for pipeline in pipelines]
    while meeting := _first_overlap([covered(group) for group in groups]):
        one, other = meeting  # together they cover more, so look again
        groups[one] += groups.pop(other)
    return tuple(
        Direct(group[0], covered(group)) if len(group) == 1 else Shared(_shortest(group), group) for group in groups
    )


def _first_overlap(covered: Sequence[Sequence[Filter]]) -> tuple[int, int] | None:
    for (i, ours), (j, theirs) in combinations(enumerate(covered), 2):
        if any(a.overlaps(b) for a in ours for b in theirs):
            return i, j
    return None


def _shortest(group: Sequence[Pipeline]) -> str:
    """Overlapping prefixes begin with one another, so the shortest begins them all."""
    return min((p.source.prefix for p in group), key=len)
