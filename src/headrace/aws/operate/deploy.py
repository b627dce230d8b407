"""Makes a stack be what the definition says: artifacts, then one change set, however often it was begun before.

    settle what is there ─▶ artifacts ─▶ change set ─▶ (nothing differs: done) ─▶ execute ─▶ wait ─▶ fit

Every step looks at what is and does what lacks, so a deploy that was killed anywhere is finished by the next one.
To fit is to bring what an earlier stack left, and this one takes up, to what is declared.
Called by `project/cloud.py`; what is declared comes from `template.py`, what differs is judged by `judge.py`.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from headrace.aws.declare.kept import misfits, strays, without
from headrace.aws.declare.template import EXTRAS
from headrace.aws.operate.artifacts import Artifacts
from headrace.aws.operate.compare import Change
from headrace.aws.operate.drift import drift
from headrace.aws.operate.inventory import Item
from headrace.aws.operate.judge import judge, refuse
from headrace.aws.operate.owned import Scope, mark, scope_of
from headrace.aws.operate.stack import UNMADE, Facts, Stack, Tell
from headrace.aws.operate.sweep import delete
from headrace.aws.session import Session
from headrace.engine.faults import point
from headrace.model.errors import InfrastructureError
from headrace.model.words import count

OURS = "headrace-"
"""How our change sets are called."""

UNKNOWN = "Unrecognized resource types"
"""What it says of a template with resources that it cannot make."""

NOTHING = ("didn't contain changes", "No updates are to be performed")
"""What CloudFormation says of a change set that changes nothing."""

STUCK = ("UPDATE_FAILED", "UPDATE_ROLLBACK_FAILED")
"""Of a stack that was left in the middle of an update."""

AGAIN = "run `headrace deploy` again"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a stack shall be. `parameters` besides those of the code."""

    stack: str
    project: str
    template: Mapping[str, Any]
    tags: Mapping[str, str]
    artifacts: str
    code: Mapping[str, Path]  # parameter of the template → the zip whose key it takes
    parameters: Mapping[str, str] = field(default_factory=dict)
    repair: bool = False  # also bring back what somebody changed by hand


@dataclass(frozen=True, slots=True)
class Deployed:
    """What a deploy came to: `created`, `updated` or `unchanged`."""

    state: str
    facts: Facts
    changes: Sequence[Change]
    seconds: float

    def public(self) -> dict[str, Any]:
        """The stable shape of `deploy --json`."""
        return {
            "state": self.state,
            "stack": self.facts.id,
            "status": self.facts.status,
            "changes": [change.public() for change in self.changes],
            "seconds": round(self.seconds, 3),
        }


def deploy(session: Session, wanted: Wanted, tell: Tell, *, lose: bool = False, stack: Stack | None = None) -> Deployed:
    """Bring the stack to what is wanted. `lose`: go on although rows or files would be lost.

    Raises InfrastructureError HR832 (a bucket's name is taken), HR833 (a resource failed: the first one, and why),
    HR834 (another project's stack), HR835 (it needs a person), HR837 (CloudFormation refuses the template), HR848
    (data under a name of ours that is not ours), and UsageError HR836 where data would be lost and `lose` was not said,
    HR846 for several indexes of a table at once.
    """
    started = time.monotonic()
    stack = stack or Stack(session, wanted.stack)
    account = session.account()
    scope = scope_of(wanted.stack, wanted.template, account, session.region, wanted.artifacts)
    facts = settle(stack, scope, stack.owned(wanted.project), tell)
    artifacts = Artifacts(session, wanted.artifacts, account, dict(wanted.tags))
    unfitted = artifacts.taken_up() if artifacts.there() else set()
    found = judge(stack, scope, wanted.template, facts)
    refuse(stack.which, found.changes, lose)
    wanted, kept = replace(wanted, template=found.wanted), found.kept
    point("deploy.settled")

    facts = _clear(stack, wanted, facts, artifacts, tell)
    parameters, url = _uploaded(artifacts, wanted, tell)
    request = _request(wanted, facts, parameters, url)
    point("deploy.uploaded")
    if kept:
        tell(f"taking up {', '.join(kept.values())}")
        artifacts.note_taken_up(unfitted | kept.keys())
    if kept and request["ChangeSetType"] == "CREATE":
        request["DisableValidation"] = True  # which may call a bucket that is to be taken up a conflict of names
    changed = _possible(stack, facts, request, tell)
    point("deploy.change-set")
    after = _execute(stack, *changed, tell, retain=bool(kept)) if changed else stack.deployed()
    fitted = None
    if unfitted or kept:
        fitted = _fitted(stack, wanted, after, (parameters, url), unfitted | kept.keys(), tell)
        artifacts.note_taken_up(set())
    if not changed and not fitted:
        tell("no changes")
        return Deployed("unchanged", after, [], time.monotonic() - started)
    state = "updated" if facts is not None and facts.stands else "created"
    return Deployed(state, fitted or after, found.changes, time.monotonic() - started)


def settle(stack: Stack, scope: Scope, facts: Facts | None, tell: Tell) -> Facts | None:
    """Bring a stack to rest: wait for what is under way, undo what failed. None: there is no stack to be changed.

    A stack that was never made whole is deleted; an update whose rollback failed is rolled back again.
    """
    if facts is not None and facts.busy:
        tell(f"{stack.which} is in {facts.status}: waiting")
        facts, _ = stack.rest(tell, stack.last_event(facts.id), facts.id)
    if facts is not None and facts.status in UNMADE:
        tell(f"{stack.which} is in {facts.status}: deleting what is left of it")
        mark(stack.session, scope, scope.holding(stack.listed()).listed, AGAIN)
        remove(stack, facts, tell, AGAIN)
        facts = None
    if facts is not None and facts.status in STUCK:
        facts = _roll_back(stack, facts, tell)
    return facts


def remove(stack: Stack, facts: Facts, tell: Tell, again: str) -> None:
    """Delete a stack; resources that hold data stay. `again`: the command that goes on after a fault.

    Raises InfrastructureError HR833 with what cannot be deleted.
    """
    since = stack.last_event(facts.id)
    with stack.session.wrapped(stack.which, again):
        stack.client.delete_stack(StackName=stack.name)
    point("stack.deleting")
    after, events = stack.rest(tell, since, facts.id)
    if after is not None:
        why = stack.failure(events, after)
        next = f"remove what holds it, then {again}"
        raise InfrastructureError("HR833", stack.which, f"could not be deleted: {why}", next)


def _roll_back(stack: Stack, facts: Facts, tell: Tell) -> Facts:
    """Continue a rollback that failed, or begin one that nobody began. What fails twice needs a person."""
    tell(f"{stack.which} is in {facts.status}: rolling it back")
    since = stack.last_event(facts.id)
    with stack.session.wrapped(stack.which, AGAIN):
        if facts.status == "UPDATE_FAILED":
            stack.client.rollback_stack(StackName=stack.name)
        else:
            stack.client.continue_update_rollback(StackName=stack.name)
    after, events = stack.rest(tell, since, facts.id)
    if after is None or after.status in STUCK:
        why = stack.failure(events, after)
        skip = f"aws cloudformation continue-update-rollback --stack-name {stack.name} --resources-to-skip ID"
        next = f"mend it and deploy again, or leave that resource out: {skip}"
        raise InfrastructureError("HR835", stack.which, f"cannot be rolled back: {why}", next)
    return after


def _clear(stack: Stack, wanted: Wanted, facts: Facts | None, artifacts: Artifacts, tell: Tell) -> Facts | None:
    """Take tables with another key out of the stack, and delete them: CloudFormation cannot replace what has a name.

    So too the log group of a function that wrote a last line after its stack was gone.
    """
    for group in strays(stack, wanted.template, facts):
        delete(stack.session, Item("log group", group), tell)
    gone = {change.id: change.name for change in misfits(stack.session, wanted.template)}
    if not gone:
        return facts
    if facts is not None and facts.stands and (held := {id: n for id, n in gone.items() if id in stack.resources()}):
        tell(f"taking {', '.join(held.values())} out of the stack")
        artifacts.make()
        body = json.dumps(without(stack.template(), held)).encode()
        key, _ = artifacts.keep_bytes(body, ".json")
        request = _request(wanted, facts, facts.parameters, artifacts.url(key))
        if (changed := _change_set(stack, facts, request, tell)) is not None:
            facts = _execute(stack, *changed, tell)
        point("deploy.taken-out")
    for name in gone.values():  # each the stack's: it held them until now, or `judge` asked their tags
        delete(stack.session, Item("table", name, holds=True), tell)
    return facts


def _uploaded(artifacts: Artifacts, wanted: Wanted, tell: Tell) -> tuple[dict[str, str], str]:
    """Have code and template where CloudFormation reads them; the parameters, and the template's address."""
    if artifacts.make():
        tell(f"made bucket {wanted.artifacts}")
    point("deploy.bucket")
    parameters = dict(wanted.parameters)
    for parameter, path in wanted.code.items():
        parameters[parameter], uploaded = artifacts.keep(path, ".zip")
        if uploaded:
            tell(f"uploaded {path.name} as {parameters[parameter]}")
        point("deploy.upload")
    body = json.dumps(wanted.template, indent=1).encode()
    key, _ = artifacts.keep_bytes(body, ".json")
    return parameters, artifacts.url(key)


def _request(wanted: Wanted, facts: Facts | None, parameters: Mapping[str, str], url: str) -> dict[str, Any]:
    """What CreateChangeSet is asked for."""
    return {
        "StackName": wanted.stack,
        "ChangeSetName": OURS + secrets.token_hex(6),
        "ChangeSetType": "UPDATE" if facts is not None and facts.stands else "CREATE",
        "TemplateURL": url,
        "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in sorted(parameters.items())],
        "Tags": [{"Key": k, "Value": v} for k, v in sorted(wanted.tags.items())],
        "Capabilities": ["CAPABILITY_NAMED_IAM"],
        **({"DeploymentMode": "REVERT_DRIFT"} if wanted.repair and facts is not None and facts.stands else {}),
        # Buckets and tables that an earlier `destroy` kept come back into the stack with what they hold.
        "ImportExistingResources": True,
    }


def _possible(stack: Stack, facts: Facts | None, request: dict[str, Any], tell: Tell) -> tuple[str, str] | None:
    """Make a change set, without the extras where CloudFormation does not know all of them: not every region does."""
    try:
        return _change_set(stack, facts, request, tell)
    except InfrastructureError as exc:
        wanted = {"ParameterKey": EXTRAS, "ParameterValue": "yes"}
        if UNKNOWN not in exc.found or wanted not in request["Parameters"]:
            raise
        tell(f"without extras: {exc.found}")
        request["Parameters"] = [{**p, "ParameterValue": "no"} if p == wanted else p for p in request["Parameters"]]
        return _change_set(stack, facts, request, tell)


def _change_set(stack: Stack, facts: Facts | None, request: Mapping[str, Any], tell: Tell) -> tuple[str, str] | None:
    """Make a change set; (its id, the stack's), or None if it would change nothing."""
    client = stack.client
    _forget_change_sets(stack, facts)
    with stack.session.wrapped(stack.which, AGAIN):
        made = client.create_change_set(**request)
    found = _ready(stack, made["Id"])
    if found["Status"] == "FAILED":
        with stack.session.wrapped(stack.which, AGAIN):
            client.delete_change_set(ChangeSetName=made["Id"])
        reason = found.get("StatusReason", "")
        if any(words in reason for words in NOTHING):
            return None
        next = "`headrace plan` shows the template; correct the definition or the target's table"
        raise InfrastructureError("HR837", stack.which, f"the change set failed: {stack.session.scrub(reason)}", next)
    tell(f"{stack.which}: {count(len(found['Changes']), 'change')}")
    return made["Id"], made["StackId"]


def _forget_change_sets(stack: Stack, facts: Facts | None) -> None:
    """Drop what an interrupted deploy left behind: each would hold a snapshot of an older intention."""
    if facts is None:
        return
    with stack.session.wrapped(stack.which, AGAIN):
        for page in stack.client.get_paginator("list_change_sets").paginate(StackName=facts.id):
            for one in page["Summaries"]:
                if one["ChangeSetName"].startswith(OURS):
                    stack.client.delete_change_set(ChangeSetName=one["ChangeSetId"])


def _ready(stack: Stack, id: str) -> dict[str, Any]:
    while True:
        with stack.session.wrapped(stack.which, AGAIN):
            found: dict[str, Any] = stack.client.describe_change_set(ChangeSetName=id)
        if found["Status"] in ("CREATE_COMPLETE", "FAILED"):
            return found
        stack.pause()


def _fitted(
    stack: Stack, wanted: Wanted, facts: Facts, sent: tuple[Mapping[str, str], str], kept: Set[str], tell: Tell
) -> Facts | None:
    """Make what was taken up as it is declared: an import changes nothing, and a bucket still tells whom it told.

    `kept` are logical ids. None: all of these are as declared. What else somebody changed by hand goes with them, and
    is told: CloudFormation reverts the drift of a whole stack.
    """
    held = kept & stack.resources().keys()
    found = drift(stack, next=AGAIN) if held else []
    if not any(one.id in held for one in found):
        return None
    for one in found:
        tell(f"bringing back: {one}")
    changed = _possible(stack, facts, _request(replace(wanted, repair=True), facts, *sent), tell)
    return None if changed is None else _execute(stack, *changed, tell)


def _execute(stack: Stack, change_set: str, id: str, tell: Tell, *, retain: bool = False) -> Facts:
    """Carry the change set out. `retain`: a rollback deletes nothing that holds data.

    Raises InfrastructureError HR833 with the first resource that failed, and why.
    """
    since = stack.last_event(id)
    with stack.session.wrapped(stack.which, AGAIN):
        # What a failed first deploy made is taken away again: there is no data in it yet. Unless something was taken
        # up, for nobody says whether CloudFormation would call that new as well.
        request = {} if retain else {"RetainExceptOnCreate": True}
        stack.client.execute_change_set(ChangeSetName=change_set, **request)
    point("deploy.executing")
    facts, events = stack.rest(tell, since, id)
    if facts is None or facts.status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"):
        state = facts.status if facts else "gone"
        found = f"{stack.failure(events, facts)} (the stack is now {state})"
        raise InfrastructureError("HR833", stack.which, found, f"correct it, then {AGAIN}")
    return facts
