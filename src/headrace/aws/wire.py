"""Writing items to DynamoDB at little cost: request bodies made elsewhere, sent over a pool of connections kept open.

boto3 spends most of its time on turning each value into an object and back. Here a request is the text that DynamoDB
gets, signed with Signature Version 4 under a key that is derived once a day. Used by `aws.keyed` alone.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import urllib3
from botocore import exceptions as foreign
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from headrace.aws.session import THROTTLED, Session
from headrace.aws.signature import Signer
from headrace.model.errors import InfrastructureError

ITEMS = 25
"""Most items of one BatchWriteItem (API reference); the request may have 16 MB."""

TEXT = 3_000_000
"""Most characters of a request, each up to four bytes."""

FLIGHTS = 8
"""Requests under way at once: enough to hide 5 ms of waiting behind 1 ms of work."""

FIRST_WAIT, LONGEST_WAIT = 0.05, 5.0
"""Seconds: the n-th repetition waits a random time below FIRST_WAIT × 2ⁿ, at most LONGEST_WAIT ("full jitter")."""

PATIENCE = 60.0
"""Seconds that a request is repeated for before HR852 is raised."""

CONNECT, READ = 5.0, 10.0
"""Seconds to wait for a connection and for an answer."""

IDLE = 20.0
"""Seconds after which a connection is not trusted to be open still: a function may have been frozen meanwhile, and a
request that is lost on the way has to be waited for."""

DOUBT = 15.0
"""Seconds after which a request without an answer was carried out, or never will be."""

DONE = b'{"UnprocessedItems":{}'
EXPIRED = ("ExpiredTokenException", "ExpiredToken")

Check = Callable[[float], None]


class Wire:
    """Sends item requests to one table. Thread-safe towards its own threads; one caller at a time.

    `allowed` is asked before each attempt with the time that the request is then signed with; it raises if nothing
    may be written any more. AWS takes no request five minutes after that time.
    """

    def __init__(
        self,
        session: Session,
        table: str,
        allowed: Check = lambda at: None,
        *,
        flights: int = FLIGHTS,
        patience: float = PATIENCE,
        doubt: float = DOUBT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._session, self._table, self._allowed, self._clock = session, table, allowed, clock
        self._flights, self._patience, self._doubt = flights, patience, doubt
        self._head = f'{{"RequestItems":{{{json.dumps(table)}:['.encode()
        self._signer: Signer | None = None
        self._pool: Any = None
        self._threads: ThreadPoolExecutor | None = None
        self._used = 0.0  # when, by the clock, the connections were last used
        self._unanswered = 0.0  # when, by the monotonic clock, an attempt last ended without an answer
        self._lock = threading.Lock()

    def send(self, requests: Iterable[str]) -> int:
        """Write all of them, each the JSON of a PutRequest or DeleteRequest with a key of its own; returns how many.

        All are taken when it returns. When it raises, some may be, but none is under way any more. Raises
        InfrastructureError: HR801–HR805, or HR852 when some were not taken within the time.
        """
        flying: deque[Future[None]] = deque()
        sent = 0
        self._refresh()
        try:
            for chunk in _chunks(requests):
                sent += len(chunk)
                flying.append(self._executor().submit(self._deliver, self._body(",".join(chunk))))
                if len(flying) >= 2 * self._flights:
                    flying[0].result()
                    flying.popleft()
            while flying:
                flying[0].result()
                flying.popleft()
        finally:
            for future in flying:
                future.cancel()
            for future in flying:
                with suppress(Exception):  # the first error is on its way; what is already flying must land
                    future.exception()
            self._used = self._clock()
        return sent

    def settle(self) -> None:
        """Wait until every attempt that got no answer was carried out or never will be."""
        left = self._unanswered + self._doubt - time.monotonic() if self._unanswered else 0.0
        if left > 0:
            time.sleep(left)
        self._unanswered = 0.0

    def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown()
        if self._pool is not None:
            self._pool.close()
        self._threads = self._pool = None

    def _body(self, items: str) -> bytes:
        return b'%b%b]},"ReturnConsumedCapacity":"TOTAL"}' % (self._head, items.encode())

    def _refresh(self) -> None:
        """Begin with new connections after a pause."""
        if self._pool is not None and abs(self._clock() - self._used) > IDLE:
            self._pool.close()
            self._pool = None
        if self._pool is None:
            self._open()

    def _executor(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._flights, "wire")
        return self._threads

    def _open(self) -> None:
        endpoint = str(self._session.client("dynamodb").meta.endpoint_url)
        self._signer = Signer(self._session.credentials(), self._session.region, urlsplit(endpoint).netloc)
        self._pool = _pool(endpoint, self._flights)

    def _deliver(self, body: bytes) -> None:
        """Send until everything in it is taken."""
        deadline = time.monotonic() + self._patience
        attempt = 0
        while True:
            left, trouble = self._attempt(body, attempt)
            if left is None:
                return
            body = left
            wait = random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2**attempt))
            if time.monotonic() + wait > deadline:
                raise trouble
            attempt += 1
            time.sleep(wait)

    def _attempt(self, body: bytes, attempt: int) -> tuple[bytes | None, Exception]:
        """What is left to be sent, None for nothing; and what to raise if there is no time left for that."""
        now = self._clock()
        self._allowed(now)
        assert self._signer is not None
        headers = self._signer.headers(body, now)
        self._session.count("dynamodb", "BatchWriteItem", calls=int(attempt == 0), retries=int(attempt > 0))
        try:
            answer = self._pool.urlopen("POST", "/", body=body, headers=headers, retries=False, redirect=False)
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError) as exc:
            return body, self._error(_unreachable(exc))
        except urllib3.exceptions.HTTPError as exc:
            with self._lock:
                self._unanswered = time.monotonic()
            return body, self._error(_unreachable(exc))
        if answer.status == 200:
            return self._left(answer.data), self._late()
        return self._refused(body, answer.status, answer.data)

    def _left(self, data: bytes) -> bytes | None:
        answer = json.loads(data)
        units = sum(each["CapacityUnits"] for each in answer.get("ConsumedCapacity", ()))
        if units:
            self._session.count("dynamodb:units", "BatchWriteItem", calls=round(units))
        if data.startswith(DONE) or not answer.get("UnprocessedItems"):
            return None
        again = answer["UnprocessedItems"][self._table]
        return self._body(",".join(json.dumps(each, ensure_ascii=False) for each in again))

    def _refused(self, body: bytes, status: int, data: bytes) -> tuple[bytes, Exception]:
        """Raises what another attempt would not change."""
        code, said = _reason(data)
        error = foreign.ClientError(
            {"Error": {"Code": code, "Message": said}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item,unused-ignore]
            "BatchWriteItem",
        )
        if code in THROTTLED or status == 429:
            return body, self._late()
        if status < 500 and code not in EXPIRED:  # expired ones are renewed for the next attempt
            raise self._error(error)
        return body, self._error(error)

    def _error(self, exc: Exception) -> InfrastructureError:
        return self._session.error(exc, f"table {self._table!r}", "it is tried again; `headrace status` tells how far")

    def _late(self) -> InfrastructureError:
        found = f"did not take all items within {self._patience:.0f} s: it is throttled"
        return InfrastructureError("HR852", f"table {self._table!r}", found, "it is tried again")


def _chunks(requests: Iterable[str]) -> Iterator[list[str]]:
    """As many requests as one call may hold."""
    chunk: list[str] = []
    size = 0
    for request in requests:
        size += len(request)
        if len(chunk) == ITEMS or (size > TEXT and chunk):
            yield chunk
            chunk, size = [], len(request)
        chunk.append(request)
    if chunk:
        yield chunk


def _pool(endpoint: str, flights: int) -> Any:
    """As botocore would go there: through the environment's proxy, trusting the same certificates."""
    timeout = urllib3.Timeout(connect=CONNECT, read=READ)
    given: dict[str, Any] = {"maxsize": flights, "block": True, "timeout": timeout}
    if endpoint.startswith("https:"):
        given |= {"cert_reqs": "CERT_REQUIRED", "ca_certs": os.environ.get("AWS_CA_BUNDLE") or get_cert_path(True)}
    proxy = get_environ_proxies(endpoint).get(urlsplit(endpoint).scheme)
    if proxy:
        return urllib3.ProxyManager(proxy, **given).connection_from_url(endpoint)
    return urllib3.connection_from_url(endpoint, **given)


def _unreachable(exc: Exception) -> Exception:
    found: Exception = foreign.HTTPClientError(error=f"{type(exc).__name__}: {exc}")
    return found


def _reason(data: bytes) -> tuple[str, str]:
    """A service's error code and words; a gateway in between may say anything."""
    try:
        told = json.loads(data)
        return str(told.get("__type", "")).rsplit("#", 1)[-1], str(told.get("message") or told.get("Message") or "")
    except (ValueError, AttributeError):
        return "", ""
