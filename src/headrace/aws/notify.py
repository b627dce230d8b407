"""Tells people, through the alert topic of the stack: who listens there, by mail or otherwise, is theirs to say.

| code | means |
|---|---|
| HR307 | a notification could not be sent, since its topic is not there; the outbox keeps it and tries again |
| HR805 | SNS refused a notification; one that it will never take is told in the log and not sent again |
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Mapping

from botocore.exceptions import ClientError, ParamValidationError

from headrace.aws.session import Session, code_of
from headrace.engine import log
from headrace.model.errors import InfrastructureError, MessageRefused

SUBJECT = 100
"""Characters of a subject, all of them printable ASCII: SNS takes nothing else."""
MOST_BYTES = 200_000
"""Of a body: SNS takes 256 KB, with the attributes."""
CUT = "…"
REFUSED = ("InvalidParameter", "ParameterValueInvalid", "ValidationError", "ValidationException")
"""What SNS says of a message that it will never take. Other refusals, as when a key is disabled, are of the topic."""
NAME = re.compile(r"[^A-Za-z0-9_.-]+")


class SnsNotifier:
    """headrace.ports.Notifier over a topic. A message that `send` returned from is stored by SNS."""

    def __init__(self, session: Session, topic: str) -> None:
        self.topic = topic
        self._session = session

    def send(self, subject: str, body: str, attributes: Mapping[str, str]) -> None:
        """Store a message. Sent twice it is delivered twice: delivery is at least once.

        A subject that SNS would not take stands shortened in the mail's subject, and whole before the body.
        """
        title = title_of(subject)
        text = body if title == subject else f"{subject}\n\n{body}"
        try:
            with self._session.wrapped(self.topic, "the message is kept and sent again"):
                self._publish(title, cut(text.strip()) or title, attributes)
        except InfrastructureError as exc:
            cause = exc.__cause__
            code = code_of(cause) if isinstance(cause, ClientError) else ""
            if code.startswith("NotFound"):
                raise InfrastructureError("HR307", self.topic, "there is no such topic", "headrace deploy") from exc
            if code in REFUSED or isinstance(cause, ParamValidationError):
                raise MessageRefused(exc.code, self.topic, exc.found, "it is not sent again") from exc
            raise
        log.event("notified", logging.WARNING, subject=subject, **attributes)

    def _publish(self, title: str, text: str, attributes: Mapping[str, str]) -> None:
        told = {
            NAME.sub("_", name)[:256]: {"DataType": "String", "StringValue": value}
            for name, value in attributes.items()
            if value  # SNS takes no empty ones
        }
        self._session.client("sns").publish(TopicArn=self.topic, Subject=title, Message=text, MessageAttributes=told)


def title_of(subject: str) -> str:
    """What SNS takes of a subject: accents and line breaks go, what has no likeness in ASCII becomes `?`."""
    plain = unicodedata.normalize("NFKD", subject.replace("…", "...").replace("–", "-"))
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    plain = "".join(c if " " <= c <= "~" else " " if c.isspace() else "?" for c in plain)
    plain = " ".join(plain.split())
    if len(plain) > SUBJECT:
        plain = plain[: SUBJECT - 3] + "..."
    return plain or "headrace"


def cut(text: str) -> str:
    """A text of no more bytes than SNS takes."""
    data = text.encode()
    return text if len(data) <= MOST_BYTES else data[:MOST_BYTES].decode(errors="ignore") + CUT
