"""The control item of a keyed table on DynamoDB: its number and shape, who may write, and how far that has come.

Every change of it is one conditional write. Used by `aws.keyed`; the lookup reads the number and the shape.

**Who may write.** Batches of items are unconditional, so only one writer may send any. It holds a lease in the control
item, and signs a request only while the lease lasts long enough for the request to come to its end: AWS takes no
request later than five minutes after the time it is signed with, whatever became of the process that made it (paused,
killed, or cut off). Lease and signature carry the same moment, so once a lease has run out, no request of its holder
can arrive any more, and another may take over. Before that it is refused (HR850) and tried again. A holder that wakes
up later finds its lease taken (HR851) and has sent nothing since.

A shorter lease is right only where the holder's end is known otherwise: a function is killed when its time is up, and
the publisher's lock outlasts that.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from botocore.exceptions import ClientError

from headrace.aws.keyed_layout import STATE_VERSION, VERSION, Layout, control_key
from headrace.aws.session import Session, code_of, said_by
from headrace.model.errors import InfrastructureError

SIGNATURE = 300.0
"""Seconds for which AWS takes a signed request (IAM User Guide, "Signature Version 4")."""

LEASE = 390.0
"""Seconds: a signature's life, one minute between renewals, and half a minute by which clocks may differ."""

FUNCTION_LEASE = 30.0
"""Seconds: longer than a request can take, with time to renew. For functions under the publisher's lock."""

SKEW = 30.0
SHARE = SIGNATURE / LEASE
"""The part of a lease that must be left when a request is signed."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is under way: `done` rows of the revision's files are through, then `swept` segments of the table."""

    kind: str  # apply, rebuild
    number: int
    files: str  # a digest of what comes and goes
    generation: int
    done: int = 0
    swept: int = 0
    clean: bool = False  # nothing was in the table when it began
    columns: str = ""  # of a rebuild: those of its generation's items, as JSON


@dataclass(frozen=True, slots=True)
class Control:
    """What the control item says. A new table has none: number 0. While a rebuild is under way the number is 0, too."""

    number: int = 0
    generation: int = 0
    rows: int = 0
    key: str | None = None  # as JSON, like `columns`; None before the first revision
    columns: str | None = None
    index: tuple[str, ...] = ()  # columns whose index has every row
    writer: str | None = None
    until: float = 0.0
    by: str | None = None  # who wrote the number
    work: Work | None = None
    new: bool = False  # nobody ever wrote to the table

    @staticmethod
    def of(item: Mapping[str, Mapping[str, str]]) -> Control:
        held = {name: next(iter(value.values())) for name, value in item.items()}
        work = held.get("work")
        return Control(
            number=int(held.get("number", 0)),
            generation=int(held.get("generation", 0)),
            rows=int(held.get("rows", 0)),
            key=held.get("key"),
            columns=held.get("columns"),
            index=tuple(json.loads(held.get("index", "[]"))),
            writer=held.get("writer"),
            until=float(held.get("until", 0)),
            by=held.get("by"),
            work=Work(**json.loads(work)) if work else None,
            new=not item,
        )

    def lacks(self, index: Sequence[str]) -> list[str]:
        """Which of these columns' indexes do not have every row: those of columns that rows were written with before.

        A column that is new is null in what stands, and no index holds null.
        """
        known = {name for name, _ in json.loads(self.columns or "[]")}
        return [name for name in index if name in known and name not in self.index]


class ControlItem:
    """Reads and changes the control item of the table `physical` on behalf of one writer."""

    def __init__(
        self,
        session: Session,
        physical: str,
        table: str,
        lease: float = LEASE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._session, self._physical, self._table = session, physical, table
        self._lease, self._clock = lease, clock
        self._me = secrets.token_hex(8)
        self._until = 0.0
        self._schema: dict[str, str] | None = None
        self._lock = threading.Lock()

    def schema(self) -> dict[str, str]:
        """(attribute, type) of the table's keys, as they are: the definition may have changed since. Asked once."""
        if self._schema is None:
            with self._wrapped():
                found = self._client().describe_table(TableName=self._physical)["Table"]
            types = {each["AttributeName"]: each["AttributeType"] for each in found["AttributeDefinitions"]}
            keys = sorted(found["KeySchema"], key=lambda each: each["KeyType"])  # HASH, RANGE
            self._schema = {each["AttributeName"]: types[each["AttributeName"]] for each in keys}
        return self._schema

    def key(self) -> dict[str, Any]:
        """The key of the control item."""
        return control_key(self.schema())

    def suits(self, layout: Layout) -> None:
        """Raises HR853 unless the table's keys are those of the layout."""
        if self.schema() != layout.schema:
            found = f"the table {self._physical!r} has the keys {self.schema()}, the definition wants {layout.schema}"
            raise self._fault("HR853", found, "run `headrace deploy`")

    def read(self) -> Control:
        with self._wrapped():
            found = self._client().get_item(TableName=self._physical, Key=self.key(), ConsistentRead=True)
        item = found.get("Item", {})
        version = int(item.get(VERSION, {}).get("N", STATE_VERSION))
        if version > STATE_VERSION:
            told = f"its layout is {version}, this Headrace knows {STATE_VERSION}"
            raise self._fault("HR854", told, "upgrade Headrace")
        return Control.of(item)

    def take(self) -> Control:
        """Become the writer, and learn what the item says. Raises HR850 while another writer may be alive.

        Under a new name each time: a request that this process sent when it was the writer before, and that arrives
        only now, is refused.
        """
        before = self.read()
        now = self._clock()
        was, self._me = self._me, secrets.token_hex(8)
        found = self._change(
            "SET #writer = :me, #until = :until, #_layout = :layout",
            {
                ":until": {"N": f"{now + self._lease:.3f}"},
                ":layout": {"N": str(STATE_VERSION)},
                ":late": {"N": f"{now - min(SKEW, self._lease / 10):.3f}"},
                ":was": {"S": was},
            },
            "attribute_not_exists(#writer) OR #writer IN (:me, :was) OR #until < :late",
        )
        if found is None:
            other = self.read()
            left = max(other.until - self._clock(), 0)
            told = f"another writer has it, and may be alive for {left:.0f} s more"
            raise self._fault("HR850", told, "it is tried again")
        self._until = now + self._lease
        return replace(Control.of(found), new=before.new)

    def allowed(self, at: float) -> None:
        """Whether a request may be signed with that time; renews the lease. Raises HR851 if it was lost."""
        with self._lock:
            if self._until - at >= self._lease * SHARE:
                return
            self._hold("SET #until = :until", {})

    def begin(self, work: Work) -> None:
        """Say what is about to be done. From here a rebuild has no number until it is through."""
        renumbered = ", #number = :zero" if work.kind == "rebuild" else ""
        values = {":work": _text(work)} | ({":zero": {"N": "0"}} if renumbered else {})
        self._hold(f"SET #until = :until, #work = :work{renumbered}", values)

    def mark(self, work: Work) -> None:
        """Remember how far the work has come. What was sent before must have been taken."""
        self._hold("SET #until = :until, #work = :work", {":work": _text(work)})

    def commit(self, layout: Layout, number: int, generation: int, rows: int) -> None:
        """The number and the shape that belongs to it; the work is done and the lease is given back."""
        columns, key = layout.meta
        values: dict[str, Any] = {
            ":number": {"N": str(number)},
            ":generation": {"N": str(generation)},
            ":rows": {"N": str(rows)},
            ":columns": {"S": columns},
            ":key": {"S": key},
            ":index": {"S": json.dumps(layout.index)},
        }
        names = ", ".join(f"#{name[1:]} = {name}" for name in values)
        update = f"SET {names}, #by = :me REMOVE #work, #writer, #until"
        if self._change(update, values, "#writer = :me") is None:
            found = self.read()
            if (found.number, found.by) != (number, self._me):  # an answer may be lost and the write repeated
                raise self._lost()

    def release(self) -> None:
        """Let another writer go on at once. Whoever lost the lease changes nothing."""
        self._change("REMOVE #writer, #until", {}, "#writer = :me")

    def _hold(self, update: str, values: Mapping[str, Any]) -> None:
        until = self._clock() + self._lease
        held = {**values, ":until": {"N": f"{until:.3f}"}}
        if self._change(update, held, "#writer = :me") is None:
            raise self._lost()
        self._until = until

    def _change(self, update: str, values: Mapping[str, Any], condition: str) -> dict[str, Any] | None:
        """The item after the update; None if the condition does not hold."""
        words = {f"#{name}" for name in _NAMES if f"#{name}" in f"{update} {condition}"}
        with self._wrapped():
            try:
                found = self._client().update_item(
                    TableName=self._physical,
                    Key=self.key(),
                    UpdateExpression=update,
                    ConditionExpression=condition,
                    ExpressionAttributeNames={word: word[1:] for word in words},
                    ExpressionAttributeValues={**values, ":me": {"S": self._me}},
                    ReturnValues="ALL_NEW",
                )
            except ClientError as exc:
                if code_of(exc) == "ConditionalCheckFailedException":
                    return None
                raise
        return dict(found["Attributes"])

    def _client(self) -> Any:
        return self._session.client("dynamodb")

    def _wrapped(self) -> AbstractContextManager[None]:
        return table_errors(self._session, self._physical, self._table)

    def _lost(self) -> InfrastructureError:
        return self._fault("HR851", "another writer took it over", "nothing more was written; it is tried again")

    def _fault(self, code: str, found: str, next: str) -> InfrastructureError:
        return InfrastructureError(code, f"keyed {self._table!r}", found, next)


_NAMES = ("number", "generation", "rows", "key", "columns", "index", "writer", "until", "by", "work", VERSION)


def _text(work: Work) -> dict[str, str]:
    return {"S": json.dumps(asdict(work), separators=(",", ":"))}


@contextmanager
def table_errors(session: Session, physical: str, table: str) -> Iterator[None]:
    """Raise what DynamoDB says of a table: HR853 where it is not as the definition wants it, else HR801–HR805."""
    which = f"keyed {table!r}"
    with session.wrapped(which, "it is tried again"):
        try:
            yield
        except ClientError as exc:
            code, said = code_of(exc), said_by(exc).lower()
            if code == "ResourceNotFoundException":
                found = f"the table {physical!r} or its index is not there"
            elif code == "ValidationException" and "schema" in said:
                found = f"the table {physical!r} has other keys than the definition"
            else:
                raise
            raise InfrastructureError("HR853", which, found, "run `headrace deploy`") from exc
