"""What a stack would become in one account: its template in that account's words, and each change with what stands.

`plan` and `deploy` both begin here, so that they speak of the same. It reads and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from headrace.aws.declare.kept import DATABASE, adopted, misfits, taken_up
from headrace.aws.operate import indexes
from headrace.aws.operate.compare import Change, changes, name_of, settled
from headrace.aws.operate.owned import Scope
from headrace.aws.operate.stack import Facts, Stack
from headrace.model.errors import UsageError


@dataclass(frozen=True, slots=True)
class Judged:
    """`declared` is all that is asked for, `wanted` what of it is the stack's to hold, `before` what it holds now.

    `before` is empty where no stack stands. `changes`: what loses data comes first. `kept`: by id, the names of what is
    taken up.
    """

    declared: Mapping[str, Any]
    before: Mapping[str, Any]
    wanted: Mapping[str, Any]
    changes: list[Change]
    kept: Mapping[str, str] = field(default_factory=dict)


def judge(stack: Stack, scope: Scope, template: Mapping[str, Any], facts: Facts | None) -> Judged:
    """Hold a declared template against the stack and against what an earlier one left in the account.

    Raises InfrastructureError HR848 for data under a name of ours that is not ours, HR832 for a bucket that is closed.
    """
    stands = facts is not None and facts.stands
    before, held = stack.template() if stands else {}, stack.resources() if facts is not None else {}
    declared = settled(template, scope.account, stack.session.region)
    kept = taken_up(stack, scope, declared, held.values())
    wanted = adopted(stack.session, declared, held)
    found = changes(before, wanted)
    known = {change.id for change in found if change.data_loss}
    odd = list(misfits(stack.session, wanted))
    kept = {id: name for id, name in kept.items() if id not in {change.id for change in odd}}
    marked = [replace(change, kept=True) if change.id in kept else change for change in found]
    anew = [change for change in odd if change.id not in known]
    return Judged(declared, before, wanted, [*anew, *marked, *([] if stands else _adopted(declared, wanted))], kept)


def refuse(which: str, found: Sequence[Change], lose: bool) -> None:
    """Raises UsageError for what must not happen unasked, and for what CloudFormation would give up in the midst of.

    HR836: a change would lose data or leave it behind, and nobody said that this is meant (`lose`). HR846: more than
    one index of a table would be made or deleted.
    """
    indexes.refuse_several(which, found)
    lost = [change for change in found if change.data_loss]
    if lost and not lose:
        told = "; ".join(f"{change.name} ({change.why})" for change in lost)
        next = "see `headrace plan`; if that is meant: `headrace deploy --accept-data-loss`"
        raise UsageError("HR836", which, f"data would be lost or left behind: {told}", next)


def _adopted(declared: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[Change]:
    """Databases that are there: CloudFormation cannot take them up, so the stack uses them by name."""
    for id, one in declared["Resources"].items():
        if one["Type"] == DATABASE and id not in wanted["Resources"]:
            yield Change("added", id, DATABASE, name_of(id, one), kept=True)
