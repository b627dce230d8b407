"""Many workers and several publishers on one ledger, killed between any two calls. What they all did must agree."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from ledger_journey import assert_arrived, journey
from ledgers import (
    MINUTE,
    SHAPE,
    Opener,
    arrival,
    assert_agreement,
    data,
    decide,
    dynamodb,
    pin,
    publish,
    stage,
    stage_all,
    state,
    stood,
)

from emulator import ROOT
from headrace.aws.ledger import DynamoLedger
from headrace.aws.lock import LockHeld, exclusive, holder
from headrace.aws.session import Session
from headrace.engine import faults
from headrace.local.clock import ManualClock
from headrace.local.queue import SqliteQueue
from headrace.model.errors import InfrastructureError, LeaseLost, RevisionRefused
from headrace.model.loads import Alert, Decision, LoadState, Settlement
from headrace.ports import Ledger

LEASE = 360.0


class Killed(BaseException):
    """The process ends here, as far as the ledger can tell."""


@pytest.fixture
def open_dynamo(aws: Session, queue: SqliteQueue, clock: ManualClock) -> Callable[[], DynamoLedger]:
    opener = dynamodb(aws, queue, clock)
    return lambda: opener("p")  # type: ignore[return-value]


def together(*acts: Callable[[], Any]) -> list[Any]:
    """Do all of it at once; what is raised is an answer, too."""
    begin = threading.Barrier(len(acts))

    def one(act: Callable[[], Any]) -> Any:
        begin.wait()
        try:
            return act()
        except InfrastructureError as exc:
            return exc

    with ThreadPoolExecutor(len(acts)) as threads:
        return list(threads.map(one, acts))


# -- workers -----------------------------------------------------------------------------------------------------


def test_workers_who_pin_the_same_objects_at_once_get_the_same_loads(open_ledger: Opener) -> None:
    arrivals = [arrival(f"v{i}", key=f"in/{i}") for i in range(40)]
    found = together(*(partial(open_ledger("p").pin, arrivals) for _ in range(5)))
    assert all([x.id for x in loads] == [x.id for x in found[0]] for loads in found)
    ledger = open_ledger("p")
    assert len(ledger.history()) == 40
    assert_agreement(ledger)


def test_of_versions_that_are_pinned_at_once_one_is_left_to_be_read(open_ledger: Opener) -> None:
    found = together(*(partial(pin, open_ledger("p"), f"v{n}") for n in range(6)))
    ledger = open_ledger("p")
    assert sorted(x.id for x in found) == sorted(x.id for x in ledger.history("a"))
    assert [x.state for x in ledger.live(["a"])["a"]] == [LoadState.SEEN]
    assert_agreement(ledger)


def test_a_job_that_several_workers_stage_at_once_is_owned_once(open_ledger: Opener) -> None:
    loads = open_ledger("p").pin([arrival(f"v{i}", key=f"in/{i}") for i in range(30)])
    together(*(partial(stage_all, open_ledger("p"), loads, f"job{n}") for n in range(4)))
    ledger = open_ledger("p")
    assert len(ledger.files_of([x.id for x in loads], staged=True)) == 30
    assert len(ledger.trash()) == 90
    assert_agreement(ledger)


def test_jobs_that_share_a_load_are_staged_whole_or_not_at_all(open_ledger: Opener) -> None:
    a, b, c = open_ledger("p").pin([arrival(key, key=key) for key in "abc"])
    found = together(
        lambda: stage(open_ledger("p"), a, b),
        lambda: stage(open_ledger("p"), b, c),
        lambda: stage(open_ledger("p"), c, a),
    )
    assert sum(isinstance(x, LeaseLost) for x in found) == 2
    ledger = open_ledger("p")
    assert (len(ledger.in_state("staged")), len(ledger.in_state("seen")), len(ledger.trash())) == (2, 1, 2)
    assert_agreement(ledger)


# -- publishers --------------------------------------------------------------------------------------------------


def test_of_publishers_who_record_the_same_revision_one_is_heard(open_ledger: Opener) -> None:
    ledger = open_ledger("p")
    loads = [pin(ledger, key, key=key) for key in "abcde"]
    for load in loads:
        stage(ledger, load)
    decisions = [Decision("p", 1, "publish", SHAPE, (x.id,), adopted=(f"data/{x.id}.parquet",)) for x in loads]
    found = together(*(partial(open_ledger("p").record, decision) for decision in decisions))
    assert [isinstance(x, RevisionRefused) for x in found].count(False) == 1
    winner = loads[found.index(None)]
    assert ledger.head() == 1 and ledger.revision(1).standing == (winner.id,)
    assert [x.id for x in ledger.in_state("decided")] == [winner.id]
    assert_agreement(ledger)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_workers_and_publishers_all_at_once_leave_what_each_of_them_was_told(open_ledger: Opener, seed: int) -> None:
    keys = [f"in/{i}" for i in range(12)]

    def work(ledger: Ledger, n: int) -> None:
        random = Random(seed * 100 + n)
        for i in range(8):
            some = random.sample(keys, 4)
            loads = ledger.pin([arrival(f"{key} {random.randrange(3)}", key=key) for key in some])
            if random.random() < 0.2 and loads[0].state is LoadState.SEEN:
                ledger.bury(loads[0].id, "HR451 broken", [])
            stage_all(ledger, loads, f"{n}-{i}")
            ledger.hint(random.sample(keys, 2))

    def decide(ledger: Ledger) -> int:
        won = 0
        while not done.is_set():
            try:
                won += publish(ledger)
            except RevisionRefused:
                continue
        return won

    done = threading.Event()
    with ThreadPoolExecutor(6) as threads:
        publishers = [threads.submit(decide, open_ledger("p")) for _ in range(2)]
        workers = [threads.submit(work, open_ledger("p"), n) for n in range(4)]
        try:
            for worker in workers:
                worker.result()
        finally:
            done.set()
        won = sum(publisher.result() for publisher in publishers)
    ledger = open_ledger("p")
    won += publish(ledger)
    assert ledger.head() == len(ledger.revisions()) == won
    assert ledger.pending() == set() and ledger.hints() == {}
    assert_agreement(ledger)


# -- kills -------------------------------------------------------------------------------------------------------


PLACES = (
    "ledger.numbered",
    "ledger.keys-moved",
    "ledger.before-stage",
    "ledger.staged",
    "ledger.buried",
    "ledger.hinted",
    "ledger.looked-up",
    "ledger.before-head",
    "ledger.head-moved",
    "ledger.applying",
    "ledger.files-moved",
    "ledger.attempts-settled",
    "ledger.before-applied",
)
"""Where a ledger on DynamoDB can be killed between two of its requests."""


def test_a_journey_passes_every_place_to_be_killed_at(open_dynamo: Callable[[], DynamoLedger]) -> None:
    found: set[str] = set()
    with faults.install(found.add):
        journey(open_dynamo(), "whole")
    assert found == set(PLACES)
    assert_arrived(open_dynamo())


@pytest.mark.parametrize("again", [1, pytest.param(2, marks=pytest.mark.soak)])
@pytest.mark.parametrize("place", PLACES)
def test_whoever_is_killed_at_any_place_leaves_what_another_finishes(
    place: str, again: int, open_dynamo: Callable[[], DynamoLedger]
) -> None:
    left = [again]

    def kill(at: str) -> None:
        left[0] -= at == place
        if left[0] == 0:
            raise Killed(place)

    with faults.install(kill), pytest.raises(Killed):
        journey(open_dynamo(), "killed")
        journey(open_dynamo(), "once more")  # what is passed once in a journey
    assert_agreement(open_dynamo())  # also half-way: whoever reads leads the items to the head
    journey(open_dynamo(), "again")
    assert_arrived(open_dynamo())


@pytest.mark.parametrize(
    "place",
    ["lock.acquired", "ledger.before-stage", "ledger.head-moved", "ledger.keys-moved:5", "ledger.before-applied"],
)
def test_a_killed_process_is_followed_by_another(
    place: str, open_dynamo: Callable[[], DynamoLedger], aws_environment: str, tmp_path: Path, monkeypatch: Any
) -> None:
    def run(**environment: str) -> int:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        ledger = open_dynamo()
        arguments = [ledger.table.name, ledger.table.name, str(tmp_path / "ledger.db"), "1.5"]
        program = [sys.executable, str(ROOT / "tests/ports/ledger_journey.py"), *arguments]
        return subprocess.run(program, timeout=60).returncode

    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'src'}:{ROOT / 'tests'}:{ROOT / 'tests/ports'}")
    assert run(HEADRACE_FAULT=place) == -9
    assert run(HEADRACE_FAULT="") == 0  # it waits until the lease of the dead one is over
    assert_arrived(open_dynamo())


AS_SINKS = ("live", "load", "census", "twins")
"""Answers that change once every sink has the revision."""
READS: dict[str, Callable[[Ledger], object]] = {
    "head": lambda ledger: ledger.head(),
    "shape": lambda ledger: ledger.shape(),
    "revision": lambda ledger: len(ledger.revision(2).added),
    "files": lambda ledger: sorted(f.path for f in ledger.files("data")),
    "standing": lambda ledger: {key: x.version for key, x in ledger.standing().items()},
    "live": lambda ledger: [x.state for x in ledger.live(["a"])["a"]],
    "load": lambda ledger: [ledger.find_load(id).state for id in ("p.1", "p.2", "p.3")],
    "pending": lambda ledger: ledger.pending(),
    "hints": lambda ledger: set(ledger.hints()),
    "totals": lambda ledger: ledger.totals(),
    "census": lambda ledger: ledger.census("contract").states,
    "trash": lambda ledger: ledger.trash(),
    "gone": lambda ledger: [f.path for f, _ in ledger.retired_files(2)],
    "twins": lambda ledger: [x.state for x in ledger.twins("B")],
}


def test_a_decision_that_was_half_shown_is_finished_by_a_mere_reader(
    aws: Session, queue: SqliteQueue, clock: ManualClock
) -> None:
    def prepared() -> tuple[Opener, DynamoLedger]:
        opener = dynamodb(aws, queue, clock)
        ledger = opener("p")
        stood(ledger, "A")
        stage_all(ledger, [pin(ledger, "B"), pin(ledger, "C", key="b")], "job")
        ledger.hint(["a", "c"])
        return opener, ledger  # type: ignore[return-value]

    opener, whole = prepared()
    publish(whole)
    expected = {name: read(opener("p")) for name, read in READS.items() if name not in AS_SINKS}
    for place in ("ledger.head-moved", "ledger.files-moved", "ledger.keys-moved", "ledger.before-applied"):
        opener, ledger = prepared()

        def kill(at: str, place: str = place) -> None:
            if at == place:
                raise Killed(place)

        with faults.install(kill), pytest.raises(Killed):
            publish(ledger)
        for name, wanted in expected.items():
            assert READS[name](opener("p")) == wanted, (place, name)
        opener("p").stand(2)
        assert READS["load"](opener("p")) == ["retired", "standing", "standing"]


def test_every_reader_finishes_a_decision_by_itself(aws: Session, queue: SqliteQueue, clock: ManualClock) -> None:
    def kill(at: str) -> None:
        if at == "ledger.head-moved":
            raise Killed(at)

    answers = {}
    for name, read in READS.items():
        opener = dynamodb(aws, queue, clock)
        ledger = opener("p")
        first, second = stood(ledger, "A"), pin(ledger, "B")
        file = stage(ledger, second)
        with faults.install(kill), pytest.raises(Killed):
            old = f"data/{first.id}.parquet"
            ledger.record(Decision("p", 2, "publish", SHAPE, (second.id,), (first.id,), (), (file.path,), (old,)))
        pin(ledger, "C", key="c")
        answers[name] = read(opener("p"))
        assert opener("p").log.peek().applied == 2, name  # type: ignore[attr-defined]
    assert answers["load"] == ["retired", "decided", "seen"]
    assert (answers["live"], answers["gone"]) == (["decided"], ["data/p.1.parquet"])
    assert answers["census"] == {"decided": 1, "seen": 1}


def test_who_shows_a_decision_too_late_changes_nothing(open_dynamo: Callable[[], DynamoLedger]) -> None:
    ledger = open_dynamo()
    first = stood(ledger, "A")
    for place in ("ledger.applying", "ledger.files-moved", "ledger.keys-moved", "ledger.attempts-settled"):
        load = pin(ledger, f"B {place}", key="b")
        file = stage(ledger, load, file=data(load.id, path=f"data/{load.id}.parquet"))
        asleep, wake = threading.Event(), threading.Event()

        def sleep(at: str, place: str = place, asleep: threading.Event = asleep, wake: threading.Event = wake) -> None:
            if at == place and threading.current_thread().name == "slow":
                asleep.set()
                assert wake.wait(30)

        with faults.install(sleep):
            slow = threading.Thread(target=lambda: decide(open_dynamo(), load), name="slow")  # noqa: B023
            slow.start()
            assert asleep.wait(30)
            number = open_dynamo().head() + 1  # somebody else finishes it, and goes on
            removed = (file.path,)
            open_dynamo().record(Decision("p", number, "retract", SHAPE, retired=(load.id,), removed=removed))
            open_dynamo().forget_files([file.path])
            wake.set()
            slow.join()
        assert state(ledger, load) is LoadState.RETIRED
        assert [f.path for f in ledger.files("data")] == [f"data/{first.id}.parquet"]
        assert (ledger.known_paths("data"), ledger.pending()) == ({f"data/{first.id}.parquet"}, set())
        assert_agreement(ledger)


def test_a_publisher_that_is_overtaken_while_it_adds_up_is_refused(open_dynamo: Callable[[], DynamoLedger]) -> None:
    ledger = open_dynamo()
    first, second = stood(ledger, "A"), pin(ledger, "B")
    file, old = stage(ledger, second), f"data/{first.id}.parquet"
    decision = Decision("p", 2, "publish", SHAPE, (second.id,), (first.id,), (), (file.path,), (old,))
    overtaken: list[str] = []

    def overtake(at: str) -> None:
        if at == "ledger.looked-up" and not overtaken:
            overtaken.append(at)
            open_dynamo().record(decision)

    with faults.install(overtake), pytest.raises(RevisionRefused, match="HR526"):
        ledger.record(decision)
    assert open_dynamo().head() == 2
    assert_agreement(open_dynamo())


# -- the lease ---------------------------------------------------------------------------------------------------


def test_one_publisher_holds_the_lease_and_the_next_hears_who(open_dynamo: Callable[[], DynamoLedger]) -> None:
    first, second = open_dynamo(), open_dynamo()
    assert holder(second) is None
    with exclusive(first, LEASE) as clean:
        assert clean and holder(second)
        with pytest.raises(LockHeld, match="HR521"), exclusive(second, LEASE, wait=0.3):
            pass
    with exclusive(second, LEASE) as clean:
        assert clean
    assert holder(first) is None


def test_who_left_in_trouble_gives_the_lease_back_and_is_remembered(open_dynamo: Callable[[], DynamoLedger]) -> None:
    with pytest.raises(ZeroDivisionError), exclusive(open_dynamo(), LEASE):
        raise ZeroDivisionError
    with exclusive(open_dynamo(), LEASE) as clean:
        assert not clean
    with exclusive(open_dynamo(), LEASE) as clean:
        assert clean


def test_of_many_who_want_the_lease_one_at_a_time_has_it(open_dynamo: Callable[[], DynamoLedger]) -> None:
    inside: list[int] = []
    most: list[int] = []

    def one(ledger: DynamoLedger) -> None:
        with exclusive(ledger, LEASE, wait=30):
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    together(*(partial(one, open_dynamo()) for _ in range(5)))
    assert most == [1] * 5


def test_a_publisher_whose_lease_was_taken_over_decides_nothing_any_more(
    open_dynamo: Callable[[], DynamoLedger], clock: ManualClock
) -> None:
    zombie, successor = open_dynamo(), open_dynamo()
    load = pin(zombie, "A")
    file = stage(zombie, load)
    decision = Decision("p", 1, "publish", SHAPE, (load.id,), adopted=(file.path,))
    with exclusive(zombie, LEASE):
        clock.advance(MINUTE * 7)
        with exclusive(successor, LEASE) as clean:
            assert not clean
            with pytest.raises(RevisionRefused, match="HR526"):
                zombie.record(decision)
            with pytest.raises(RevisionRefused, match="HR526"):
                zombie.settle(Settlement(abandoned=(load.id,)))
            assert (successor.head(), state(successor, load)) == (0, LoadState.STAGED)
            successor.record(decision)
        assert holder(successor) is None
    with exclusive(successor, LEASE) as clean:
        assert clean  # the zombie's end took nobody's lease
        assert_agreement(successor)


@pytest.mark.parametrize("dead", [False, True])
def test_a_message_that_is_told_of_a_later_load_just_when_it_is_judged_waits_for_that_one(
    open_dynamo: Callable[[], DynamoLedger], monkeypatch: pytest.MonkeyPatch, dead: bool
) -> None:
    slow, other = open_dynamo(), open_dynamo()
    first, second = pin(other, "A"), pin(other, "B", key="b")
    other.settle(Settlement(alerts=(Alert("name", first.id, "subject", "body"),)))
    if dead:
        other.bury(first.id, "HR451 broken", [])
    else:
        other.settle(Settlement(abandoned=(first.id,)))
    transact = slow.table.transact

    def late(writes: Any) -> None:
        monkeypatch.setattr(slow.table, "transact", transact)
        other.settle(Settlement(alerts=(Alert("name", second.id, "subject", "body"),)))
        transact(writes)

    monkeypatch.setattr(slow.table, "transact", late)
    slow.stand(0)
    assert [m["load"] for m in other.messages("waiting")] == [second.id]
    other.bury(second.id, "HR451 broken", [])
    other.stand(0)
    assert [m["load"] for m in other.messages()] == [second.id]
