"""Unmakes a stack, and proves that nothing is left: the stack, what it keeps, what its functions made, its artifacts.

Data stays unless it is asked for: the landing and lake buckets, the ledger, keyed tables and the catalog of the lake.
A later deploy takes them up again. Each step looks at what is there, so a destroy that was killed is finished by the
next: what the stack said of itself until then, tags say from then on. Called by `project/cloud.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.aws.operate.deploy import remove
from headrace.aws.operate.inventory import Found, Item, inventory_of
from headrace.aws.operate.owned import Scope, mark
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
    """What a destroy would do: what goes, and the data that stays.

    `alike` is left alone: it has a name like one of the stack's, and nothing more that would make it its own. Of
    `unseen` the rights to look are missing.
    """

    going: Sequence[Item]
    staying: Sequence[Item]
    alike: Sequence[Item] = ()
    unseen: Sequence[str] = ()

    def public(self) -> dict[str, Any]:
        return {
            "going": [x.public() for x in self.going],
            "staying": [x.public() for x in self.staying],
            "alike": [x.public() for x in self.alike],
            "unseen": list(self.unseen),
        }

    def remarks(self) -> Iterator[str]:
        """What people should hear before anything happens."""
        for item in self.alike:
            yield f"looks alike, left alone: {item.kind} {item.name}"
        for what in self.unseen:
            yield f"not looked at: {what}"


class Unmaking:
    """One stack to be destroyed. `scope`: what its definition says of it."""

    def __init__(self, stack: Stack, project: str, scope: Scope, delete_data: bool) -> None:
        self.stack, self._project, self._scope = stack, project, scope
        self.delete_data = delete_data

    @property
    def session(self) -> Session:
        return self.stack.session

    def survey(self) -> Survey:
        """What is there now, sorted into what goes and what stays. Raises HR834 for another project's stack."""
        return self._sorted(inventory_of(self.session, self._known()))

    def destroy(self, tell: Tell) -> Survey:
        """Delete what `survey` lists; what was gone in the end, and what stays.

        Raises InfrastructureError HR833 (the stack cannot be deleted, and why) and HR840 (something is left).
        """
        scope = self._known()
        found = inventory_of(self.session, scope)
        before = self._sorted(found)
        for remark in before.remarks():
            tell(remark)
        mark(self.session, scope, ((item.kind, item.name) for item in found.ours if item.holds), AGAIN)
        self._stack(tell)
        point("destroy.stack")
        self._sweep(scope, tell)
        point("destroy.all-swept")
        self._prove(scope, tell)
        return before

    def _known(self) -> Scope:
        """With what the stack says itself, as long as it is there."""
        facts = self.stack.owned(self._project)
        return self._scope.holding(self.stack.listed() if facts is not None else ())

    def _sorted(self, found: Found) -> Survey:
        going = [item for item in found.ours if self.delete_data or not item.holds]
        return Survey(going, [item for item in found.ours if item not in going], found.alike, found.unseen)

    def _sweep(self, scope: Scope, tell: Tell) -> None:
        """Delete what goes and did not go with its stack."""
        for kind in DELETES:
            for item in self._sorted(inventory_of(self.session, scope)).going:
                if item.kind == kind:
                    delete(self.session, item, tell)

    def _stack(self, tell: Tell) -> None:
        facts = self.stack.owned(self._project)
        if facts is not None and facts.busy:
            tell(f"{self.stack.which} is in {facts.status}: waiting")
            facts, _ = self.stack.rest(tell, self.stack.last_event(facts.id), facts.id)
        if facts is not None:
            remove(self.stack, facts, tell, AGAIN)

    def _prove(self, scope: Scope, tell: Tell) -> None:
        """Raises InfrastructureError HR840 unless two looks in a row find nothing but data that was to stay.

        What comes back in between, such as the log group of a function that was still at work, is swept again.
        """
        clean = 0
        left: Sequence[Item] = ()
        for _ in range(LOOKS):
            left = self._sorted(inventory_of(self.session, scope)).going
            clean = 0 if left else clean + 1
            if clean == 2:
                return
            if left:
                self._sweep(scope, tell)
            self.stack.pause()
        told = ", ".join(f"{x.kind} {x.name}" for x in left[:5]) + (", …" if len(left) > 5 else "")
        found = f"{count(len(left), 'thing')} still there: {told}"
        raise InfrastructureError("HR840", self.stack.which, found, f"{AGAIN}, or delete it by hand")
