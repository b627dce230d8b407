"""Low-voltage load monitors: one reading per substation, feeder and phase every ten minutes."""

from datetime import datetime

from headrace import Pipeline, Record, column, derived, files, keyed, lake


class Reading(Record, key=("asset_id", "timestamp"), on_conflict="last", zone="UTC"):
    """One measurement. Negative values are real: a feeder with solar panels gives power back."""

    substation_number: str
    substation_name: str
    feeder_id: str | None  # empty for the busbar, which feeds all feeders
    description: str  # phase and quantity, such as "L1 Active Power"
    attribute_type: str | None = None  # older files lack this column
    timestamp: datetime
    units: str
    value: float = column(check="isfinite(value)")
    # Substation and time alone identify only 7 % of the rows; no part holds a '/'.
    asset_id: str = derived("concat_ws('/', substation_number, coalesce(feeder_id, 'busbar'), description)")


lv = Pipeline(
    "lv",
    source=files("raw/prod/lv/", suffix=".csv"),
    record=Reading,
    sinks=(lake("lv_data", partition_by=("year(timestamp)", "month(timestamp)")), keyed("asset_data")),
)
