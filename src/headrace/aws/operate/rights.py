"""What the roles of a template may do, and what of that differs between two templates: who gains or loses which right.

Pure, so it needs no account. `plan.py` shows it; people read it before they agree to a deploy.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Right:
    """Actions that a role may newly do (`granted`) or no longer (`withdrawn`) to the same resources.

    `why`: what needs the right, in the definition's words. `effect`: Allow or Deny.
    """

    role: str
    effect: str
    resources: tuple[str, ...]
    granted: tuple[str, ...]
    withdrawn: tuple[str, ...]
    why: str

    def public(self) -> dict[str, Any]:
        lists = {name: list(getattr(self, name)) for name in ("resources", "granted", "withdrawn")}
        return {**asdict(self), **lists}


class _On(NamedTuple):
    """What actions are counted by: a statement may be split or joined without anybody's rights being others."""

    role: str
    effect: str
    resource: str
    condition: str


def rights(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Right]:
    """Who gains and loses what, by role and resource; what is the same for several resources is told once."""
    old, new = _actions(before), _actions(after)
    reasons = {**_reasons(before), **_reasons(after)}
    alike: dict[tuple[Any, ...], list[str]] = {}
    for on in sorted({*old, *new}):
        more, less = (tuple(sorted(a.get(on, set()) - b.get(on, set()))) for a, b in ((new, old), (old, new)))
        if more or less:
            why = reasons[on]
            alike.setdefault((on.role, on.effect, on.condition, more, less, why), []).append(on.resource)
    found = [
        Right(role, effect, tuple(resources), more, less, why)
        for (role, effect, _, more, less, why), resources in alike.items()
    ]
    return sorted(found, key=lambda r: (r.role, (r.granted or r.withdrawn)[0].partition(":")[0], r.resources))


def _actions(template: Mapping[str, Any]) -> dict[_On, set[str]]:
    found: dict[_On, set[str]] = {}
    for on, statement in _each(template):
        found.setdefault(on, set()).update(statement["actions"])
    return found


def _reasons(template: Mapping[str, Any]) -> dict[_On, str]:
    """Each reason that statements about the same thing give, once."""
    found: dict[_On, dict[str, None]] = {}
    for on, statement in _each(template):
        said = template["Resources"][on.role].get("Metadata", {}).get("Statements", {}).get(statement["sid"])
        found.setdefault(on, {}).update({said: None} if said else {})
    return {on: "; ".join(reasons) for on, reasons in found.items()}


def _each(template: Mapping[str, Any]) -> Iterator[tuple[_On, dict[str, Any]]]:
    for statement in statements(template):
        condition = json.dumps(statement.get("condition"), sort_keys=True)
        for resource in statement["resources"]:
            yield _On(statement["on"], statement["effect"], resource, condition), statement


def statements(template: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every statement that the template's roles and policies grant, flat and in a stable order."""
    found = []
    for id, resource in sorted(template.get("Resources", {}).items()):
        properties = resource.get("Properties", {})
        match resource["Type"]:
            case "AWS::IAM::Role":
                documents = [one["PolicyDocument"] for one in properties.get("Policies", ())]
            case "AWS::IAM::Policy" | "AWS::IAM::ManagedPolicy":
                documents = [properties["PolicyDocument"]]
            case _:
                continue
        found += [_statement(id, one) for document in documents for one in _listed(document["Statement"])]
    return sorted(found, key=_text)


def _statement(id: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    resources = sorted(plain(r) for r in _listed(raw.get("Resource", [])))
    found = {"on": id, "sid": raw.get("Sid", ""), "effect": raw.get("Effect", "Allow")}
    found |= {"actions": sorted(_listed(raw.get("Action", raw.get("NotAction", [])))), "resources": resources}
    return {**found, **({"condition": raw["Condition"]} if "Condition" in raw else {})}


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def plain(value: Any) -> str:
    """A value of a template as text, references as in `${Queue.Arn}`."""
    match value:
        case str():
            return value
        case {"Fn::GetAtt": [id, attribute]}:
            return f"${{{id}.{attribute}}}"
        case {"Fn::GetAtt": str(path)}:
            return f"${{{path}}}"
        case {"Ref": str(id)}:
            return f"${{{id}}}"
        case {"Fn::Sub": str(text)}:
            return text
        case _:
            return json.dumps(value, sort_keys=True)


def granted(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Statements that `after` grants and `before` does not, and the other way round."""
    old, new = ({_text(one): one for one in statements(t)} for t in (before, after))
    return [new[k] for k in sorted(new.keys() - old.keys())], [old[k] for k in sorted(old.keys() - new.keys())]


def _text(statement: Mapping[str, Any]) -> str:
    return json.dumps(statement, sort_keys=True)
