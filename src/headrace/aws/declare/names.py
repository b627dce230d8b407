"""What everything of a stack is called on AWS: a pure function of stack, account and region, within AWS's lengths.

A name that would be too long is cut and ends in a digest of the whole, so two long names never meet. Called by
`resources` (with placeholders that CloudFormation fills) and by whoever looks for something before a stack exists.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

ACCOUNT = "${AWS::AccountId}"
"""Stands for the account in a template; twelve digits once filled in."""

BUCKET, FUNCTION, QUEUE, RULE, TABLE, TOPIC, WORKGROUP = 63, 64, 80, 64, 255, 256, 128
"""Most characters of each kind of name (service quotas of November 2026)."""


def short(name: str, most: int) -> str:
    """`name`, or its beginning and a digest of the whole where it is longer than `most`."""
    length = len(name.replace(ACCOUNT, "0" * 12))
    if length <= most:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: most - 9].rstrip('-_')}-{digest}"


def logical(*parts: str) -> str:
    """A logical id of a template, letters and digits alone: `lv_data`, `queue` become LvDataQueue.

    Names that differ only in what an id cannot hold are told apart by a digest.
    """
    plain = "".join(word[:1].upper() + word[1:] for part in parts for word in re.split(r"[^A-Za-z0-9]+", part))
    readable = all(re.fullmatch(r"[A-Za-z]+[0-9]*(_[a-z]+[0-9]*)*", part) for part in parts)
    return plain if readable else plain + hashlib.sha256("/".join(parts).encode()).hexdigest()[:6]


@dataclass(frozen=True, slots=True)
class Names:
    """The physical names of one stack. `account` may be the placeholder ACCOUNT."""

    stack: str
    region: str
    account: str = ACCOUNT

    def bucket(self, what: str) -> str:
        """`what` is landing, lake or artifacts. The account is in it because bucket names are the whole world's."""
        tail = f"-{what}-{self.account}-{self.region}"
        return short(self.stack, BUCKET - len(tail.replace(ACCOUNT, "0" * 12))) + tail

    def function(self, pipeline: str, role: str) -> str:
        return self._of(pipeline, role, FUNCTION)

    def queue(self, pipeline: str, what: str) -> str:
        """`what` is events, dlq or publish."""
        return self._of(pipeline, what, QUEUE)

    def rule(self, pipeline: str, what: str) -> str:
        """`what` is sweep or scan."""
        return self._of(pipeline, what, RULE)

    def alarm(self, pipeline: str, what: str) -> str:
        return self._of(pipeline, what, TOPIC)

    def log_group(self, pipeline: str, role: str) -> str:
        return f"/aws/lambda/{self.function(pipeline, role)}"

    def topic(self, what: str) -> str:
        """`what` is alerts, operations or arrivals."""
        return short(f"{self.stack}-{what}", TOPIC)

    @property
    def ledger(self) -> str:
        return short(f"{self.stack}-ledger", TABLE)

    def keyed(self, table: str) -> str:
        return short(f"{self.stack}-keyed-{table}", TABLE)

    @property
    def database(self) -> str:
        """Without hyphens, so that Athena needs no quotes."""
        return self.stack.replace("-", "_")

    @property
    def workgroup(self) -> str:
        return short(self.stack, WORKGROUP)

    @property
    def dashboard(self) -> str:
        """The region is in it: dashboards and budgets belong to an account, wherever they look."""
        return short(f"{self.stack}-{self.region}", TOPIC)

    @property
    def budget(self) -> str:
        return short(f"{self.stack}-{self.region}", 100)

    def _of(self, pipeline: str, what: str, most: int) -> str:
        """The kind of thing stays readable when the rest is cut."""
        return f"{short(f'{self.stack}-{pipeline}', most - len(what) - 1)}-{what}"
