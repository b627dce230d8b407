"""What a deploy would do, as a value, before anything happens: with an account a difference, without one the whole.

    declared template ──┬──────────────▶ resources, statements, cost                 (no account, no network)
    deployed template ──┴─ compare ────▶ changes, what loses data, what is granted   (reads the stack)
    the stack as it is ─── drift ──────▶ what somebody changed by hand

Called by `project/cloud.py`. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from headrace.aws.declare.cost import Cost
from headrace.aws.declare.declared import Declared
from headrace.aws.declare.kept import adopted, misfits
from headrace.aws.operate.compare import Change, changes, granted, name_of, present, settled, statements
from headrace.aws.operate.drift import Drift, drift
from headrace.aws.operate.stack import Stack

Code = Literal["unchanged", "changed", "unknown"]
"""`unknown`: the packages have not been built of the present definition on this machine; `deploy` builds them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`state` is the stack's, None where it is not deployed or where nobody was asked (`account` is None then)."""

    stack: str
    region: str
    account: str | None
    state: str | None
    resources: Sequence[Mapping[str, Any]]
    statements: Sequence[Mapping[str, Any]]
    changes: Sequence[Change]
    granted: Sequence[Mapping[str, Any]]
    withdrawn: Sequence[Mapping[str, Any]]
    code: Code
    cost: Cost | None  # None: there are no prices for the region
    drift: Sequence[Drift] = field(default_factory=list)

    @property
    def data_loss(self) -> bool:
        return any(change.data_loss for change in self.changes)

    @property
    def nothing(self) -> bool:
        """Whether a deploy would change nothing, as far as can be told without building the packages."""
        return self.state is not None and not self.changes and self.code != "changed"

    def public(self) -> dict[str, Any]:
        """The stable shape of `plan --json`."""
        return {
            "stack": self.stack,
            "region": self.region,
            "account": self.account,
            "state": self.state,
            "no_changes": self.nothing,
            "data_loss": self.data_loss,
            "changes": [change.public() for change in self.changes],
            "iam": {"granted": list(self.granted), "withdrawn": list(self.withdrawn), "all": list(self.statements)},
            "code": self.code,
            "drift": [one.public() for one in self.drift],
            "cost": self.cost.public() if self.cost is not None else None,
            "resources": list(self.resources),
        }


def plan(declared: Declared, cost: Cost | None) -> Plan:
    """What is declared, all of it to be made: nobody is asked."""
    return _plan(declared, declared.template, {}, None, "unknown", cost, [])


def plan_against(
    stack: Stack, declared: Declared, packages: Mapping[str, str | None], cost: Cost | None, *, look: bool
) -> Plan:
    """What would change of the stack. `packages`: sha256 by function, None where it is not built; `look` for drift.

    Raises InfrastructureError HR834 for another project's stack.
    """
    assert declared.account is not None
    facts = stack.owned(declared.project)
    stands = facts is not None and facts.stands
    wanted = settled(declared.template, declared.account, declared.options.region)
    wanted = adopted(stack.session, wanted, stack.resources() if stands else ())
    kept = list(misfits(stack.session, wanted))
    if facts is None or not stands:
        return _plan(declared, wanted, {}, facts.status if facts else None, "unknown", cost, [], kept)
    code = _code(declared, facts.parameters, packages)
    found = drift(stack) if look and not facts.busy else []
    return _plan(declared, wanted, stack.template(), facts.status, code, cost, found, kept)


def _plan(
    declared: Declared,
    wanted: Mapping[str, Any],
    deployed: Mapping[str, Any],
    state: str | None,
    code: Code,
    cost: Cost | None,
    found: Sequence[Drift],
    kept: Sequence[Change] = (),
) -> Plan:
    """`kept`: what stands already in a way that cannot be taken up."""
    differs = changes(deployed, wanted)
    known = {change.id for change in differs if change.data_loss}
    more, less = granted(deployed, wanted)
    return Plan(
        stack=declared.options.stack,
        region=declared.options.region,
        account=declared.account,
        state=state,
        resources=[
            {"id": id, "kind": one["Type"], "name": name_of(id, one), "why": one.get("Metadata", {}).get("Why", "")}
            for id, one in present(wanted).items()
        ],
        statements=statements(wanted),
        changes=[*(change for change in kept if change.id not in known), *differs],
        granted=more,
        withdrawn=less,
        code=code,
        cost=cost,
        drift=found,
    )


def _code(declared: Declared, parameters: Mapping[str, str], packages: Mapping[str, str | None]) -> Code:
    built = {key: packages.get(function) for key, function in declared.code_parameters.items()}
    if any(sha is None for sha in built.values()):
        return "unknown"
    same = all(parameters.get(key) == f"{sha}.zip" for key, sha in built.items())
    return "unchanged" if same else "changed"
