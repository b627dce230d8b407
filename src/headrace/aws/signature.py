"""Signature Version 4 for one kind of request, again and again: what is the same within a second is made once.

botocore derives the key and formats everything anew for each request, which costs ten times as much. Used by `aws.wire`
alone; a test holds it to botocore's answers.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any, NamedTuple

TARGET = "DynamoDB_20120810.BatchWriteItem"


class Signer:
    """Signs requests to one host: all that changes within a second is the hash of the body. Thread-safe."""

    def __init__(self, credentials: Any, region: str, host: str) -> None:
        self._credentials, self._region, self._host = credentials, region, host
        self._now: _Moment | None = None

    def headers(self, body: bytes, at: float) -> dict[str, str]:
        """All headers of a request that is sent at that time."""
        now = self._now
        if now is None or now.second != int(at):
            now = self._now = self._moment(int(at))
        canonical = f"{now.canonical}{hashlib.sha256(body).hexdigest()}"
        signed = f"{now.prefix}{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(now.key, signed.encode(), "sha256").hex()
        return {**now.headers, "Authorization": f"{now.authorization}{signature}"}

    def _moment(self, second: int) -> _Moment:
        """What is the same for all requests of a second. Credentials that expire soon are renewed here."""
        held = self._credentials.get_frozen_credentials()
        stamp = datetime.fromtimestamp(second, UTC).strftime("%Y%m%dT%H%M%SZ")
        signed = {"host": self._host, "x-amz-date": stamp, "x-amz-target": TARGET}
        if held.token:
            signed["x-amz-security-token"] = held.token
        names = ";".join(sorted(signed))
        lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        scope = f"{stamp[:8]}/{self._region}/dynamodb/aws4_request"
        known = self._now
        same = known is not None and (known.scope, known.secret) == (scope, held.secret_key)
        return _Moment(
            second=second,
            scope=scope,
            secret=held.secret_key,
            key=known.key if known is not None and same else _key(held.secret_key, scope),
            canonical=f"POST\n/\n\n{lines}\n{names}\n",
            prefix=f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n",
            authorization=f"AWS4-HMAC-SHA256 Credential={held.access_key}/{scope}, SignedHeaders={names}, Signature=",
            headers={
                "Host": self._host,
                "User-Agent": "headrace",
                "Content-Type": "application/x-amz-json-1.0",
                "X-Amz-Date": stamp,
                "X-Amz-Target": TARGET,
            }
            | ({"X-Amz-Security-Token": held.token} if held.token else {}),
        )


class _Moment(NamedTuple):
    second: int
    scope: str
    secret: str
    key: bytes
    canonical: str
    prefix: str
    authorization: str
    headers: dict[str, str]


def _key(secret: str, scope: str) -> bytes:
    """The signing key of a day, region and service (IAM User Guide, "Create a signed AWS API request")."""
    key = b"AWS4" + secret.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
