"""What becomes of the others when one object, or the machine, fails: nothing waits that need not, no copy stays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace.engine.home import Home
from headrace.engine.ingest import ingest
from headrace.model.errors import DefinitionError, InfrastructureError
from headrace.model.loads import Event
from law.children import HereChild
from law.place import Place

NAMES = [f"{n}.csv" for n in range(8)]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path / "root")
    for n, name in enumerate(NAMES):
        found.put(name, f"{n},{n}", minute=n)
    found.home.queue.put([Event("p", f"in/{name}", "created") for name in NAMES])
    yield found
    found.close()


class Failing(HereChild):
    """Fails once, at the second job."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error, self.calls = error, 0

    def call(self, kind: str, payload: dict[str, Any], timeout: float) -> dict[str, Any]:
        self.calls += 1
        if self.calls == 2:
            raise self.error
        return super().call(kind, payload, timeout)


class Full:
    """A store from which one object does not fit on the disk."""

    def __init__(self, store: Any, name: str) -> None:
        self._store, self._name = store, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def fetch(self, key: str, into: Path) -> Any:
        if key.endswith(self._name):
            into.write_bytes(b"some of it")
            raise InfrastructureError("HR304", key, "No space left on device", "free space")
        return self._store.fetch(key, into)


def copies(home: Home) -> list[Path]:
    return [path for folder in (home.spool, home.quick) for path in folder.rglob("*") if path.is_file()]


def states(place: Place) -> dict[str, str]:
    return {name: place.history(name)[-1] for name in NAMES if place.history(name)}


@pytest.mark.parametrize(
    "error",
    [
        InfrastructureError("HR803", "S3", "it cannot be reached", "it is tried again"),
        DefinitionError("HR203", "Item", "no such column", "correct it"),
    ],
    ids=lambda e: str(e.code),
)
def test_an_outage_gives_every_event_back_at_once_and_leaves_no_copy(place: Place, error: Exception) -> None:
    home = replace(place.home, settings=replace(place.home.settings, batch_files=1))
    leases = home.queue.lease("p", 100, timedelta(hours=1))
    with pytest.raises(type(error)):
        ingest(home, Failing(error), leases)
    assert list(states(place).values()).count("staged") == 1
    assert copies(home) == []
    place.clock.advance(timedelta(seconds=5))  # far less than the leases would have lasted
    assert len(home.queue.lease("p", 100, timedelta(hours=1))) == len(NAMES) - 1


@pytest.mark.parametrize("name", ["0.csv", "3.csv", "7.csv"])
def test_an_object_that_the_disk_has_no_room_for_keeps_no_other_back(place: Place, name: str) -> None:
    home = replace(place.home, store=Full(place.home.store, name))
    with pytest.raises(InfrastructureError, match="HR304"):
        ingest(home, HereChild(), home.queue.lease("p", 100, timedelta(hours=1)))
    assert {n for n, state in states(place).items() if state == "staged"} == set(NAMES) - {name}
    assert copies(home) == []
    place.clock.advance(timedelta(seconds=5))
    [left] = home.queue.lease("p", 100, timedelta(hours=1))
    assert left.event.key == f"in/{name}"


def test_an_outage_ends_the_looking_also_where_the_disk_was_full_before_it(place: Place) -> None:
    class Away(Full):
        asked = 0

        def fetch(self, key: str, into: Path) -> Any:
            if key.endswith("0.csv"):
                return super().fetch(key, into)
            if key > "in/3.csv":
                self.asked += 1
                raise InfrastructureError("HR803", "S3", "it cannot be reached", "it is tried again")
            return self._store.fetch(key, into)

    away = Away(place.home.store, "0.csv")
    with pytest.raises(InfrastructureError):
        ingest(replace(place.home, store=away), HereChild(), place.home.queue.lease("p", 100, timedelta(hours=1)))
    assert list(states(place).values()).count("staged") == 3
    assert away.asked == 2, "once in the round that had something to go on with, once in the next"


def test_a_small_object_goes_to_the_disk_where_memory_has_no_room(place: Place) -> None:
    class NoMemory(Full):
        def fetch(self, key: str, into: Path) -> Any:
            if into.parent == place.home.quick:
                raise InfrastructureError("HR304", key, "No space left on device", "free space")
            return self._store.fetch(key, into)

    home = replace(place.home, store=NoMemory(place.home.store, ""))
    assert ingest(home, HereChild(), home.queue.lease("p", 100, timedelta(hours=1))) == len(NAMES)


def test_what_is_larger_than_a_copy_may_be_is_dead_with_its_cause(place: Place) -> None:
    place.put("3.csv", "k,v\n" + "".join(f"{n},{n}\n" for n in range(10, 200)))
    home = replace(place.home, settings=replace(place.home.settings, scratch_bytes=1000))
    ingest(home, HereChild(), home.queue.lease("p", 100, timedelta(hours=1)))
    [dead] = home.ledger.dead()
    assert dead.key == "in/3.csv" and dead.cause.startswith("HR315 in/3.csv: its ")
    assert list(states(place).values()).count("staged") == len(NAMES) - 1


def test_a_job_that_fills_the_disk_is_split(place: Place) -> None:
    child = Failing(InfrastructureError("HR606", "child", "No space left on device", "free space"))
    child.calls = 1  # the first job, of all of them
    assert ingest(place.home, child, place.home.queue.lease("p", 100, timedelta(hours=1))) == len(NAMES)
