from datetime import datetime
from decimal import Decimal

from headrace import Pipeline, Record, alert, column, derived, files, flag, keyed, lake


class Reading(Record, key=("site_id", "timestamp"), zone="UTC"):
    site_id: str
    timestamp: datetime
    energy_generated_kwh: Decimal = column(digits=(9, 4))
    energy_consumed_kwh: Decimal = column(digits=(9, 4))
    net_energy_kwh: Decimal = derived("energy_generated_kwh - energy_consumed_kwh", digits=(10, 4))


one = Reading(
    site_id="site_1",
    timestamp=datetime(2024, 1, 1),
    energy_generated_kwh=Decimal("1.5"),
    energy_consumed_kwh=Decimal("-2"),
)
kwh: Decimal = one.energy_generated_kwh

energy = Pipeline(
    "energy",
    source=files("landing/", suffix=".json"),
    record=Reading,
    rules=(
        flag("anomaly", when="least(energy_generated_kwh, energy_consumed_kwh) < 0"),
        alert(
            "anomaly_alert",
            when="anomaly",
            subject="Anomaly Detected",
            body="Anomaly detected in site: {site_id} at {timestamp}",
        ),
    ),
    sinks=(keyed("energy_data", index=("anomaly",)), lake("energy_lake", partition_by=("day(timestamp)",))),
)
