"""A plan as text: what changes and what that loses, who may do what, what drifted, what it costs and why so much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headrace.cli import planned_changes, planned_rights
from headrace.cli.page import Page
from headrace.model.words import count

if TYPE_CHECKING:
    from headrace.project.cloud import Plan

TOLD = (("standing", "a month before the first file"), ("loading", "to load a million rows"),
        ("keeping", "a month to keep a million rows"))  # fmt: skip
"""Positions of a cost, and what they are for."""

SMALL = 0.005
"""US dollars that are not worth a line."""


def lines(found: Plan, page: Page, *, positions: bool = True) -> Iterator[str]:
    """The whole plan. Without `positions` cost is told in one line."""
    where = f"account {found.account}, {found.region}" if found.account else found.region
    yield from map(page.strong, page.wrapped("", f"stack {found.stack} in {where}: {_state(found)}"))
    for some in (planned_changes.lines(found, page), planned_rights.lines(found, page), _drift(found, page)):
        told = list(some)
        yield from ["", *told] if told else []
    if found.cost is not None:
        yield ""
        yield from _cost(found.cost.public(), page, positions)
    yield ""
    yield from _summary(found, page)


def _state(found: Plan) -> str:
    if found.account is None:
        return "not compared with any account, so all that is declared would be made"
    return found.state or "not deployed"


def _drift(found: Plan, page: Page) -> Iterator[str]:
    if found.drift:
        yield page.strong("changed by hand")
    for drifted in found.drift:
        yield from page.wrapped("  ! ", str(drifted))


def _cost(cost: Mapping[str, Any], page: Page, positions: bool) -> Iterator[str]:
    sums = [f"{cost['monthly']:.2f} {cost['currency']} {TOLD[0][1]}"]
    if cost["loading"]:
        sums += [f"{cost['per_million_rows']:.2f} {TOLD[1][1]}"]
        sums += [f"{cost['per_million_rows_kept_per_month']:.2f} {TOLD[2][1]}"]
    if not positions:
        yield from page.wrapped("", f"cost: {', '.join(sums)}; `headrace plan` has the positions and assumptions")
        return
    yield page.strong("cost")
    wide = max((len(line["what"]) for name, _ in TOLD for line in cost[name]), default=0)
    for (name, _), said in zip(TOLD, sums, strict=False):
        yield f"  {said}"
        yield from _positions(cost[name], page, wide)
    yield "  assumed"
    for assumption in cost["assumptions"]:
        yield from page.wrapped("    - ", assumption)


def _positions(lines: Sequence[Mapping[str, Any]], page: Page, wide: int) -> Iterator[str]:
    """The dearest first; what is next to nothing together."""
    dear = sorted((line for line in lines if line["amount"] >= SMALL), key=lambda line: -line["amount"])
    small = [line["what"] for line in lines if line not in dear]
    for line in dear:
        left = f"    {line['amount']:6.2f}  {line['what']}"
        yield from page.beside(left, line["basis"], 14 + wide, 12)
    if small:
        yield from page.wrapped("      0.00  ", ", ".join(small))


def _summary(found: Plan, page: Page) -> Iterator[str]:
    lost = [change.name for change in found.changes if change.data_loss]
    if lost:
        said = f"{count(len(lost), 'change')} would lose data or leave it behind: {', '.join(lost)}"
        yield from map(page.red, page.wrapped("", f"{said}; `headrace deploy` wants --accept-data-loss for that"))
    yield _sum(found)


def _sum(found: Plan) -> str:
    if found.nothing and found.code == "unchanged":
        return "no changes"
    if found.nothing:
        return "no changes of resources; whether the functions' code changes is seen when `deploy` builds it"
    actions = Counter("taken up" if one.kept and one.action == "added" else one.action for one in found.changes)
    told = ", ".join(f"{n} {action}" for action, n in actions.items())
    code = "; the functions' code changes" if found.code == "changed" else ""
    return f"{told or 'no resource changes'}{code}"
