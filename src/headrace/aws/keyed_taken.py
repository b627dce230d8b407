"""Whether keys that a revision is about to put are another load's: looked up by sample, since each look costs.

The publisher resolves contested keys, so none ever should be. SQLite finds out by itself; DynamoDB would replace the
other row and say nothing. A hundred keys of each piece of 50,000 are asked for: what goes wrong with many keys is found
at once, for a fifth of a percent of what the piece costs. Used by `aws.keyed` alone.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from headrace.aws.keyed_control import ControlItem, Work, table_errors
from headrace.aws.session import Session

SAMPLE = 100
"""Keys of a piece: as many as one request may ask for."""

STAMPS = ("_load_id", "_revision", "_generation")


class Taken:
    """Looks keys up in one table. Reads are strongly consistent: the revision before may have deleted them just now."""

    def __init__(self, session: Session, physical: str, table: str, control: ControlItem) -> None:
        self._session, self._physical, self._table, self._control = session, physical, table, control

    def by_others(self, keys: Iterable[str], work: Work, leaving: Collection[str]) -> tuple[list[str], str] | None:
        """A key and the load that holds it, if that is neither one of `leaving` nor written by this very work.

        `keys`: JSON of at most `SAMPLE`. What DynamoDB has no time for is left out.
        """
        asked = [json.loads(key) for key in dict.fromkeys(keys)]
        if not asked:
            return None
        words = [*self._control.schema(), *STAMPS]
        wanted = {
            "Keys": asked,
            "ConsistentRead": True,
            "ProjectionExpression": ", ".join(f"#n{i}" for i in range(len(words))),
            "ExpressionAttributeNames": {f"#n{i}": word for i, word in enumerate(words)},
        }
        with table_errors(self._session, self._physical, self._table):
            answer = self._session.client("dynamodb").batch_get_item(RequestItems={self._physical: wanted})
        ours = (str(work.number), str(work.generation))
        for item in answer["Responses"].get(self._physical, ()):
            held = {name: _value(item, name) for name in words}
            if (held["_revision"], held["_generation"]) != ours and held["_load_id"] not in leaving:
                return [held[name] for name in self._control.schema()], held["_load_id"]
        return None


def _value(item: Mapping[str, Mapping[str, Any]], name: str) -> str:
    return str(next(iter(item.get(name, {"S": ""}).values())))
