"""Deleting the items of a keyed table that nobody can name by key: by a parallel Scan, which reads every item.

That costs one read unit per 4 KB of the whole table, and is done only where nothing else tells what is there: after a
rebuild, for what was in the table before it and is in no file; and for loads whose files were deleted from outside.
Used by `aws.keyed` alone, whose writer holds the table meanwhile: so what is read stays as it is until it is deleted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from headrace.aws.keyed_control import ControlItem, table_errors
from headrace.aws.keyed_layout import VERSION
from headrace.aws.session import Session
from headrace.aws.wire import Wire

SEGMENTS = 16
"""Parts of a table; after each few the writer marks how far it has come."""

ABREAST = 8
LOADS = 90
"""Load ids of one filter: an IN has at most 100 operands."""

Filter = tuple[str, Mapping[str, str], Mapping[str, Any]]
"""A condition, the attributes that its `#words` stand for, and its values."""

Page = tuple[list[dict[str, Any]], dict[str, Any] | None]


class Sweeper:
    """Scans and deletes in one table, `ABREAST` segments at once. Reads are strongly consistent."""

    def __init__(self, session: Session, physical: str, table: str, control: ControlItem, wire: Wire) -> None:
        self._session, self._physical, self._table = session, physical, table
        self._control, self._wire = control, wire

    def older(self, generation: int, swept: int, mark: Callable[[int], None]) -> int:
        """Delete every item that was not written by that generation, from segment `swept` on; returns how many.

        `mark` is told the next segment after each few.
        """
        words = {"#generation": "_generation"}
        condition = "attribute_not_exists(#generation) OR #generation <> :generation"
        return self._sweep([(condition, words, {":generation": {"N": str(generation)}})], swept, mark)

    def of_loads(self, loads: Sequence[str], swept: int, mark: Callable[[int], None]) -> int:
        """Delete every item of these loads, as `older` does; returns how many."""
        filters: list[Filter] = []
        for first in range(0, len(loads), LOADS):
            values = {f":load{n}": {"S": load} for n, load in enumerate(loads[first : first + LOADS])}
            filters.append((f"#load IN ({', '.join(values)})", {"#load": "_load_id"}, values))
        return self._sweep(filters, swept, mark)

    def _sweep(self, filters: Sequence[Filter], swept: int, mark: Callable[[int], None]) -> int:
        deleted = 0
        for first in range(swept, SEGMENTS, ABREAST):
            segments = range(first, min(first + ABREAST, SEGMENTS))
            deleted += sum(self._wire.send(self._found(segments, *each)) for each in filters)
            mark(segments.stop)
        return deleted

    def _found(
        self, segments: Sequence[int], condition: str, names: Mapping[str, str], values: Mapping[str, Any]
    ) -> Iterator[str]:
        """The DeleteRequest of each item that meets the condition; the control item is none."""
        keys = {f"#key{n}": name for n, name in enumerate(self._control.schema())}
        asked = {
            "TableName": self._physical,
            "TotalSegments": SEGMENTS,
            "ConsistentRead": True,
            "ProjectionExpression": ", ".join(keys),
            "FilterExpression": f"attribute_not_exists(#version) AND ({condition})",
            "ExpressionAttributeNames": {**keys, **names, "#version": VERSION},
            "ExpressionAttributeValues": dict(values),
        }
        for items in self._pages(asked, segments):
            for item in items:
                yield f'{{"DeleteRequest":{{"Key":{json.dumps(item, ensure_ascii=False)}}}}}'

    def _pages(self, asked: Mapping[str, Any], segments: Sequence[int]) -> Iterator[list[dict[str, Any]]]:
        with ThreadPoolExecutor(ABREAST, "scan") as threads:
            waiting = list(reversed(segments))
            flying: dict[Future[Page], int] = {}
            while waiting or flying:
                while waiting and len(flying) < ABREAST:
                    segment = waiting.pop()
                    flying[threads.submit(self._page, asked, segment, None)] = segment
                landed, _ = wait(flying, return_when=FIRST_COMPLETED)
                for future in landed:
                    segment = flying.pop(future)
                    items, last = future.result()
                    if last is not None:
                        flying[threads.submit(self._page, asked, segment, last)] = segment
                    yield items

    def _page(self, asked: Mapping[str, Any], segment: int, after: Mapping[str, Any] | None) -> Page:
        begin = {"ExclusiveStartKey": after} if after is not None else {}
        with table_errors(self._session, self._physical, self._table):
            found = self._session.client("dynamodb").scan(**asked, Segment=segment, **begin)
        return found["Items"], found.get("LastEvaluatedKey")
