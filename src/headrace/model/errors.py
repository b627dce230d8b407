"""What can go wrong, said so that a person can act on it: which, found, next, under a stable code.

Everything that Headrace raises on purpose is one of these. The kind decides the exit code and whether a retry may
help; `CODES` is what `headrace explain HR203` prints. Foreign exceptions are wrapped once, where they enter.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar


class HeadraceError(Exception):
    """An error with a code, where it is, what was found there and what to do next.

    `exit_code` is the process's answer (DESIGN 10): 2 usage or definition, 3 infrastructure, 4 part of the loads.
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, code: str, which: str, found: str, next: str = "") -> None:
        self.code, self.which, self.found, self.next = code, which, found, next
        self.others: tuple[HeadraceError, ...] = ()  # found beside it, where one look finds several
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.code} {self.which}: {self.found}" if self.which else f"{self.code} {self.found}"
        return f"{text}; {self.next}" if self.next else text


class DefinitionError(HeadraceError, ValueError):
    """A pipeline, record or project file that says something impossible. Found before anything runs."""

    exit_code = 2


class Outgrown(DefinitionError):
    """What stands has a shape that the definition has left. Loading its objects again brings the rows over."""


def raise_all(errors: Iterable[DefinitionError]) -> None:
    """Raise the first, if there is one, with the `others` beside it."""
    found = tuple(errors)
    if found:
        found[0].others = found[1:]
        raise found[0]


class UsageError(HeadraceError):
    """A command was called with words that do not fit together."""

    exit_code = 2


class InfrastructureError(HeadraceError):
    """A store, ledger, sink or child process could not do its work. A fault: retried, never quarantined."""


class StoreUnavailable(InfrastructureError):
    """The landing place cannot be read at all: unmounted, forbidden, gone. Never taken for a mass deletion."""


class ObjectMoving(InfrastructureError):
    """An object changed while it was being read. The event comes back; nothing of it was used."""


class LeaseLost(InfrastructureError):
    """A lease outlived its visibility, so somebody else may hold the event now. Nothing was acknowledged."""


class RevisionRefused(InfrastructureError):
    """Another publisher recorded this number first (the compare-and-swap failed). Start again from the ledger."""


class SinkAhead(InfrastructureError):
    """A sink carries a revision that the ledger never recorded: a backup was restored on one side only."""


class BaseLost(InfrastructureError):
    """Files of the base that the ledger names are not there. Loading their objects again brings the rows back."""


class OutOfTime(HeadraceError):
    """A function's time is nearly up. What it did is marked, and what is left is done in its next life: no fault."""


class MessageRefused(HeadraceError):
    """A notifier will never take this message, whoever sends it again: it is about the message, not about the way."""


class BadObject(HeadraceError):
    """This object can never load as it is: the load becomes `dead`, with this as its cause. Never retried."""

    exit_code = 4
