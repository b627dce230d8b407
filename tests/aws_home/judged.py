"""What statements of IAM policies allow: as much of the language as our own policies use.

Allow and Deny, `*` and `?` in actions and resources. Conditions are not judged: a statement with one counts as if it
held.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from headrace.aws.declare.statements import Statement


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
