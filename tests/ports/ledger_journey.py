"""A process that takes a pipeline of test_ledger_races.py as far as it gets, to be killed on its way.

Everything it does is asked of the ledger first, so another one goes on wherever it ended.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ledgers import arrival, assert_agreement, publish, stage_all

from emulator import REGION
from headrace.aws.ledger import DynamoLedger
from headrace.aws.lock import exclusive
from headrace.aws.session import Session
from headrace.local.clock import SystemClock
from headrace.local.database import Database
from headrace.local.ledger import SCHEMA
from headrace.local.queue import SqliteQueue
from headrace.model.loads import LoadState
from headrace.ports import Ledger

KEYS = [f"in/{i:02}" for i in range(30)]
SPOILT = ["in/spoilt", "in/spoilt too"]


def journey(ledger: Ledger, job: str) -> None:
    """Two versions of every key, one after the other, and two objects that are dead."""
    for version in ("old", "new"):
        if version == "new" or not ledger.standing():
            arrivals = [arrival(f"{version} {key}", key=key) for key in KEYS]
            for some in (arrivals[:20], arrivals[20:]):
                stage_all(ledger, ledger.pin(some), f"{version}-{job}")
        for spoilt in ledger.pin([arrival("spoilt", key=key) for key in SPOILT]):
            if spoilt.state is LoadState.SEEN:
                ledger.bury(spoilt.id, "HR451 broken", [])
        while publish(ledger):
            pass
        ledger.hint(KEYS[:1])
        publish(ledger)  # nothing to decide: it is settled that it was looked at


def assert_arrived(ledger: Ledger) -> None:
    """Where every journey ends, however often it was begun."""
    standing = ledger.standing()
    assert {key: x.version for key, x in standing.items()} == {key: f"new {key}" for key in KEYS}
    assert [x.key for x in ledger.dead()] == SPOILT
    assert (ledger.pending(), ledger.hints(), ledger.in_state("seen", "staged")) == (set(), {}, [])
    names = [m["name"] for m in ledger.messages(limit=1000)]
    assert len(names) == len(set(names)) and {f"high:{key}:new {key}" for key in KEYS} <= set(names)
    assert_agreement(ledger)


def main(table: str, bucket: str, queue: str, lease: float) -> None:
    clock = SystemClock()
    ledger = DynamoLedger(Session(REGION), table, bucket, SqliteQueue(Database(Path(queue), SCHEMA), clock), "p", clock)
    with exclusive(ledger, lease, wait=30):
        journey(ledger, "process")


if __name__ == "__main__":
    main(*sys.argv[1:4], lease=float(sys.argv[4]))
