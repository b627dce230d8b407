"""What a deploy would do, as a value, before anything happens: with an account a difference, without one the whole.

    declared template ──┬──────────────▶ resources, rights, cost                     (no account, no network)
    deployed template ──┴─ judge ──────▶ changes, what loses data, who may do what   (reads the stack)
    the stack as it is ─── drift ──────▶ what somebody changed by hand

Called by `project/cloud.py`. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from headrace.aws.declare.cost import Cost
from headrace.aws.declare.declared import Declared
from headrace.aws.operate.artifacts import Artifacts
from headrace.aws.operate.compare import Change, changes, name_of, present
from headrace.aws.operate.drift import Drift, drift
from headrace.aws.operate.judge import Judged, judge, refuse
from headrace.aws.operate.rights import Right, granted, rights, statements
from headrace.aws.operate.stack import Facts, Stack

Code = Literal["unchanged", "changed", "unknown"]
"""`unknown`: the packages have not been built of the present definition on this machine; `deploy` builds them."""

ARTIFACTS = "Packages and templates that the stack is made from; made before it, and no part of it."


@dataclass(frozen=True, slots=True)
class Plan:
    """`state` is the stack's, None where it is not deployed or where nobody was asked (`account` is None then).

    `resources` are told in the order in which the definition makes them, each with the part of the stack that it is of.
    """

    stack: str
    region: str
    account: str | None
    state: str | None
    resources: Sequence[Mapping[str, Any]]
    statements: Sequence[Mapping[str, Any]]
    changes: Sequence[Change]
    granted: Sequence[Mapping[str, Any]]
    withdrawn: Sequence[Mapping[str, Any]]
    rights: Sequence[Right]
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

    @property
    def idle(self) -> bool:
        """Whether a deploy would leave everything as it is: the stack also needs no mending."""
        return self.nothing and self.code == "unchanged" and (self.state or "").endswith("_COMPLETE")

    def refuse(self, *, lose: bool = True) -> None:
        """Raises UsageError HR846 for what CloudFormation would refuse, HR836 for data that is lost without `lose`."""
        refuse(f"stack {self.stack!r}", self.changes, lose)

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
            "iam": {
                "granted": list(self.granted),
                "withdrawn": list(self.withdrawn),
                "all": list(self.statements),
                "changes": [right.public() for right in self.rights],
            },
            "code": self.code,
            "drift": [one.public() for one in self.drift],
            "cost": self.cost.public() if self.cost is not None else None,
            "resources": list(self.resources),
        }


def plan(declared: Declared, cost: Cost | None) -> Plan:
    """What is declared, all of it to be made: nobody is asked."""
    template = declared.template
    return _plan(declared, Judged(template, {}, template, changes({}, template)), None, "unknown", cost, [])


def plan_against(
    stack: Stack, declared: Declared, packages: Mapping[str, str | None], cost: Cost | None, *, look: bool
) -> Plan:
    """What would change of the stack. `packages`: sha256 by function, None where it is not built; `look` for drift.

    Raises InfrastructureError HR834 for another project's stack, HR832 and HR848 for what has a name of ours.
    """
    assert declared.account is not None
    facts = stack.owned(declared.project)
    there = Artifacts(stack.session, declared.artifacts, declared.account, declared.tags).there()
    found = judge(stack, declared.scope, declared.template, facts)
    if facts is None or not facts.stands:
        return _plan(declared, found, facts, "unknown", cost, [], there)
    drifted = drift(stack) if look and not facts.busy else []
    return _plan(declared, found, facts, _code(declared, facts.parameters, packages), cost, drifted, there)


def _plan(
    declared: Declared,
    judged: Judged,
    facts: Facts | None,
    code: Code,
    cost: Cost | None,
    found: Sequence[Drift],
    artifacts: bool = False,
) -> Plan:
    """`artifacts`: whether their bucket is there."""
    before, wanted = judged.before, judged.wanted
    more, less = granted(before, wanted)
    resources = list(_resources(declared, judged.declared))
    bucket = next(one for one in resources if one["id"] == "")
    made = [] if artifacts else [Change("added", "", "AWS::S3::Bucket", bucket["name"])]
    return Plan(
        stack=declared.options.stack,
        region=declared.options.region,
        account=declared.account,
        state=facts.status if facts else None,
        resources=resources,
        statements=statements(wanted),
        changes=[*judged.changes, *made],
        granted=more,
        withdrawn=less,
        rights=rights(before, wanted),
        code=code,
        cost=cost,
        drift=found,
    )


def _resources(declared: Declared, template: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Each with its reason; the artifacts bucket, which has no id, after what else is stored."""
    parts, last, there = declared.parts, "", present(template)
    for id, one in there.items():
        if last == "storage" != parts[id]:
            yield {"id": "", "kind": "AWS::S3::Bucket", "name": declared.artifacts, "why": ARTIFACTS, "part": last}
        last, why = parts[id], one.get("Metadata", {}).get("Why", "")
        yield {"id": id, "kind": one["Type"], "name": name_of(id, one), "why": why, "part": last}


def _code(declared: Declared, parameters: Mapping[str, str], packages: Mapping[str, str | None]) -> Code:
    built = {key: packages.get(function) for key, function in declared.code_parameters.items()}
    if any(sha is None for sha in built.values()):
        return "unknown"
    same = all(parameters.get(key) == f"{sha}.zip" for key, sha in built.items())
    return "unchanged" if same else "changed"
