"""The bulk work: exact casts, quarantine, an id per row, one row per id, Parquet by month."""

from datetime import datetime
from uuid import UUID

from headrace import Pipeline, Record, column, files, lake


class Event(Record, key="row_id"):
    event_id: str
    event_time: datetime
    customer_id: int | None
    device_id: str | None
    site: str | None
    category: str | None
    quantity: int | None
    unit_price: float | None
    amount: float | None
    temperature: float | None
    status: str | None
    note: str | None
    row_id: UUID = column(default_sql="row_hash()")


events = Pipeline(
    "events",
    source=files("raw/", suffix=".csv"),
    record=Event,
    sinks=(lake("events", partition_by=("year(event_time)", "month(event_time)")),),
    tolerate=0.01,
)
