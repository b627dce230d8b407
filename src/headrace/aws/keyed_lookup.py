"""Looking items up by key in a DynamoDB table, in any process, while it is being written.

`headrace get` and the HTTP API call it through `DynamoWriter.get`. Answers are those of `local.keyed_lookup`; while a
revision is being applied, some items may be of that one already. Writes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from headrace.aws.keyed_control import Control, ControlItem, table_errors
from headrace.aws.keyed_layout import Layout, index_name, indexed
from headrace.aws.session import Session
from headrace.model.errors import InfrastructureError, UsageError
from headrace.sinks.keyed import Part, coerced, missing_table
from headrace.sinks.keyed_bounds import Condition, conditions

FRESH = 60.0
"""Seconds for which the table's shape is remembered, unless an item shows that it has changed."""

PARTITION_BYTES, SORT_BYTES = 2048, 1024
"""What a key can hold (Developer Guide, "Quotas"): no item has a longer one, and DynamoDB refuses to look for it."""

Item = Mapping[str, Any]


class DynamoLookup:
    """Reads the table `physical`. `expected` tells the number that the ledger knows of the table: where there is no
    control item, 0 is the only right one."""

    def __init__(
        self,
        session: Session,
        physical: str,
        table: str,
        index: Sequence[str] = (),
        expected: Callable[[], int] = lambda: 0,
        control: ControlItem | None = None,
    ) -> None:
        self.table, self._expected = table, expected
        self._session, self._physical, self._index = session, physical, tuple(index)
        self._control = control or ControlItem(session, physical, table)
        self._known: tuple[float, Control, Layout] | None = None

    def get(
        self,
        table: str,
        key: Any,
        *,
        at: Any = None,
        begins_with: str | None = None,
        start: Any = None,
        end: Any = None,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """Items of one partition key in sort order; `start` and `end` are inclusive.

        Arguments and errors are those of `KeyedLookup.get`. Strongly consistent: what was applied is found.
        """
        self._own(table)

        def ask(layout: Layout) -> Iterator[Item]:
            wanted = conditions(layout.key, at, begins_with, start, end)
            return self._query(layout, layout.partition_value(key), wanted, limit)

        return self._rows(ask, limit)

    def find(self, table: str, column: str, value: Any = True, limit: int | None = None) -> list[dict[str, Any]]:
        """Items whose indexed column has this value, through its sparse index; in no promised order.

        An index follows its table within a second or so. Raises UsageError HR722 for what no index holds: a column
        without one, false, empty or very long text; InfrastructureError HR856 while a new index is being filled.
        """
        self._own(table)

        def ask(layout: Layout) -> Iterator[Item]:
            return self._indexed(layout, column, value, limit)

        return self._rows(ask, limit)

    def control(self) -> Control:
        """What the control item says now."""
        return self._control.read()

    def close(self) -> None:
        self._known = None

    def _own(self, table: str) -> None:
        if table != self.table:
            raise UsageError("HR721", f"table {table!r}", "there is no such keyed table here", f"try {self.table!r}")

    def _rows(self, ask: Callable[[Layout], Iterator[Item]], limit: int | None) -> list[dict[str, Any]]:
        most = None if limit is None or limit < 0 else int(limit)
        known = self._shape(FRESH)
        if known is None or most == 0:
            return []
        items = _first(ask(known[1]), most)
        if any(_newer(item, known[0]) for item in items):  # written since its shape was read
            known = self._shape(0.0) or known
            items = _first(ask(known[1]), most)
        return [_layout(item, *known).read(item) for item in items]

    def _shape(self, age: float) -> tuple[Control, Layout] | None:
        """The table's shape, as it was at most `age` seconds ago; None before the first revision. Raises HR533."""
        if self._known is None or time.monotonic() - self._known[0] > age:
            control = self.control()
            if control.key is None or control.columns is None:
                if at := self._expected():
                    raise missing_table(self.table, at)
                return None
            layout = Layout.from_meta(control.key, control.columns).indexed_by(self._index)
            self._known = (time.monotonic(), control, layout)
        return self._known[1:]

    def _query(
        self, layout: Layout, partition: Mapping[str, str], wanted: Sequence[Condition], limit: int | None
    ) -> Iterator[Item]:
        if not 0 < len(next(iter(partition.values())).encode()) <= PARTITION_BYTES:
            return
        words, values = {"#p": layout.partition}, {":p": dict(partition)}
        expression = "#p = :p"
        sent = _sendable(wanted)
        if sent is None:
            return
        if sent:
            words["#s"] = str(layout.sort)
            values |= {f":s{n}": dict(layout.sort_value(value)) for n, (_, value) in enumerate(sent)}
            lower = "BETWEEN :s0 AND :s1" if len(sent) == 2 else f"{sent[0][0]} :s0"
            expression += f" AND #s {lower}"
        most = {"Limit": limit} if limit is not None and limit > 0 else {}
        asked = {
            "KeyConditionExpression": expression,
            "ExpressionAttributeNames": words,
            "ExpressionAttributeValues": values,
            "ConsistentRead": True,
        }
        for item in self._pages("query", asked | most):
            if all(_holds(_sort(layout, item), condition) for condition in wanted):
                yield item

    def _indexed(self, layout: Layout, column: str, value: Any, limit: int | None) -> Iterator[Item]:
        types = dict(layout.columns)
        if column not in types:
            raise UsageError("HR722", f"column {column!r}", f"table {self.table!r} has no such column")
        if column not in self._index:
            found = f"table {self.table!r} has no index of it"
            raise UsageError("HR722", f"column {column!r}", found, f"declare it: keyed({self.table!r}, index=…)")
        self._refuse_lacking(column)
        asked: dict[str, Any] = {"IndexName": index_name(column)}
        if limit is not None and limit > 0:
            asked["Limit"] = limit
        if types[column] == "BOOLEAN":
            if coerced(Part(column, "BOOLEAN"), value) is not True:
                raise UsageError("HR722", f"column {column!r}", "its index holds only the rows where it is true")
            yield from self._pages("scan", asked)  # of the index, which holds these rows and no others
            return
        held = layout.index_value(column, value)
        if held is None:
            raise UsageError("HR722", f"column {column!r}", "no index holds an empty or a very long text")
        asked["KeyConditionExpression"] = "#c = :c"
        asked |= {"ExpressionAttributeNames": {"#c": indexed(column)}, "ExpressionAttributeValues": {":c": dict(held)}}
        yield from self._pages("query", asked)

    def _refuse_lacking(self, column: str) -> None:
        """An index that is new does not have the rows that stand until the table is filled once more."""
        for age in (FRESH, 0.0):
            known = self._shape(age)
            if known is None or not known[0].lacks([column]):
                return
        found = f"the index of {column!r} is new and does not have every row yet"
        next = f"it is filled before the next revision, or by `headrace rebuild {self.table}`"
        raise InfrastructureError("HR856", f"keyed {self.table!r}", found, next)

    def _pages(self, operation: str, asked: Mapping[str, Any]) -> Iterator[Item]:
        client = self._session.client("dynamodb")
        after: dict[str, Any] = {}
        while True:
            with table_errors(self._session, self._physical, self.table):
                page = getattr(client, operation)(TableName=self._physical, **asked, **after)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            after = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def _first(items: Iterator[Item], most: int | None) -> list[Item]:
    found: list[Item] = []
    for item in items:
        if "_load_id" not in item:
            continue  # the control item
        found.append(item)
        if len(found) == most:
            break
    return found


def _newer(item: Item, control: Control) -> bool:
    return (int(item["_revision"]["N"]), int(item["_generation"]["N"])) > (control.number, control.generation)


def _layout(item: Item, control: Control, stood: Layout) -> Layout:
    """How to read an item: what a rebuild under way has put may have columns of other types than what stood before."""
    work = control.work
    if work is None or not work.columns or int(item["_generation"]["N"]) != work.generation:
        return stood
    return Layout.from_meta(str(control.key), work.columns)


def _sendable(wanted: Sequence[Condition]) -> list[Condition] | None:
    """At most one lower and one upper bound, which is as much as a Query takes: none is stricter than all of `wanted`
    together. None where nothing can meet them."""
    if any(operator == "=" and not _possible(value) for operator, value in wanted):
        return None
    lower = [value for operator, value in wanted if operator in ("=", ">=")]
    upper = [value for operator, value in wanted if operator != ">="]
    if any(value == "" for value in upper):
        return None
    if len(wanted) == 1 and _possible(wanted[0][1]):
        return list(wanted)
    low = max((value for value in lower if _possible(value)), default=None, key=_order)
    high = min((value for value in upper if _possible(value)), default=None, key=_order)
    if low is not None and high is not None and _order(low) > _order(high):
        return None
    bounds: list[Condition] = [] if low is None else [(">=", low)]
    return bounds if high is None else [*bounds, ("<=", high)]


def _order(value: int | str) -> tuple[int, str]:
    """All of one kind."""
    return (value, "") if isinstance(value, int) else (0, value)


def _possible(value: int | str) -> bool:
    """Whether DynamoDB takes it for a sort key."""
    return isinstance(value, int) or 0 < len(value.encode()) <= SORT_BYTES


def _sort(layout: Layout, item: Item) -> int | str:
    held = item[str(layout.sort)]
    return int(held["N"]) if "N" in held else str(held["S"])


def _holds(value: int | str, condition: Condition) -> bool:
    operator, bound = condition
    mine, other = _order(value), _order(bound)
    match operator:
        case "=":
            return mine == other
        case ">=":
            return mine >= other
        case "<=":
            return mine <= other
        case "<":
            return mine < other
