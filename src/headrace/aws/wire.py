"""Writing items to DynamoDB at little cost: request bodies made elsewhere, sent over connections kept open.

boto3 spends most of its time on turning each value into an object and back. Here a request is the text that DynamoDB
gets, signed with Signature Version 4 under a key that is derived once a day. Used by `aws.keyed` alone.
"""

from __future__ import annotations

import json
import random
import time
from bisect import insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from botocore import exceptions as foreign

from headrace.aws.lanes import Answer, Landed, Lanes
from headrace.aws.session import THROTTLED, Session
from headrace.aws.signature import Signer
from headrace.model.errors import InfrastructureError

ITEMS = 25
"""Most items of one BatchWriteItem (API reference); the request may have 16 MB."""

TEXT = 3_000_000
"""Most characters of a request, each up to four bytes."""

FLIGHTS = 8
"""Requests under way at once: at 15 ms each they carry 13,000 items/s, three times what a new table on demand takes
(4,000 writes/s; developer guide, "On-demand capacity mode")."""

FIRST_WAIT, LONGEST_WAIT = 0.05, 5.0
"""Seconds: the n-th repetition waits a random time below FIRST_WAIT × 2ⁿ, at most LONGEST_WAIT ("full jitter")."""

PATIENCE = 60.0
"""Seconds that a request is repeated for before HR852 is raised."""

IDLE = 20.0
"""Seconds after which a connection is not trusted to be open still: a function may have been frozen meanwhile, and a
request that is lost on the way has to be waited for."""

DOUBT = 15.0
"""Seconds after which a request without an answer was carried out, or never will be."""

EXPIRED = ("ExpiredTokenException", "ExpiredToken")

Check = Callable[[float], None]


class Wire:
    """Sends item requests to one table. One caller at a time.

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
        self._lanes: Lanes[_Batch] = Lanes(self._endpoint, flights, session.certificates)
        self._signer: Signer | None = None
        self._waiting: list[_Batch] = []  # to be sent again, in order of time
        self._used = 0.0  # when, by the clock, the connections were last used
        self._unanswered = 0.0  # when, by the monotonic clock, an attempt last ended without an answer

    def send(self, requests: Iterable[str]) -> int:
        """Write all of them, each the JSON of a PutRequest or DeleteRequest with a key of its own; returns how many.

        All are taken when it returns. When it raises, some may be, but none is under way any more. Raises
        InfrastructureError: HR801–HR805, or HR852 when some were not taken within the time.
        """
        self._prepare()
        fresh = map(self._batch, _chunks(requests))
        sent = 0
        try:
            while True:
                while batch := self._next(fresh):
                    sent += 0 if batch.attempt else batch.requests
                    if not self._depart(batch):
                        break  # what has come meanwhile frees a connection, which is better than trying for another
                if not self._lanes.under_way and not self._waiting:
                    return sent
                for batch, answer, trouble in self._landed():
                    self._arrived(batch, answer, trouble)
        except Exception:
            self._waiting.clear()
            while self._lanes.under_way:
                self._landed()  # what becomes of it does not matter to whoever gets the error
            raise
        except BaseException:  # whoever interrupts does not wait
            self._forsake()
            raise
        finally:
            self._used = self._clock()

    def settle(self) -> None:
        """Wait until every attempt that got no answer was carried out or never will be."""
        if self._lanes.under_way:
            self._forsake()
        left = self._unanswered + self._doubt - time.monotonic() if self._unanswered else 0.0
        if left > 0:
            time.sleep(left)
        self._unanswered = 0.0

    def close(self) -> None:
        """After `settle`, if anything was interrupted."""
        self._lanes.close()

    def _forsake(self) -> None:
        """Let go of what is under way, and remember that some of it may be carried out."""
        self._unanswered = time.monotonic()
        self._waiting.clear()
        self._lanes.close()

    def _batch(self, chunk: list[str]) -> _Batch:
        return _Batch(self._body(",".join(chunk)), len(chunk))

    def _body(self, items: str) -> bytes:
        return b'%b%b]},"ReturnConsumedCapacity":"TOTAL"}' % (self._head, items.encode())

    def _prepare(self) -> None:
        """Begin with new connections after a pause."""
        if self._lanes.under_way:
            self._forsake()
        elif abs(self._clock() - self._used) > IDLE:
            self._lanes.close()

    def _endpoint(self) -> str:
        return str(self._session.client("dynamodb").meta.endpoint_url)

    def _next(self, fresh: Iterator[_Batch]) -> _Batch | None:
        """What may be sent now. A batch that waits for its next attempt holds its place: so throttling slows all."""
        if self._waiting and self._waiting[0].due <= time.monotonic():
            return self._waiting.pop(0)
        return next(fresh, None) if self._lanes.under_way + len(self._waiting) < self._flights else None

    def _depart(self, batch: _Batch) -> bool:
        """Whether it is under way; else it waits for its next attempt."""
        now = self._clock()
        self._allowed(now)
        again = batch.attempt > 0
        self._session.count("dynamodb", "BatchWriteItem", calls=int(not again), retries=int(again))
        headers = self._signed(batch.body, now)
        try:
            self._lanes.post(headers, batch.body, batch)
        except OSError as exc:
            self._repeat(batch, self._error(_unreachable(exc)))
            return False
        return True

    def _signed(self, body: bytes, now: float) -> dict[str, str]:
        try:
            if self._signer is None:
                host = urlsplit(self._endpoint()).netloc
                self._signer = Signer(self._session.credentials(), self._session.region, host)
            return self._signer.headers(body, now)
        except foreign.BotoCoreError as exc:  # credentials could not be renewed
            raise self._error(exc) from exc

    def _landed(self) -> list[Landed[_Batch]]:
        """Wait for what is under way, at most until a batch is due again."""
        soonest = self._waiting[0].due - time.monotonic() if self._waiting else LONGEST_WAIT
        landed = self._lanes.landed(soonest)
        if any(each.answer is None or not _of_dynamodb(each.answer) for each in landed):
            self._unanswered = time.monotonic()
        return landed

    def _arrived(self, batch: _Batch, answer: Answer | None, trouble: Exception | None) -> None:
        """One attempt is over. Raises what another would not change."""
        if answer is None:
            self._repeat(batch, self._error(_unreachable(trouble)))
            return
        if answer.status != 200:
            self._repeat(batch, self._refused(answer))
            return
        try:
            left = self._left(answer.data)
        except (ValueError, LookupError, TypeError, AttributeError) as exc:
            self._repeat(batch, self._error(_unreachable(exc)))
            return
        if left is not None:
            batch.body = left
            self._repeat(batch, self._late())

    def _repeat(self, batch: _Batch, trouble: InfrastructureError) -> None:
        """Let it wait for its next attempt. Raises the trouble if there is no time left for one."""
        batch.due = time.monotonic() + random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2**batch.attempt))
        if batch.due > batch.begun + self._patience:
            raise trouble
        batch.attempt += 1
        insort(self._waiting, batch, key=lambda each: each.due)

    def _left(self, data: bytes) -> bytes | None:
        """What was not taken, as the next request. Raises what comes of an answer that is not DynamoDB's."""
        answer = json.loads(data)
        left = answer["UnprocessedItems"]
        units = sum(each["CapacityUnits"] for each in answer.get("ConsumedCapacity", ()))
        if units:
            self._session.count("dynamodb:units", "BatchWriteItem", calls=round(units))
        if not left:
            return None
        return self._body(",".join(json.dumps(each, ensure_ascii=False) for each in left[self._table]))

    def _refused(self, answer: Answer) -> InfrastructureError:
        """Why it was; raised if another attempt would not change it."""
        code, said = _reason(answer.data)
        if code in THROTTLED or answer.status == 429:
            return self._late()
        error = self._error(
            foreign.ClientError(
                {"Error": {"Code": code, "Message": said}, "ResponseMetadata": {"HTTPStatusCode": answer.status}},  # type: ignore[typeddict-item,unused-ignore]
                "BatchWriteItem",
            )
        )
        if answer.status < 500 and code not in EXPIRED:  # expired ones are renewed for the next attempt
            raise error
        return error

    def _error(self, exc: Exception) -> InfrastructureError:
        return self._session.error(exc, f"table {self._table!r}", "it is tried again; `headrace status` tells how far")

    def _late(self) -> InfrastructureError:
        found = f"did not take all items within {self._patience:.0f} s: it is throttled"
        return InfrastructureError("HR852", f"table {self._table!r}", found, "it is tried again")


@dataclass(slots=True)
class _Batch:
    """One request, and how far it is."""

    body: bytes
    requests: int
    begun: float = field(default_factory=time.monotonic)
    attempt: int = 0
    due: float = 0.0


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


def _unreachable(exc: Exception | None) -> Exception:
    found: Exception = foreign.HTTPClientError(error=f"{type(exc).__name__}: {exc}")
    return found


def _of_dynamodb(answer: Answer) -> bool:
    """Whether the service itself says what became of a request. What is between may answer while it still travels."""
    return (b'"UnprocessedItems"' if answer.status == 200 else b'"__type"') in answer.data


def _reason(data: bytes) -> tuple[str, str]:
    """A service's error code and words; a gateway in between may say anything."""
    try:
        told = json.loads(data)
        return str(told.get("__type", "")).rsplit("#", 1)[-1], str(told.get("message") or told.get("Message") or "")
    except (ValueError, AttributeError):
        return "", ""
