"""Objects that were found and pinned, and which of them are staged together, as one job of the child."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace.engine.home import Home
from headrace.engine.job import Input, Job
from headrace.model.loads import Lease, Load
from headrace.model.times import text_of


@dataclass(slots=True)
class Found:
    """A load on its way: its copy, and every lease that asked for its key."""

    load: Load
    leases: list[Lease]
    path: Path


def leases_of(found: Iterable[Found]) -> list[Lease]:
    return [lease for f in found for lease in f.leases]


def jobs(home: Home, ready: Iterable[Found]) -> Iterable[list[Found]]:
    """Small objects together, big ones alone, and what may be called dead this time; a step sees exactly one load."""
    together: list[Found] = []
    size = 0
    for found in ready:
        if home.contract.steps or found.load.size > home.settings.batch_bytes or _last_time(home, found):
            yield [found]
            continue
        if together and (
            size + found.load.size > home.settings.batch_bytes or len(together) >= home.settings.batch_files
        ):
            yield together
            together, size = [], 0
        together.append(found)
        size += found.load.size
    if together:
        yield together


def _last_time(home: Home, found: Found) -> bool:
    """Whether its events came so often that no other object should depend on how it fares."""
    return max(x.receives for x in found.leases) >= max(home.settings.max_receives, 2)


def job_of(home: Home, found: Sequence[Found]) -> Job:
    return Job(
        contract=home.contract,
        inputs=tuple(_input(home, f) for f in found),
        root=home.root,
        spool=home.quick,
        base=home.base,
        attempt=f"{found[0].load.id}-{home.token()}",
        partitions=home.partitions,
        scratch=home.spool,
        project=home.project,
        memory_limit=home.settings.engine_memory,
        threads=home.settings.threads,
        scratch_bytes=home.settings.scratch_bytes,
    )


def _input(home: Home, found: Found) -> Input:
    load = found.load
    return Input(
        load=load.id,
        key=load.key,
        version=load.version,
        path=str(found.path),
        arrived_at=text_of(load.arrived_at),
        dialect=dict(load.dialect) or None,
        corrections=home.ledger.corrections(load.key, load.version) if load.corrections else (),
    )
