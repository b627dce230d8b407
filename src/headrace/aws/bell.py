"""The publisher's doorbell, which says nothing but "look", and what is asked of the publish function itself.

Ringing twice is ringing once: the publisher drains whatever is staged, whoever rang.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from headrace.aws.session import Session
from headrace.model.errors import InfrastructureError


def ring(session: Session, url: str, pipeline: str, canary: Sequence[str] = ()) -> None:
    """Send one message; `canary` are objects that try the pipeline out, and whose way goes on to the publisher."""
    body = {"pipeline": pipeline, **({"canary": list(canary)} if canary else {})}
    with session.wrapped(f"the publish queue of {pipeline!r}", "the sweep of each minute covers it"):
        session.client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(body))


def ask(session: Session, function: str, event: Mapping[str, Any], timeout: float) -> dict[str, Any]:
    """Call a function with an event and wait for its answer, for `timeout` seconds and a little more.

    Raises InfrastructureError HR818 with what the function said where it failed.
    """
    client = session.client("lambda", read_timeout=timeout + 30)
    with session.wrapped(f"function {function}", "headrace status"):
        answer = client.invoke(FunctionName=function, Payload=json.dumps(event).encode())
        said = json.loads(answer["Payload"].read() or b"null")
    if "FunctionError" in answer:
        found = str((said or {}).get("errorMessage", answer["FunctionError"]))
        raise InfrastructureError("HR818", f"function {function}", session.scrub(found), "headrace logs")
    return dict(said or {})
