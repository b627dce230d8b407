"""Doing again what was done: replay of loads, redrive of dead objects, confirmed retractions, refilled sinks.

Each only asks: it puts events or marks hints, and the ordinary way of a datum does the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headrace.engine import log
from headrace.engine.base import base_lost, lost
from headrace.engine.home import Home
from headrace.engine.recover import fill, recover
from headrace.engine.retain import refuse_strangers
from headrace.engine.shapes import blocked
from headrace.engine.sql import mechanics
from headrace.model.errors import UsageError
from headrace.model.loads import Event, Load


def replay(home: Home, loads: Iterable[Load]) -> int:
    """Ask for a new load of each load's object under the present contract; each replaces the old one whole.

    An object that is gone cannot be read again: its old load stays as it is. Returns how many were asked for.
    """
    return _ask(home, (x.key for x in loads), "replay")


def redrive(home: Home, keys: Iterable[str]) -> int:
    """Try objects again that were dead."""
    return _ask(home, keys, "redrive")


def confirm_retraction(home: Home) -> int:
    """Let the retractions that wait happen; returns how many."""
    confirmed = home.ledger.confirm()
    log.event("retract.confirmed", pipeline=home.name, objects=confirmed)
    home.bell.ring()
    return confirmed


def let_go(home: Home, keys: Iterable[str]) -> None:
    """Let the rows of objects that are gone leave; one that is back by then stays."""
    asked = list(keys)
    home.ledger.let_go(asked)
    home.bell.ring()
    _ask(home, asked, "retract")  # so that whoever holds the root looks


def rebuild(home: Home, sink: str) -> None:
    """Fill one sink afresh from the base, at the newest revision. Raises Outgrown HR240 where a replay has to."""
    if sink not in home.writers:
        raise UsageError(
            "HR131", f"pipeline {home.name!r}", f"it has no sink {sink!r}", f"its sinks are {', '.join(home.writers)}"
        )
    refuse_strangers(home)
    with home.lock(), mechanics(sink):
        head = home.ledger.head()
        if error := blocked(home):
            raise error
        if missing := lost(home.files, home.ledger.files("data")):
            raise base_lost(home.name, missing)  # the lake adopts files unread and would not notice
        fill(home, home.writers[sink], head)
        home.ledger.mark(sink, head)
        recover(home)


def _ask(home: Home, keys: Iterable[str], hint: str) -> int:
    asked: Sequence[str] = sorted(set(keys))
    log.event(f"{hint}.asked", pipeline=home.name, objects=len(asked))
    home.queue.put([Event(home.name, key, hint) for key in asked])
    return len(asked)
