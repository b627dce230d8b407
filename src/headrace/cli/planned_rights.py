"""Rights that a plan grants or withdraws, in lines: under each role what it may do to which resource, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from headrace.cli.page import Page
from headrace.cli.planned_changes import named

if TYPE_CHECKING:
    from headrace.project.cloud import Plan, Right


def lines(found: Plan, page: Page) -> Iterator[str]:
    """Role by role, in the order of the definition; nothing where no right changes."""
    if not found.rights:
        return
    about = {one["id"]: one for one in found.resources}
    roles: dict[str, list[Right]] = {id: [] for id in about}
    for right in found.rights:
        roles.setdefault(right.role, []).append(right)
    yield page.strong("rights")
    for role, rights in roles.items():
        if rights:
            why = about[role]["why"] if role in about else "This role goes."
            yield from page.beside(f"  {role}", why, max(22, len(role) + 4), 4)
            for right in rights:
                yield from _right(right, page)


def _right(right: Right, page: Page) -> Iterator[str]:
    *more, on = page.wrapped("    ", ", ".join(map(readable, right.resources)), 6)
    yield from more
    yield from page.beside(on, right.why, len(on) + 2, 6)
    deny = "" if right.effect == "Allow" else f"{right.effect.lower()} "
    for sign, actions in (("+", right.granted), ("-", right.withdrawn)):
        if actions:
            yield from page.wrapped(f"      {sign} ", f"{deny}{_actions(actions)}", 10)


def _actions(actions: Sequence[str]) -> str:
    """`s3: GetObject, PutObject`: the service once."""
    services: dict[str, list[str]] = {}
    for action in actions:
        service, _, name = action.rpartition(":")
        services.setdefault(service, []).append(name)
    return "; ".join(
        f"{service}: {', '.join(names)}" if service else ", ".join(names) for service, names in sorted(services.items())
    )


def readable(arn: str) -> str:
    """An ARN without what all of a stack share: `table/lv-ledger`, `lv-landing-<account>-eu-west-2/raw/*`."""
    plain = named(arn)
    return plain.split(":", 5)[5] if plain.startswith("arn:") and plain.count(":") >= 5 else plain
