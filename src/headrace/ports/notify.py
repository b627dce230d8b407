"""How people are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Notifier(Protocol):
    """Tells people. A failure here never fails data: the outbox keeps the message and tries again."""

    def send(self, subject: str, body: str, attributes: Mapping[str, str]) -> None:
        """Once it returns, the message is stored. Sent twice, it is delivered twice.

        Raises InfrastructureError for what may pass, MessageRefused for a message that would be refused each time.
        """
        ...
