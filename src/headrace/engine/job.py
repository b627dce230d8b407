"""What a worker asks of its child: values that cross the process boundary as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.model.contract import Contract

PLAIN = ("base", "attempt", "partitions", "project", "memory_limit", "threads", "scratch_bytes")
"""Fields of a job that JSON takes as they are."""


@dataclass(frozen=True, slots=True)
class Input:
    """One object version to stage, with its lineage. `dialect` is the pinned one of an earlier reading, if any."""

    load: str
    key: str
    version: str
    path: str
    arrived_at: str
    dialect: Mapping[str, Any] | None = None
    corrections: Sequence[tuple[str, int, Mapping[str, str | None]]] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """Inputs that are staged together. Paths are absolute but for `base`, which is below `root`."""

    contract: Contract
    inputs: tuple[Input, ...]
    root: Path
    spool: Path  # where some inputs are, besides `scratch`
    base: str
    attempt: str
    partitions: tuple[tuple[str, str], ...]
    scratch: Path
    project: str
    memory_limit: str
    threads: int
    scratch_bytes: int = 0  # most that one input may unpack to; 0: as much as its format allows

    @staticmethod
    def from_dict(raw: Mapping[str, Any]) -> Job:
        return Job(
            **{
                **raw,
                "contract": Contract.from_dict(raw["contract"]),
                "inputs": tuple(Input(**i) for i in raw["inputs"]),
                "root": Path(raw["root"]),
                "spool": Path(raw["spool"]),
                "scratch": Path(raw["scratch"]),
                "partitions": tuple((n, e) for n, e in raw["partitions"]),
            }
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            **{n: getattr(self, n) for n in PLAIN},
            "contract": self.contract.to_dict(),
            "inputs": [{n: getattr(i, n) for n in Input.__slots__} for i in self.inputs],
            "root": str(self.root),
            "spool": str(self.spool),
            "scratch": str(self.scratch),
        }
