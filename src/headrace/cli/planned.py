"""A plan as text: what changes and what that loses, who may do what, what drifted, what it costs."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headrace.cli.output import Output
from headrace.model.words import count

if TYPE_CHECKING:
    from headrace.project.cloud import Change, Plan

SIGNS = {"added": "+", "changed": "~", "replaced": "±", "deleted": "-"}
RED, PLAIN = "\033[31m", "\033[0m"


def tell_plan(found: Plan, output: Output) -> None:
    where = f"account {found.account}, {found.region}" if found.account else found.region
    output.data(f"stack {found.stack} in {where}: {_state(found)}")
    tell_changes(found.changes, output)
    for sign, statements in (("+", found.granted), ("-", found.withdrawn)):
        for one in statements:
            output.data(f"{sign} may    {_statement(one)}")
    for drifted in found.drift:
        output.data(f"! drift  {drifted}")
    if found.cost is not None:
        _tell_cost(found.cost.public(), output)
    output.data(_summary(found))


def tell_changes(changes: Sequence[Change], output: Output) -> None:
    """A line for each change; in red, and with the reason, where it loses data."""
    red = sys.stdout.isatty()
    for one in changes:
        what = f": {', '.join(one.properties)}" if one.properties and one.action != "added" else ""
        line = f"{SIGNS[one.action]} {one.action:8} {one.kind.removeprefix('AWS::')}  {one.name}{what}"
        if one.data_loss:
            line = f"{line}  DATA LOSS: {one.why}"
            line = f"{RED}{line}{PLAIN}" if red else line
        output.data(line)


def _state(found: Plan) -> str:
    if found.account is None:
        return "not compared with any account"
    return found.state or "not deployed"


def _statement(one: Mapping[str, Any]) -> str:
    """One statement on one line, its ARNs without what they all share."""
    resources = [re.sub(r"^arn:\$\{AWS::Partition\}:", "", arn) for arn in one["resources"]]
    return f"{one['on']}: {one['effect'].lower()} {', '.join(one['actions'])} on {', '.join(resources)}"


def _tell_cost(cost: Mapping[str, Any], output: Output) -> None:
    """The sums; `--json` has each position with its basis."""
    money = f"{cost['monthly']:.2f} {cost['currency']} a month without a file"
    if cost["loading"]:
        money += f", {cost['per_million_rows']:.2f} to load a million rows"
        money += f", {cost['per_million_rows_kept_per_month']:.2f} a month to keep them"
    output.data(f"cost: {money} (list prices of {', '.join(cost['prices_as_of'])})")


def _summary(found: Plan) -> str:
    if found.nothing and found.code == "unchanged":
        return "no changes"
    if found.nothing:
        return "no changes of resources; whether the functions' code changes is seen when `deploy` builds it"
    actions = Counter(one.action for one in found.changes)
    told = ", ".join(f"{n} {action}" for action, n in actions.items())
    code = "; the functions' code changes" if found.code == "changed" else ""
    lost = sum(one.data_loss for one in found.changes)
    loss = f"; {count(lost, 'change')} would lose data" if lost else ""
    return f"{told or 'no resource changes'}{code}{loss}"
