"""One file at a time, into one sink each: how long until its rows can be read?"""

from datetime import datetime

from headrace import Pipeline, Record, files, keyed, lake


class Event(Record, key=("device_id", "event_time"), zone="UTC"):
    device_id: str
    event_time: datetime
    quantity: int
    amount: float


to_keyed = Pipeline("to_keyed", source=files("keyed/", suffix=".csv"), record=Event, sinks=(keyed("fresh_items"),))
to_lake = Pipeline("to_lake", source=files("lake/", suffix=".csv"), record=Event, sinks=(lake("fresh_lake"),))
