"""A bar on a terminal: loads, rows per second and time left while a command works. Nothing where nobody looks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from headrace.cli.output import Output

if TYPE_CHECKING:
    from headrace.engine.home import Home
    from headrace.project import Project


@contextmanager
def progress(output: Output, project: Project, names: Sequence[str]) -> Iterator[Callable[[Home, int], None] | None]:
    """What to pass as `on_progress` while these pipelines work: None unless words go to a terminal."""
    with _bar(output, "loading") as update:
        if update is None:
            yield None
            return

        def show(done: int, total: int, rate: float) -> None:
            update(completed=done, total=total, rate=f"{rate:,.0f} rows/s")

        yield Watch([project.home(n) for n in names], show)


@contextmanager
def filling(output: Output, home: Home) -> Iterator[Callable[[Home, int], None] | None]:
    """The same while a sink of this pipeline is filled with all that stands."""
    with _bar(output, "filling") as update:
        if update is None:
            yield None
            return
        rows = sum(file.rows for file in home.ledger.files("data"))
        yield lambda home, more: update(advance=more, total=rows)


@contextmanager
def _bar(output: Output, doing: str) -> Iterator[Callable[..., None] | None]:
    """How to change the bar, which moves to and fro until it is told a total."""
    if not output.on_terminal:
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn(doing),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield partial(bar.update, bar.add_task("", total=None, rate=""))


class Watch:
    """Called by worker threads when loads were staged; asks the ledgers how far it is and tells `show`.

    `show` gets loads done, loads in all as far as is known, and rows per second since the beginning.
    """

    def __init__(self, homes: Sequence[Home], show: Callable[[int, int, float], Any]) -> None:
        self._homes, self._show = homes, show
        self._guard = threading.Lock()
        self._started = time.monotonic()
        self._before = sum(_rows(home) for home in homes)
        self._done = 0

    def __call__(self, home: Home, staged: int) -> None:
        with self._guard:
            self._done += staged
            waiting = sum(sum(h.queue.depth(h.name)) for h in self._homes)
            rows = max(sum(_rows(h) for h in self._homes) - self._before, 0)
            seconds = max(time.monotonic() - self._started, 0.001)
            self._show(self._done, self._done + waiting, rows / seconds)


def _rows(home: Home) -> int:
    """Rows read by the loads that stand, or are staged and will in a moment."""
    ledger = home.ledger
    return ledger.totals().read + sum(load.counts.read for load in ledger.in_state("staged"))
