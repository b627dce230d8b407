"""What `doctor` tries of a target on AWS: who we are there, whether it answers, how the stack is, what packages need.

Each thing is tried by itself, and what cannot be tried without an earlier one says so. It only asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from headrace.model.errors import HeadraceError, UsageError
from headrace.project.health import Finding
from headrace.project.there import There

if TYPE_CHECKING:
    from headrace.aws.session import Session

NOT_TRIED = "not tried: it needs what failed above"


def examine_target(there: There) -> Iterator[Finding]:
    """Credentials, account, region, stack, and the Python that compiles for functions. No network is waited for."""
    try:
        _ = there.session
    except UsageError as exc:  # the AWS library is not installed
        yield Finding("aws library", False, exc.found, exc.next)
        return
    from headrace.aws.bundle.bytecode import find
    from headrace.aws.session import Session

    session = Session(there.options.region, there.options.profile, attempts=1)
    yield from _asked(there, session)
    python = find()
    found = str(python) if python else "none is found"
    advice = "set HEADRACE_PYTHON312 to one; without, packages work and start more slowly"
    yield Finding("python 3.12 for packages", python is not None, found, advice, needed=False)


def _asked(there: There, session: Session) -> Iterator[Finding]:
    tries: tuple[tuple[str, Callable[[], Finding]], ...] = (
        ("credentials", lambda: Finding("credentials", True, _credentials(session))),
        ("account", lambda: Finding("account", True, session.account())),
        ("region and stack", lambda: _stack(there, session)),
    )
    failed = False
    for name, look in tries:
        if failed:
            yield Finding(name, False, NOT_TRIED, "mend that first", needed=False)
            continue
        try:
            yield look()
        except HeadraceError as exc:
            failed = True
            yield Finding(name, False, f"{exc.code} {exc.found}", exc.next)


def _credentials(session: Session) -> str:
    """Where they are from; nothing of themselves."""
    held = session.credentials()
    profile = f", profile {session.profile!r}" if session.profile else ""
    return f"from {held.method}{profile}"


def _stack(there: There, session: Session) -> Finding:
    from headrace.aws.operate.health import stack_faults
    from headrace.aws.operate.stack import Stack

    name, region = there.options.stack, there.options.region
    facts = Stack(session, name).facts()
    if facts is None:
        found = f"{region} answers; stack {name!r} is not deployed there"
        return Finding("region and stack", False, found, "headrace deploy", needed=False)
    fault = next(iter(stack_faults(name, facts.status)), "")
    what, _, advice = fault.rpartition(": ")
    return Finding(
        "region and stack", not fault, f"{region} answers; {what or f'stack {name!r} is {facts.status}'}", advice
    )
