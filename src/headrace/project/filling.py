"""Waiting until a stack has filled a keyed table again, which may take more lives of its publish function than one.

Called by `there`, which knows whom to ask. The function goes on by itself; how far it is stands in the table.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from headrace.model.errors import InfrastructureError

if TYPE_CHECKING:
    from headrace.aws.keyed_control import Control

Said = Mapping[str, Any]
"""What the function answers: `done`; or `busy`, in whose words another publisher is at work."""


def ask_patiently(ask: Callable[[], Said], which: str, *, patience: float, poll: float) -> bool:
    """Ask until no other publisher is in the way; True if all was done at once.

    Raises InfrastructureError HR521 when one was after `patience` seconds.
    """
    began = time.monotonic()
    while busy := (said := ask()).get("busy"):
        if time.monotonic() - began > patience:
            raise InfrastructureError("HR521", which, str(busy), "once it has less to do, give the command again")
        time.sleep(poll)
    return bool(said.get("done", True))


def filled(
    look: Callable[[], Control], tell: Callable[[int], None], which: str, *, patience: float, poll: float
) -> None:
    """Return once the table has a number again; `tell` hears how many rows it has taken since it was told last.

    Raises InfrastructureError HR126 when nothing changes for `patience` seconds.
    """
    told, before, since = 0, None, time.monotonic()
    while (control := look()).number == 0:
        work = control.work
        if work is not None and work.done > told:
            tell(work.done - told)
            told = work.done
        if (work, control.writer) != before:
            before, since = (work, control.writer), time.monotonic()
        elif time.monotonic() - since > patience:
            found = f"nothing of it was filled for {patience:.0f} s"
            raise InfrastructureError("HR126", which, found, "`headrace logs` says why; it is tried again each minute")
        time.sleep(poll)
    tell(control.rows - told)
