"""One DynamoDB table as plain values: str, int, bool, bytes and sets of str. Every read is strongly consistent.

It knows nothing of what the items mean; the ledger's modules do. What a condition refuses is `Refused`; what merely
collides with another transaction is tried again here.
"""

from __future__ import annotations

import itertools
import random
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from headrace.aws.session import Session, code_of
from headrace.model.errors import InfrastructureError

Item = Mapping[str, Any]
Key = tuple[str, str]
Write = dict[str, dict[str, Any]]
"""One member of a transaction, without its table."""

T = TypeVar("T")
R = TypeVar("R")

MOST_WRITES = 100  # of one transaction
MOST_BYTES = 3_000_000  # of one transaction; DynamoDB takes 4 MB
MOST_READS = 100  # of one batch
MOST_PUTS = 25  # of one batch
TRIES = 14  # of what collides: about 15 s
THREADS = 8
CHANGED = "ConditionalCheckFailed"
PASSING = ("TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded", "None")
"""Why a transaction is cancelled although nothing is wrong with it."""


class Refused(Exception):
    """A condition did not hold. `which` are the writes whose condition it was, by place. Never leaves this package."""

    def __init__(self, which: Sequence[int] = (0,)) -> None:
        super().__init__(f"refused: {list(which)}")
        self.which = tuple(which)


def put(item: Item, condition: str = "", **values: Any) -> Write:
    """Put a whole item in place of what is there, if the condition holds."""
    return {"Put": {"Item": encode(item), **_terms(condition=condition, values=values)}}


def update(key: Key, change: str, condition: str = "", **values: Any) -> Write:
    """Change attributes of an item, which is made if it is not there: `SET #name = :value`."""
    return {"Update": {"Key": _key(key), **_terms(change=change, condition=condition, values=values)}}


def delete(key: Key, condition: str = "", **values: Any) -> Write:
    return {"Delete": {"Key": _key(key), **_terms(condition=condition, values=values)}}


def check(key: Key, condition: str, **values: Any) -> Write:
    """Write nothing; the transaction falls if the condition does not hold."""
    return {"ConditionCheck": {"Key": _key(key), **_terms(condition=condition, values=values)}}


class Table:
    """A table whose key is `pk` and `sk`. Making one opens nothing."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self.name = name

    # -- reading -------------------------------------------------------------------------------------------------

    def get(self, key: Key) -> Item | None:
        found = self._call("get_item", Key=_key(key), ConsistentRead=True).get("Item")
        return decode(found) if found else None

    def batch_get(self, keys: Iterable[Key]) -> dict[Key, Item]:
        """Those of the items that exist, by key."""
        wanted = list(dict.fromkeys(keys))
        parts = [wanted[i : i + MOST_READS] for i in range(0, len(wanted), MOST_READS)]
        return {key: item for found in self.parallel(self._batch_get, parts) for key, item in found}

    def _batch_get(self, keys: Sequence[Key]) -> list[tuple[Key, Item]]:
        found: list[tuple[Key, Item]] = []
        left: list[Any] = [_key(key) for key in keys]
        for attempt in range(TRIES):
            answer = self._call(
                "batch_get_item", RequestItems={self.name: {"Keys": left, "ConsistentRead": True}}, table=False
            )
            items = map(decode, answer["Responses"].get(self.name, ()))
            found += [((item["pk"], item["sk"]), item) for item in items]
            left = answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", [])
            if not left:
                return found
            pause(attempt)
        raise self._busy("it leaves reads unprocessed")

    def query(
        self,
        pk: str,
        *,
        begins: str = "",
        after: str = "",
        newest: bool = False,
        limit: int | None = None,
        page: int | None = None,
    ) -> Iterator[Item]:
        """Items of a partition in the order of their sort keys, `page` at a time (None: a megabyte)."""
        asked: dict[str, Any] = {"ConsistentRead": True, "ScanIndexForward": not newest}
        condition, values = "#pk = :pk", {":pk": {"S": pk}}
        if begins:
            condition, values = f"{condition} AND begins_with(#sk, :sk)", {**values, ":sk": {"S": begins}}
        elif after:
            condition, values = f"{condition} AND #sk > :sk", {**values, ":sk": {"S": after}}
        asked |= {"KeyConditionExpression": condition, "ExpressionAttributeValues": values}
        asked["ExpressionAttributeNames"] = names(condition)
        left = limit
        while True:
            limits = [n for n in (left, page) if n is not None]
            found = self._call("query", **(asked | {"Limit": min(limits)} if limits else asked))
            for item in found["Items"]:
                yield decode(item)
            left = None if left is None else left - len(found["Items"])
            if "LastEvaluatedKey" not in found or left == 0:
                return
            asked["ExclusiveStartKey"] = found["LastEvaluatedKey"]

    # -- writing -------------------------------------------------------------------------------------------------

    def put(self, item: Item) -> None:
        self._call("put_item", Item=encode(item))

    def update(self, key: Key, change: str, condition: str = "", **values: Any) -> Item:
        """The item after the change. Raises Refused if the condition does not hold."""
        terms = _terms(change=change, condition=condition, values=values)
        for attempt in range(TRIES):
            try:
                return decode(self._call("update_item", Key=_key(key), ReturnValues="ALL_NEW", **terms)["Attributes"])
            except _Collided:
                pause(attempt)
        raise self._busy("an item is in other transactions all the time")

    def transact(self, writes: Sequence[Write]) -> None:
        """All of the writes or none. Raises Refused with those whose condition did not hold.

        Every attempt is the same request to DynamoDB: where one succeeded and its answer was lost, the next one does.
        """
        if not writes:
            return
        members = [{kind: {"TableName": self.name, **terms} for kind, terms in write.items()} for write in writes]
        asked = {"TransactItems": members, "ClientRequestToken": secrets.token_hex(16)}
        for attempt in range(TRIES):
            try:
                self._call("transact_write_items", **asked, table=False)
                return
            except _Collided:
                pause(attempt)
        raise self._busy("its items are in other transactions all the time")

    def batch_write(self, puts: Iterable[Item] = (), deletes: Iterable[Key] = ()) -> None:
        """Each write by itself and without condition; done again, it changes nothing."""
        asked = [{"PutRequest": {"Item": encode(item)}} for item in puts]
        asked += [{"DeleteRequest": {"Key": _key(key)}} for key in dict.fromkeys(deletes)]
        self.parallel(self._batch_write, [asked[i : i + MOST_PUTS] for i in range(0, len(asked), MOST_PUTS)])

    def _batch_write(self, left: Any) -> None:
        for attempt in range(TRIES):
            answer = self._call("batch_write_item", RequestItems={self.name: left}, table=False)
            left = answer.get("UnprocessedItems", {}).get(self.name, [])
            if not left:
                return
            pause(attempt)
        raise self._busy("it leaves writes unprocessed")

    # -- pieces --------------------------------------------------------------------------------------------------

    def parallel(self, act: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """What `act` says of each, in order, several at a time."""
        if len(items) < 2:
            return [act(item) for item in items]
        return list(_threads().map(act, items))

    def _call(self, operation: str, *, table: bool = True, **asked: Any) -> Any:
        if table:
            asked["TableName"] = self.name
        with self._session.wrapped(f"table {self.name}", "`headrace verify` looks at it"):
            try:
                return getattr(self._session.client("dynamodb"), operation)(**asked)
            except ClientError as exc:
                if expected := _expected(exc):
                    raise expected from exc
                raise

    def _busy(self, found: str) -> InfrastructureError:
        return InfrastructureError("HR871", f"table {self.name}", found, "it is tried again later")


@cache
def _threads() -> ThreadPoolExecutor:
    """Of the process, not of a table: a function opens its ledger anew for each of its invocations."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix="ledger")


class _Collided(Exception):
    """Another transaction had one of the items at that moment."""


def _expected(exc: ClientError) -> Exception | None:
    """What a refused write means, if it is one of those that the caller can do something about."""
    match code_of(exc):
        case "ConditionalCheckFailedException":
            return Refused()
        case "TransactionConflictException" | "TransactionInProgressException":
            return _Collided()
        case "TransactionCanceledException":
            codes = [reason.get("Code", "None") for reason in exc.response.get("CancellationReasons", ())]
            if CHANGED in codes:
                return Refused([i for i, code in enumerate(codes) if code == CHANGED])
            return _Collided() if codes and set(codes) <= set(PASSING) else None
        case _:
            return None


def pause(attempt: int) -> None:
    """Wait a random while that grows with the attempts, so that those who collided do not meet again."""
    time.sleep(random.uniform(0.2, 1.0) * min(0.02 * 2**attempt, 2.0))


def chunks(writes: Iterable[Sequence[Write]], most: int = MOST_WRITES) -> Iterator[list[Write]]:
    """Units of writes in as few transactions as they fit into; a unit stays together."""
    for units in fitting(writes, lambda unit: unit, most):
        yield [write for unit in units for write in unit]


def fitting(units: Iterable[T], writes: Callable[[T], Iterable[Write]], most: int = MOST_WRITES) -> Iterator[list[T]]:
    """Units in as few groups as their writes, by count and by bytes, fit into a transaction each."""
    found: list[T] = []
    count = size = 0
    for unit in units:
        coming = list(writes(unit))
        weight = size_of(coming)
        if found and (count + len(coming) > most or size + weight > MOST_BYTES):
            yield found
            found, count, size = [], 0, 0
        found.append(unit)
        count, size = count + len(coming), size + weight
    if found:
        yield found


def size_of(writes: Iterable[Write]) -> int:
    """Bytes, about: what the words of a request take is little beside its values."""
    return sum(map(_weight, writes))


def _weight(write: Write) -> int:
    (terms,) = write.values()
    values = (terms.get(name, {}).values() for name in ("Item", "Key", "ExpressionAttributeValues"))
    return 200 + sum(map(_size, itertools.chain(*values)))


def _size(value: Mapping[str, Any]) -> int:
    ((kind, held),) = value.items()
    match kind:
        case "S":
            return len(held.encode())
        case "SS":
            return sum(len(text.encode()) for text in held)
        case "BOOL":
            return 1
        case _:
            return len(held)


def names(*expressions: str) -> dict[str, str]:
    """Every `#name` of the expressions, so that no attribute is mistaken for a reserved word."""
    return {found: found[1:] for text in expressions for found in re.findall(r"#\w+", text)}


def _terms(*, change: str = "", condition: str = "", values: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if change:
        found["UpdateExpression"] = change
    if condition:
        found["ConditionExpression"] = condition
    if used := names(change, condition):
        found["ExpressionAttributeNames"] = used
    if values:
        found["ExpressionAttributeValues"] = {f":{name}": _encoded(value) for name, value in values.items()}
    return found


def _key(key: Key) -> dict[str, Any]:
    return {"pk": {"S": key[0]}, "sk": {"S": key[1]}}


def encode(item: Item) -> dict[str, Any]:
    return {name: _encoded(value) for name, value in item.items()}


def _encoded(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case int():
            return {"N": str(value)}
        case bytes():
            return {"B": value}
        case set() | frozenset():
            return {"SS": sorted(value)}
        case _:
            raise TypeError(f"no attribute value: {value!r}")


def decode(item: Mapping[str, Any]) -> Item:
    return {name: _decoded(value) for name, value in item.items()}


def _decoded(value: Mapping[str, Any]) -> Any:
    ((kind, found),) = value.items()
    match kind:
        case "S" | "BOOL" | "B":
            return found
        case "N":
            return int(found)
        case "SS":
            return frozenset(found)
        case _:
            raise TypeError(f"no attribute value: {kind}")
