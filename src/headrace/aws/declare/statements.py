"""Statements of IAM policies as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


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
