"""Messages to people: sent by the publisher once it has decided, so that no row waits for a notice.

What cannot be sent now waits for the next decision, or for the next scan, which asks for it. What the notifier will
never take is told in the log and goes: it would come for ever, and keep back all that was said after it.
"""

from __future__ import annotations

import logging
from typing import Any

from headrace.engine import log
from headrace.engine.home import Home
from headrace.engine.time_left import SecondsLeft, forever
from headrace.model.errors import InfrastructureError, MessageRefused

MOST = 100
"""Messages that follow one decision, since what is staged meanwhile waits for them; the bell rings for the others."""


def deliver(home: Home, seconds_left: SecondsLeft = forever) -> None:
    """Send messages that may go out, the oldest first, while there is time. A failing notifier never fails data."""
    messages = home.ledger.messages(limit=MOST)
    done: list[int] = []
    try:
        for message in messages:
            if seconds_left() <= 0:
                break
            _send(home, message)
            done.append(message["id"])
    except InfrastructureError as exc:  # it is not about this one alone: those behind it would fail as well
        log.event("notify.failed", pipeline=home.name, error=str(exc))
    finally:  # whatever ended this, what went out is not sent again
        if done:
            home.ledger.sent(done)
    if len(done) == MOST:
        home.bell.ring()


def remind(home: Home) -> None:
    """Ask the publisher for what it could not send, so that nobody who waits for it waits for the next file."""
    if home.ledger.messages(limit=1):
        home.bell.ring()


def _send(home: Home, message: dict[str, Any]) -> None:
    try:
        home.notifier.send(message["subject"], message["body"], {"pipeline": home.name, "name": message["name"]})
    except MessageRefused as exc:
        words = {name: message[name] for name in ("name", "subject", "body")}
        log.event("notify.refused", logging.ERROR, pipeline=home.name, error=str(exc), **words)
