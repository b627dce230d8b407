"""Many small JSON files of energy readings, into both sinks."""

from datetime import datetime

from headrace import Pipeline, Record, derived, files, flag, keyed, lake


class Reading(Record, key=("site_id", "timestamp"), zone="UTC"):
    site_id: str
    timestamp: datetime
    energy_generated_kwh: float
    energy_consumed_kwh: float
    net_energy_kwh: float = derived("energy_generated_kwh - energy_consumed_kwh")


readings = Pipeline(
    "readings",
    source=files("in/", suffix=".json"),
    record=Reading,
    rules=(flag("anomaly", when="least(energy_generated_kwh, energy_consumed_kwh) < 0"),),
    sinks=(lake("reading_lake", partition_by=("year(timestamp)",)), keyed("reading_items")),
    tolerate=0.01,
)
