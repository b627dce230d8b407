"""Unmakes a stack, and proves that nothing is left: the stack, what it keeps, what its functions made, its artifacts.

Data stays unless it is asked for: the landing and lake buckets, the ledger, keyed tables and the catalog of the lake.
A later deploy takes them up again. Each step looks at what is there, so a destroy that was killed is finished by the
next. Called by `project/cloud.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headrace.aws.operate.deploy import remove
from headrace.aws.operate.inventory import Item, Scope, inventory, scope_of
from headrace.aws.operate.stack import Stack, Tell
from headrace.aws.operate.sweep import AGAIN, DELETES, delete
from headrace.aws.session import Session
from headrace.engine.faults import point
from headrace.model.errors import InfrastructureError
from headrace.model.words import count

LOOKS = 60
"""Times that the proof is tried, 2 s apart: a deleted queue is listed for a minute more, and a mapping goes slowly."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a destroy would do: what goes, and the data that stays."""

    going: Sequence[Item]
    staying: Sequence[Item]

    def public(self) -> dict[str, Any]:
        return {"going": [x.public() for x in self.going], "staying": [x.public() for x in self.staying]}


class Unmaking:
    """One stack to be destroyed. `exact` are names of its things that do not begin with its own."""

    def __init__(self, stack: Stack, project: str, account: str, exact: frozenset[str], delete_data: bool) -> None:
        self.stack, self._project, self._account, self._exact = stack, project, account, exact
        self.delete_data = delete_data

    @property
    def session(self) -> Session:
        return self.stack.session

    @property
    def scope(self) -> Scope:
        return scope_of(self.session, self.stack.name, self._account, self._exact)

    def survey(self) -> Survey:
        """What is there now, sorted into what goes and what stays. Raises HR834 for another project's stack."""
        self.stack.owned(self._project)
        found = inventory(self.session, self.scope)
        going = [item for item in found if self.delete_data or not item.holds]
        return Survey(going, [item for item in found if item not in going])

    def destroy(self, tell: Tell) -> Survey:
        """Delete what `survey` lists; what was gone in the end, and what stays.

        Raises InfrastructureError HR833 (the stack cannot be deleted, and why) and HR840 (something is left).
        """
        before = self.survey()
        self._stack(tell)
        point("destroy.stack")
        self._sweep(tell)
        point("destroy.all-swept")
        self._prove(tell)
        return before

    def _sweep(self, tell: Tell) -> None:
        """Delete what goes and did not go with its stack."""
        scope = self.scope
        for kind in DELETES:
            for item in inventory(self.session, scope):
                if item.kind == kind and (self.delete_data or not item.holds):
                    delete(self.session, item, scope, tell)

    def _stack(self, tell: Tell) -> None:
        facts = self.stack.owned(self._project)
        if facts is not None and facts.busy:
            tell(f"{self.stack.which} is in {facts.status}: waiting")
            facts, _ = self.stack.rest(tell, self.stack.last_event(facts.id), facts.id)
        if facts is not None:
            remove(self.stack, facts, tell)

    def _prove(self, tell: Tell) -> None:
        """Raises InfrastructureError HR840 unless two looks in a row find nothing but data that was to stay.

        What comes back in between, such as the log group of a function that was still at work, is swept again.
        """
        clean, left = 0, list[Item]()
        for _ in range(LOOKS):
            left = [x for x in inventory(self.session, self.scope) if self.delete_data or not x.holds]
            clean = 0 if left else clean + 1
            if clean == 2:
                return
            if left:
                self._sweep(tell)
            self.stack.pause()
        told = ", ".join(f"{x.kind} {x.name}" for x in left[:5]) + (", …" if len(left) > 5 else "")
        found = f"{count(len(left), 'thing')} still there: {told}"
        raise InfrastructureError("HR840", self.stack.which, found, f"{AGAIN}, or delete it by hand")
