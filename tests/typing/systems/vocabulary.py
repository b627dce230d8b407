"""Every word of the vocabulary once, as a type checker must see it."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import headrace
from headrace import Csv, Pipeline, Record, column, derived, files, keyed, lake, reject, skip, sql


class Base(Record, on_conflict="first", zone="Europe/London", time_format="DD/MM/YYYY HH:mm", null=("", "NA")):
    id: UUID = column("Id", "Identifier", default_sql="row_hash()", doc="given, or made of the row")
    at: datetime = column(path="/at", ge=None)


class Row(Base, key="id", extra="keep", dedupe="none", version=2, root="/rows"):
    name: str = column(pattern="^[a-z]+$", min_length=1, max_length=20)
    day: date | None = column(format="YYYYMMDD", default=None, ge=date(2000, 1, 1))
    price: Decimal = column(digits=(10, 2), round=True, gt=Decimal("0.5"), le=10_000)
    count: int = 0
    ratio: float | None = column(default=None, check="isfinite(ratio)", lt=1.5)
    kind: Literal["a", "b"] = "a"
    tags: list[str] | None = None
    extra_info: dict[str, Any] | None = None
    good: bool = True
    label: str = derived("name || kind")


row = Row(at=datetime(2024, 1, 1), name="x", price=Decimal(1), id=UUID(int=1), kind="b")
day: date | None = row.day
count: int = row.count


def keep(table: Any) -> Any:
    return table


rows = Pipeline(
    "rows",
    source=files(
        "rows/",
        suffix=[".csv", ".tsv"],
        csv=Csv(delimiter=";", header=False, encoding="cp1252"),
        on_delete="retract",
        same_bytes="skip",
        after="leave",
    ),
    record=Row,
    steps=(sql("SELECT * FROM input"), keep),
    rules=[reject("negative", "count < 0"), skip("empty", "count = 0")],
    sinks=[lake("rows", partition_by=["year(at)", "kind"]), keyed("items", index="kind")],
    tolerate=0.01,
    expect_every="2 hours",
)
sinks: Sequence[object] = rows.sinks
mistake: type[Exception] = headrace.DefinitionError
