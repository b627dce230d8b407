"""What of a stack is not as it was deployed: CloudFormation compares what it made with what is there now.

A look that takes seconds to minutes, so only `plan`, a repair and the taking up of kept data ask for it; `verify` does
not.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headrace.aws.operate.stack import Stack
from headrace.model.errors import InfrastructureError
from headrace.model.words import count

PATIENCE = 600.0
"""Seconds after which a comparison is given up."""


@dataclass(frozen=True, slots=True)
class Drift:
    """One resource that somebody changed, or deleted. `properties` are paths, `found` what stands there now."""

    id: str
    kind: str
    name: str
    deleted: bool
    properties: tuple[str, ...] = ()

    def public(self) -> dict[str, Any]:
        state = "deleted" if self.deleted else "changed"
        return {"id": self.id, "kind": self.kind, "name": self.name, "state": state, "properties": [*self.properties]}

    def __str__(self) -> str:
        changed = "was deleted" if self.deleted else f"was changed in {', '.join(self.properties)}"
        return f"{self.name or self.id} ({self.kind}) {changed}"


def drift(stack: Stack, next: str = "try again, or say --no-drift") -> list[Drift]:
    """Compare, wait, and tell.

    Raises InfrastructureError HR845 where that takes longer than ten minutes.
    """
    client = stack.client
    with stack.session.wrapped(stack.which, next):
        id = client.detect_stack_drift(StackName=stack.name)["StackDriftDetectionId"]
        started = time.monotonic()
        while True:
            found = client.describe_stack_drift_detection_status(StackDriftDetectionId=id)
            if found["DetectionStatus"] != "DETECTION_IN_PROGRESS":
                break
            if time.monotonic() - started > PATIENCE:
                took = f"is still being compared after {PATIENCE / 60:.0f} minutes"
                raise InfrastructureError("HR845", stack.which, took, next)
            stack.pause()
        drifted = ["MODIFIED", "DELETED"]
        request: dict[str, Any] = {"StackName": stack.name, "StackResourceDriftStatusFilters": drifted}
        resources: list[Any] = []
        while True:
            page = client.describe_stack_resource_drifts(**request)
            resources += page["StackResourceDrifts"]
            if not page.get("NextToken"):
                return sorted(map(_drift, resources), key=lambda d: (d.kind, d.id))
            request["NextToken"] = page["NextToken"]


def _drift(raw: Any) -> Drift:
    return Drift(
        id=raw["LogicalResourceId"],
        kind=raw["ResourceType"],
        name=raw.get("PhysicalResourceId", ""),
        deleted=raw["StackResourceDriftStatus"] == "DELETED",
        properties=tuple(sorted(one["PropertyPath"] for one in raw.get("PropertyDifferences", ()))),
    )


def drifted(stack: Stack, found: Sequence[Drift]) -> InfrastructureError:
    """The error for a stack that is not as it was deployed."""
    told = "; ".join(map(str, found[:3])) + ("; …" if len(found) > 3 else "")
    found_ = f"{count(len(found), 'resource')} not as deployed: {told}"
    return InfrastructureError("HR838", stack.which, found_, "bring it back with `headrace deploy --repair`")
