"""`up`: the loop of workers and publisher, woken by a watcher of the landing folder, until told to stop.

A watcher only hints. Whatever it misses is found by the loop's reconciling scan.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from headrace.engine import log
from headrace.engine.alarms import sending
from headrace.engine.home import Home
from headrace.engine.loop import Loop, serve
from headrace.engine.reconcile import scan
from headrace.local.watch import watch
from headrace.model.errors import InfrastructureError
from headrace.model.loads import Event

if TYPE_CHECKING:
    from headrace.project.here import Here
    from headrace.project.side import Progress

AGAIN = 1.0
"""Seconds until a watch that failed is tried again: the folder may be mounted by then."""


def serve_root(here: Here, stop: threading.Event, on_progress: Progress | None) -> None:
    """Hold the root and work on all its pipelines until `stop`."""
    homes = list(here.homes.values())
    with here.holding(thorough=True):
        for home in homes:
            _prepare(here, home)
        log.event("up.started", landing=str(here.landing), pipelines=[home.name for home in homes])
        done = threading.Event()
        threads: list[threading.Thread] = []

        def start(loop: Loop) -> None:
            threads.append(threading.Thread(target=_watching, args=(here, loop, done), name="watcher", daemon=True))
            threads.append(threading.Thread(target=sending, args=(homes, loop, done), name="alarms", daemon=True))
            for thread in threads:
                thread.start()

        try:
            serve(homes, here.children, stop, on_start=start, on_progress=on_progress)
        finally:
            done.set()
            for thread in threads:
                thread.join()  # they use what is closed next


def _prepare(here: Here, home: Home) -> None:
    """Make the folder of a pipeline's prefix, so that files can be put there at once."""
    try:
        here.target.store.make_prefix(home.pipeline.source.prefix)
    except InfrastructureError as exc:  # an unmounted landing folder: the scan tells of it until it is back
        log.event("landing.failed", pipeline=home.name, error=str(exc))


def _watching(here: Here, loop: Loop, done: threading.Event) -> None:
    while not done.is_set():
        try:
            for changes in watch(here.landing, done):
                _tell(here, changes.keys, changes.rescan)
                loop.wake()
        except InfrastructureError as exc:
            log.event("watch.failed", error=str(exc))
            done.wait(AGAIN)


def _tell(here: Here, keys: tuple[str, ...], rescan: bool) -> None:
    for home in here.homes.values():
        home.queue.put([Event(home.name, key, "created") for key in keys if home.wants(key)])
        if rescan:
            scan(home)
