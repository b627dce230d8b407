"""`up`: the loop of workers and publisher, woken by a watcher of the landing folder, until told to stop.

A watcher only hints. Whatever it misses is found by the loop's reconciling scan.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from headrace.engine import log
from headrace.engine.home import Home
from headrace.engine.loop import Loop, serve
from headrace.engine.reconcile import scan
from headrace.local.watch import watch
from headrace.model.errors import InfrastructureError
from headrace.model.loads import Event
from headrace.project.alarms import sending
from headrace.project.running import holding

if TYPE_CHECKING:
    from headrace.project.opened import Progress, Project

AGAIN = 1.0
"""Seconds until a watch that failed is tried again: the folder may be mounted by then."""


def serve_root(project: Project, stop: threading.Event, on_progress: Progress | None) -> None:
    """Hold the root and work on all its pipelines until `stop`."""
    homes = list(project.homes.values())
    with holding(project, thorough=True):
        for home in homes:
            _prepare(project, home)
        log.event("up.started", landing=str(project.landing), pipelines=[home.name for home in homes])
        done = threading.Event()
        threads: list[threading.Thread] = []

        def start(loop: Loop) -> None:
            threads.append(threading.Thread(target=_watching, args=(project, loop, done), name="watcher", daemon=True))
            threads.append(threading.Thread(target=sending, args=(homes, loop, done), name="alarms", daemon=True))
            for thread in threads:
                thread.start()

        try:
            serve(homes, project.children, stop, on_start=start, on_progress=on_progress)
        finally:
            done.set()
            for thread in threads:
                thread.join()  # they use what is closed next


def _prepare(project: Project, home: Home) -> None:
    """Make the folder of a pipeline's prefix, so that files can be put there at once."""
    try:
        project.target.store.make_prefix(home.pipeline.source.prefix)
    except InfrastructureError as exc:  # an unmounted landing folder: the scan tells of it until it is back
        log.event("landing.failed", pipeline=home.name, error=str(exc))


def _watching(project: Project, loop: Loop, done: threading.Event) -> None:
    while not done.is_set():
        try:
            for changes in watch(project.landing, done):
                _tell(project, changes.keys, changes.rescan)
                loop.wake()
        except InfrastructureError as exc:
            log.event("watch.failed", error=str(exc))
            done.wait(AGAIN)


def _tell(project: Project, keys: tuple[str, ...], rescan: bool) -> None:
    for home in project.homes.values():
        home.queue.put([Event(home.name, key, "created") for key in keys if home.wants(key)])
        if rescan:
            scan(home)
