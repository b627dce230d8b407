"""Where a project's work is done: on this machine (`here`) or by a stack (`there`). What `Project` asks of either.

The verbs themselves, asking through queue and ledger, are the same for both; only this differs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from headrace.engine.home import Home
from headrace.model.pipeline import Pipeline
from headrace.ports import Lookup
from headrace.project.results import Table, Undelivered

Progress = Callable[[Home, int], None]
"""Called with a pipeline's home and how many of its loads were just staged."""


class Side(Protocol):
    """One kind of target, opened for one project. Nothing is opened before it is needed."""

    @property
    def homes(self) -> Mapping[str, Home]:
        """Every pipeline with its opened ledger, store and sinks."""
        ...

    def begun(self) -> bool:
        """Whether there is any state yet. Makes none."""
        ...

    def put(self, home: Home, files: Mapping[str, Path]) -> None:
        """Put local files under their keys, and let it be known. `work` waits for them."""
        ...

    def work(self, homes: Sequence[Home], on_progress: Progress | None, *, thorough: bool = False) -> None:
        """Return when these are idle: nothing waits, everything is decided, every sink has it.

        `thorough`: begin by looking for what attempts that died left lying. Raises what keeps it from becoming idle.
        """
        ...

    def serve(self, stop: threading.Event, on_progress: Progress | None) -> None:
        """Work on whatever comes until `stop` is set."""
        ...

    def undelivered(self, pipeline: str) -> Undelivered | None:
        """What the queue gave up and holds apart; None if there is nothing, or no such place."""
        ...

    def put_back(self, pipeline: str) -> int:
        """Let what the queue gave up be delivered again; returns how many messages. A message may be doubled so."""
        ...

    def rebuild(self, home: Home, sink: str, on_progress: Progress | None = None) -> None:
        """Fill a sink again from the base. `on_progress` hears of rows where that takes long."""
        ...

    def compact(self, home: Home) -> int:
        """Join small files of the base; returns how many went."""
        ...

    def lookup(self, pipeline: Pipeline, table: str) -> Lookup:
        """A keyed table's items."""
        ...

    def sql(self, query: str) -> Table:
        """The answer to one read-only statement over the standing rows."""
        ...

    def condition(self) -> Mapping[str, Any]:
        """What `status` tells of the place itself: `running`, `disk`, `faults`."""
        ...

    def close(self) -> None:
        """Close what was opened."""
        ...
