"""Statements of IAM policies as values, and what they allow: pure questions that tests and `plan` ask.

Only what our own policies use of the language: Allow and Deny, `*` and `?` in actions and resources. Conditions are
written down but not judged: a statement with one counts as if it held.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple


@dataclass(frozen=True, slots=True)
class Statement:
    """Who may do what to which. `why` says what needs it; a `*` that stands for several things must be explained there.

    `principals`: services or "*", in policies on a resource; empty in a role's.
    """

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    why: str
    effect: Literal["Allow", "Deny"] = "Allow"
    principals: tuple[str, ...] = ()
    conditions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Recorded(NamedTuple):
    """A call that was really made: the IAM action that it needs, and the ARN it was made on."""

    action: str
    arn: str


def filled(statements: Iterable[Statement], values: Mapping[str, str]) -> tuple[Statement, ...]:
    """The statements with their placeholders filled, e.g. {"AWS::Region": "eu-west-2"}."""

    def fill(text: str) -> str:
        for name, value in values.items():
            text = text.replace(f"${{{name}}}", value)
        return text

    return tuple(replace(s, resources=tuple(map(fill, s.resources))) for s in statements)


def allowed(statements: Iterable[Statement], action: str, arn: str) -> bool:
    """Whether a role with these statements may do that: some Allow matches and no Deny does."""
    effects = {s.effect for s in statements if _matches(s.actions, action, fold=True) and _matches(s.resources, arn)}
    return effects == {"Allow"}


def missing(statements: Iterable[Statement], calls: Iterable[Recorded]) -> list[Recorded]:
    """The calls that the statements do not allow, each once, in order."""
    statements = tuple(statements)
    return [call for call in sorted(set(calls)) if not allowed(statements, *call)]


def unused(statements: Iterable[Statement], calls: Iterable[Recorded]) -> list[tuple[str, str]]:
    """(sid, action) of everything that is allowed and that no call used."""
    calls = tuple(calls)
    return [
        (s.sid, action)
        for s in statements
        for action in s.actions
        if s.effect == "Allow" and not any(allowed([replace(s, actions=(action,))], *call) for call in calls)
    ]


def without(statements: Iterable[Statement]) -> Iterator[tuple[str, tuple[Statement, ...]]]:
    """Every policy that lacks exactly one action of this one, with that action."""
    statements = tuple(statements)
    for at, statement in enumerate(statements):
        for action in statement.actions:
            left = tuple(a for a in statement.actions if a != action)
            kept = (replace(statement, actions=left),) if left else ()
            yield action, (*statements[:at], *kept, *statements[at + 1 :])


def wildcards(statement: Statement) -> list[str]:
    """The actions, and whole resources, that stand for more than their statement names: `*`, `s3:Get*`, `arn:…:*`.

    A `*` that ends a path below a named thing (objects of a bucket under a prefix, streams of a log group) is not one.
    """
    wide = [action for action in statement.actions if "*" in action]
    return wide + [arn for arn in statement.resources if arn == "*" or re.fullmatch(r"arn:[^/]*:\*", arn)]


def _matches(patterns: Iterable[str], text: str, fold: bool = False) -> bool:
    return any(re.fullmatch(_regex(pattern), text, re.IGNORECASE if fold else 0) for pattern in patterns)


def _regex(pattern: str) -> str:
    return "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
