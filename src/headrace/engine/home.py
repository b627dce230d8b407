"""A pipeline at home: its definition beside everything a target opened for it. What every engine function is given."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition

from headrace.contract.query import columns_of
from headrace.engine.settings import Settings
from headrace.model.canary import is_canary
from headrace.model.contract import Contract
from headrace.model.loads import Shape
from headrace.model.pipeline import Lake, Pipeline
from headrace.ports import Base, Clock, Ledger, Notifier, Queue, Store, Writer


def new_token() -> str:
    """A name that no attempt ever had."""
    return secrets.token_hex(6)


class Bell:
    """Tells the publisher that there is something to decide. Ringing twice before it looks is ringing once."""

    def __init__(self) -> None:
        self._rung = False
        self._heard = Condition()

    def share(self, heard: Condition) -> None:
        """Let one thread hear several bells."""
        self._heard = heard

    def ring(self) -> None:
        with self._heard:
            self._rung = True
            self._heard.notify_all()

    def take(self) -> bool:
        """Whether it rang since it was last taken."""
        with self._heard:
            rung, self._rung = self._rung, False
            return rung

    @property
    def rung(self) -> bool:
        return self._rung


@dataclass(frozen=True, slots=True)
class Home:
    """Constructing one opens nothing; the target did. `base` is the folder of the base files, below `root`; `files`
    keeps them.

    `quick` is where copies of small objects wait for the child: in memory where the system has such a folder, since
    making ten thousand files on a disk costs more than reading them.
    """

    pipeline: Pipeline
    contract: Contract
    partitions: tuple[tuple[str, str], ...]
    store: Store
    queue: Queue
    ledger: Ledger
    files: Base
    writers: Mapping[str, Writer]
    notifier: Notifier
    root: Path
    quick: Path
    base: str
    project: str
    settings: Settings
    clock: Clock
    lock: Callable[[], AbstractContextManager[object]]
    bell: Bell = field(default_factory=Bell)
    token: Callable[[], str] = new_token

    @property
    def name(self) -> str:
        return self.pipeline.name

    @property
    def spool(self) -> Path:
        return self.root / "spool"

    @property
    def shape(self) -> Shape:
        """What the present definition makes of the tables."""
        contract = self.contract
        contested = contract.on_conflict if contract.key else contract.dedupe
        return Shape(columns_of(contract), contract.key, contested, self.partitions)

    def wants(self, key: str) -> bool:
        """Whether an object belongs to this pipeline's source. A canary belongs to none."""
        source = self.pipeline.source
        name = key.rsplit("/", 1)[-1]
        return key.startswith(source.prefix) and matches(name, source.suffix) and not is_canary(key)


def base_of(pipeline: Pipeline) -> str:
    """The folder of a pipeline's base files, below the root of any home: its first lake's, or one of its own."""
    lake = next((s for s in pipeline.sinks if isinstance(s, Lake)), None)
    return f"lake/{lake.table}" if lake else f"staged/{pipeline.name}"


PACKED = (".gz", ".zst", ".zip")


def matches(name: str, suffixes: tuple[str, ...]) -> bool:
    """`.csv` also takes `.csv.gz`, `.csv.zst` and zip archives that may hold such members."""
    lowered = name.lower()
    if not any(suffixes):
        return True
    plain = [s.lower() for s in suffixes]
    return any(lowered.endswith((s, f"{s}.gz", f"{s}.zst")) for s in plain) or lowered.endswith(".zip")
