"""A bar on a terminal: loads and rows per second while a command works. Nothing at all where nobody looks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from headrace.cli.output import Output

if TYPE_CHECKING:
    from headrace.engine.home import Home


@contextmanager
def progress(output: Output) -> Iterator[Callable[[Home, int], None] | None]:
    """What to pass as `on_progress`: None unless words go to a terminal."""
    if not output.on_terminal:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("loading", total=None, rate="")
        yield Watch(bar, int(task))


class Watch:
    """Called from worker threads with a pipeline and how many loads were staged; reads the rest from the ledger."""

    def __init__(self, bar: object, task: int) -> None:
        self._bar, self._task = bar, task
        self._started = time.monotonic()
        self._before: dict[str, int] = {}
        self._staged = 0

    def __call__(self, home: Home, staged: int) -> None:
        from rich.progress import Progress, TaskID

        from headrace.project.tables import ledger_of

        assert isinstance(self._bar, Progress)
        ledger = ledger_of(home)
        rows = ledger.totals().read
        before = self._before.setdefault(home.name, rows)
        self._staged += staged
        waiting = sum(home.queue.depth(home.name))
        per_second = (rows - before) / max(time.monotonic() - self._started, 0.001)
        rate = f"{per_second:,.0f} rows/s" if rows > before else ""
        self._bar.update(TaskID(self._task), total=self._staged + waiting, completed=self._staged, rate=rate)
