"""The bulk rows as items: one partition per site, in order of time."""

from datetime import datetime

from headrace import Pipeline, Record, files, keyed


class Event(Record, key=("site", "event_time", "event_id")):
    event_id: str
    event_time: datetime
    customer_id: int | None
    device_id: str | None
    site: str = "unknown"
    category: str | None
    quantity: int | None
    unit_price: float | None
    amount: float | None
    temperature: float | None
    status: str | None
    note: str | None


events = Pipeline(
    "events", source=files("raw/", suffix=".csv"), record=Event, sinks=(keyed("event_items"),), tolerate=0.01
)
