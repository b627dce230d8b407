"""One CloudFormation stack as it is now: its state, template and events, and waiting until it has come to rest.

Facts and waiting alone; what is done to a stack stands in `deploy.py` and `destroy.py`, which call it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from headrace.aws.session import Session, said_by
from headrace.model.errors import InfrastructureError

STACK_TAG, PROJECT_TAG = "headrace-stack", "headrace-project"
"""On every resource, and on the stack itself: which stack, and which project made it."""

GONE = ("DELETE_COMPLETE", "")
UNMADE = ("CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED")
"""Of a stack that holds nothing that works: it is deleted, and made again."""

POLL = 2.0
"""Seconds between looks at a stack in work."""

FIRST = 0.2
"""Seconds before the second look: a small change is soon done."""

PATIENCE = 3600.0
"""Seconds after which an operation on a stack is no longer waited for."""

ITSELF = "AWS::CloudFormation::Stack"
"""The kind of an event that is about the stack as a whole."""

VALIDATED = "Call DescribeEvents"
"""In the reason of a stack that failed before any of its resources was touched."""

Tell = Callable[[str], None]
"""Hears words of progress."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a resource of a stack."""

    id: str
    at: datetime
    logical: str
    physical: str
    kind: str
    status: str
    reason: str

    @property
    def failed(self) -> bool:
        return self.status.endswith("_FAILED")


@dataclass(frozen=True, slots=True)
class Held:
    """A resource as its stack lists it: logical id, type, physical id, state."""

    id: str
    kind: str
    name: str
    status: str

    @property
    def made(self) -> bool:
        """Whether it is there and the stack's: what failed to be created may be somebody else's of the same name."""
        return self.status in ("CREATE_COMPLETE", "IMPORT_COMPLETE", "DELETE_IN_PROGRESS", "DELETE_FAILED") or (
            self.status.startswith("UPDATE_")
        )


@dataclass(frozen=True, slots=True)
class Facts:
    """What CloudFormation says of a stack."""

    id: str
    status: str
    reason: str
    tags: Mapping[str, str]
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]

    @property
    def busy(self) -> bool:
        return self.status.endswith("_IN_PROGRESS") and self.status != "REVIEW_IN_PROGRESS"

    @property
    def stands(self) -> bool:
        """Whether there is something deployed, whatever came or will come of the last attempt to change it."""
        return self.status == "CREATE_COMPLETE" or self.status.startswith(("UPDATE_", "IMPORT_"))


class Stack:
    """A stack by its name. Constructing it asks nothing."""

    def __init__(self, session: Session, name: str, *, poll: float = POLL, patience: float = PATIENCE) -> None:
        self.session, self.name = session, name
        self._poll, self._patience, self._pause = poll, patience, FIRST

    @property
    def client(self) -> Any:
        return self.session.client("cloudformation")

    @property
    def which(self) -> str:
        return f"stack {self.name!r}"

    def facts(self) -> Facts | None:
        """None where there is no stack of this name."""
        with self.session.wrapped(self.which, "try again"):
            try:
                (found,) = self.client.describe_stacks(StackName=self.name)["Stacks"]
            except ClientError as exc:
                if "does not exist" in said_by(exc):
                    return None
                raise
        if found["StackStatus"] in GONE:
            return None
        return Facts(
            id=found["StackId"],
            status=found["StackStatus"],
            reason=found.get("StackStatusReason", ""),
            tags={t["Key"]: t["Value"] for t in found.get("Tags", ())},
            outputs={o["OutputKey"]: o["OutputValue"] for o in found.get("Outputs", ())},
            parameters={p["ParameterKey"]: p.get("ParameterValue", "") for p in found.get("Parameters", ())},
        )

    def deployed(self) -> Facts:
        """The facts of a stack that is there. Raises InfrastructureError HR844."""
        found = self.facts()
        if found is None or found.status == "REVIEW_IN_PROGRESS":
            raise InfrastructureError("HR844", self.which, "is not deployed", "run `headrace deploy`")
        return found

    def owned(self, project: str) -> Facts | None:
        """The facts, if the stack is this project's or not there. Raises InfrastructureError HR834 for another's."""
        found = self.facts()
        if found is None or (not found.tags and found.status == "REVIEW_IN_PROGRESS"):
            return found
        owner = found.tags.get(PROJECT_TAG)
        if owner == project:
            return found
        said = f"belongs to project {owner!r}" if owner else "was not made by headrace"
        raise InfrastructureError("HR834", self.which, said, "give another `stack` in the target's table")

    def template(self) -> dict[str, Any]:
        """The template as it was sent."""
        with self.session.wrapped(self.which, "try again"):
            body = self.client.get_template(StackName=self.name, TemplateStage="Original")["TemplateBody"]
        found: dict[str, Any] = json.loads(body) if isinstance(body, str) else body
        return found

    def listed(self) -> list[Held]:
        """What the stack holds, as it says itself."""
        with self.session.wrapped(self.which, "try again"):
            pages = self.client.get_paginator("list_stack_resources").paginate(StackName=self.name)
            return [
                Held(
                    id=one["LogicalResourceId"],
                    kind=one["ResourceType"],
                    name=one.get("PhysicalResourceId", ""),
                    status=one["ResourceStatus"],
                )
                for page in pages
                for one in page["StackResourceSummaries"]
                if one["ResourceStatus"] != "DELETE_COMPLETE"
            ]

    def resources(self) -> dict[str, str]:
        """Logical id → physical id of what the stack holds."""
        return {one.id: one.name for one in self.listed()}

    def events(self, id: str, since: str = "") -> list[Event]:
        """What happened to the stack of this id after the event `since`, oldest first."""
        found: list[Event] = []
        with self.session.wrapped(self.which, "try again"):
            for raw in self._newest_first(id):
                if raw["EventId"] == since:
                    break
                found.append(_event(raw))
        return found[::-1]

    def _newest_first(self, id: str) -> Iterator[Mapping[str, Any]]:
        for page in self.client.get_paginator("describe_stack_events").paginate(StackName=id):
            yield from page["StackEvents"]

    def last_event(self, id: str) -> str:
        """The id of the newest event; "" where there is none."""
        with self.session.wrapped(self.which, "try again"):
            return str(next((raw["EventId"] for raw in self._newest_first(id)), ""))

    def rest(self, tell: Tell, since: str = "", id: str = "") -> tuple[Facts | None, list[Event]]:
        """Wait until nothing is under way; what became of the stack, and what happened since the event `since`.

        `id` is needed to hear of a stack that is being deleted. Raises InfrastructureError HR845 after an hour.
        """
        started, heard = time.monotonic(), list[Event]()
        self._pause = FIRST
        while True:
            facts = self.facts()
            if id or facts is not None:
                new = self.events(id or facts.id, heard[-1].id if heard else since)  # type: ignore[union-attr]
                for event in new:
                    _say(event, tell)
                heard += new
            if facts is None or not facts.busy:
                return facts, heard
            if time.monotonic() - started > self._patience:
                found = f"is still in {facts.status} after {self._patience / 60:.0f} minutes"
                raise InfrastructureError("HR845", self.which, found, "the same command again waits on")
            self.pause()

    def pause(self) -> None:
        """Let some time pass before the next look: little at first."""
        time.sleep(min(self._pause, self._poll))
        self._pause = min(self._pause * 1.5, self._poll)

    def failure(self, events: list[Event], facts: Facts | None) -> str:
        """The first resource that failed and its reason: the later ones were only cancelled because of it."""
        for event in events:
            if event.failed and event.reason and event.kind != ITSELF and "cancelled" not in event.reason.lower():
                return self._told(event.logical, event.kind, event.reason)
        if facts is not None and any(VALIDATED in event.reason for event in events):
            return self._refused(facts.id)
        return self.session.scrub(facts.reason) if facts and facts.reason else "CloudFormation gives no reason"

    def _refused(self, id: str) -> str:
        """What CloudFormation found wrong before it touched anything: told by DescribeEvents alone."""
        with self.session.wrapped(self.which, "try again"):
            found = self.client.describe_events(StackName=id)["OperationEvents"]
        for raw in found:
            if raw.get("EventType") == "VALIDATION_ERROR" and raw.get("ValidationStatus") == "FAILED":
                return self._told(raw["LogicalResourceId"], raw["ResourceType"], raw["ValidationStatusReason"])
        return "it was found invalid, and CloudFormation gives no reason"

    def _told(self, logical: str, kind: str, reason: str) -> str:
        return f"{logical} ({kind}): {self.session.scrub(' '.join(reason.split()))}"


def _event(raw: Mapping[str, Any]) -> Event:
    return Event(
        id=raw["EventId"],
        at=raw["Timestamp"],
        logical=raw.get("LogicalResourceId", ""),
        physical=raw.get("PhysicalResourceId", ""),
        kind=raw.get("ResourceType", ""),
        status=raw.get("ResourceStatus", ""),
        reason=raw.get("ResourceStatusReason", ""),
    )


def _say(event: Event, tell: Tell) -> None:
    """A line for what came to an end; that something began is not worth one."""
    if not event.status.endswith("_IN_PROGRESS"):
        reason = f": {event.reason}" if event.failed and event.reason else ""
        tell(f"  {event.status.lower():16}  {event.logical} ({event.kind.removeprefix('AWS::')}){reason}")
