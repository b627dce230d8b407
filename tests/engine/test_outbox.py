"""Messages to people: who is told what, also where nothing can be decided, or nobody could be reached at first."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from headrace import Record, keyed, lake
from headrace.engine import faults, log
from headrace.engine.deliver import MOST
from headrace.engine.home import Home
from headrace.engine.loop import serve
from headrace.engine.publish import publish
from headrace.engine.sandbox import InProcess
from headrace.model.errors import InfrastructureError, MessageRefused, Outgrown
from headrace.model.loads import Alert, Event, Settlement
from law.place import Place

BROKEN = "no,such\n1,2\n"


def staged(place: Place, name: str, text: str) -> Home:
    """The home, with a file of this name staged and not decided."""
    place.put(name, text)
    place.home.queue.put([Event("p", f"in/{name}")])
    place.work()
    return place.home


class Mute:
    """A notifier that cannot reach anybody at first."""

    def __init__(self) -> None:
        self.works = False
        self.said: list[str] = []

    def send(self, subject: str, body: str, attributes: Mapping[str, str]) -> None:
        if not self.works:
            raise InfrastructureError("HR307", "mail", "no route to host", "it is tried again")
        self.said.append(subject)


def test_a_failing_notifier_fails_no_data_and_its_messages_wait(place: Place) -> None:
    mute = Mute()
    place.home = replace(place.home, notifier=mute)
    place.put("a.csv", "1,1", minute=1)
    place.put("b.csv", "1,1", minute=2)
    place.quiet()
    assert place.rows() == {1: (1, "b.csv")}
    mute.works = True
    publish(place.home)
    publish(place.home)
    assert len(mute.said) == len(set(mute.said)) > 0
    assert all("has the same bytes as" in subject for subject in mute.said)


class Choosy:
    """A notifier that takes what is said but for some messages, of which it says why."""

    def __init__(self, home: Home, **refused: Exception) -> None:
        self.home, self.refused = home, refused
        self.said: list[tuple[int, str]] = []

    def send(self, subject: str, body: str, attributes: Mapping[str, str]) -> None:
        """Notes the revision that was the newest then."""
        if subject in self.refused:
            raise self.refused[subject]
        self.said.append((self.home.ledger.head(), subject))


def let_wait(home: Home, *names: str) -> None:
    home.ledger.settle(Settlement(alerts=tuple(Alert(name, "", name, "body") for name in names)))


def test_no_row_waits_for_messages_however_many_there_are(place: Place) -> None:
    home = staged(place, "a.csv", "1,1")
    home = replace(home, notifier=(choosy := Choosy(home)))
    names = [f"{n:03}" for n in range(2 * MOST + 1)]
    let_wait(home, *names)
    for sent in (MOST, 2 * MOST, 2 * MOST + 1):
        home.bell.take()
        publish(home)
        assert (len(choosy.said), home.bell.rung) == (sent, sent % MOST == 0)
    assert choosy.said == [(1, name) for name in names], "a message came before what could be decided"


def test_a_message_that_is_refused_for_good_keeps_no_other_back_and_is_told_in_the_log(place: Place) -> None:
    refused = MessageRefused("HR805", "topic", "Publish was refused: Subject", "it is not sent again")
    place.home = replace(place.home, notifier=(choosy := Choosy(place.home, bad=refused)))
    let_wait(place.home, "first", "bad", "last")
    said: list[tuple[str, Mapping[str, Any]]] = []
    with log.listening(lambda what, fields: said.append((what, fields)), logging.ERROR):
        publish(place.home)
        publish(place.home)
    words = {"name": "bad", "subject": "bad", "body": "body", "pipeline": "p", "error": str(refused)}
    assert said == [("notify.refused", words)]
    assert [subject for _, subject in choosy.said] == ["first", "last"] and place.home.ledger.messages() == []


def test_a_message_that_may_pass_later_keeps_its_place(place: Place) -> None:
    away = InfrastructureError("HR804", "topic", "Publish is still throttled", "it is sent again")
    place.home = replace(place.home, notifier=(choosy := Choosy(place.home, second=away)))
    let_wait(place.home, "first", "second", "third")
    publish(place.home)
    assert not place.home.bell.rung, "it would be tried again at once, and for ever"
    choosy.refused.clear()
    publish(place.home)
    assert [subject for _, subject in choosy.said] == ["first", "second", "third"]


def full(name: str) -> None:
    if name == "publish.resolved":
        raise InfrastructureError("HR519", name, "no space left on the disk", "try again")


def test_people_are_told_although_nothing_can_be_decided(place: Place) -> None:
    home = staged(place, "a.csv", "1,1")
    home = replace(home, notifier=(choosy := Choosy(home)))
    let_wait(home, "the disk is full")
    publish(home)
    staged(place, "b.csv", "2,2")
    let_wait(home, "it still is")
    home.ledger.stand(1)
    with faults.install(full), pytest.raises(InfrastructureError, match="HR519"):
        publish(home)
    assert [subject for _, subject in choosy.said] == ["the disk is full", "it still is"]


# -- while the definition waits for a replay ---------------------------------------------------------------------


class Fine(Record, key=("k", "v")):
    """Another key than what stands has: new loads wait until that was replayed."""

    k: int
    v: int


def test_who_waits_for_a_replay_is_told_of_what_cannot_load(place: Place) -> None:
    place.put("a.csv", "1,10", minute=1)
    place.quiet()
    place.define(Fine)
    place.put("c.csv", "3,3", minute=2)
    with pytest.raises(Outgrown, match="HR240"):
        place.quiet()
    place.put("a.csv", BROKEN, minute=3)
    place.put("b.csv", BROKEN, minute=4)
    for _ in range(2):
        with pytest.raises(Outgrown, match="HR240"):
            place.quiet()
    assert [place.said.getvalue().count(f"in/{name} cannot load") for name in ("a.csv", "b.csv")] == [1, 1]
    assert place.load("a.csv").stale
    assert place.home.ledger.hints() == {}, "what is settled is not looked at for ever"
    place.define()
    place.quiet()
    assert place.rows() == {1: (10, "a.csv"), 3: (3, "c.csv")}


def test_a_sink_that_waits_for_a_replay_keeps_no_message_back(place: Place) -> None:
    place.put("a.csv", "1,10", minute=1)
    place.quiet()
    place.define(Fine, sinks=(lake("items"), keyed("other")))
    place.put("b.csv", BROKEN, minute=2)
    with pytest.raises(Outgrown, match="HR240"):
        place.quiet()
    assert "in/b.csv cannot load" in place.said.getvalue()


def test_what_was_overtaken_while_it_waits_for_a_replay_is_abandoned_and_its_key_read_again(place: Place) -> None:
    place.put("a.csv", "1,10", minute=1)
    place.quiet()
    place.define(Fine)
    staged(place, "b.csv", "2,2")
    staged(place, "c.csv", "3,3")
    place.put("c.csv", "3,4", minute=4)
    with pytest.raises(Outgrown, match="HR240"):
        publish(place.home)
    assert place.history("c.csv") == ["abandoned"]
    place.work()
    assert place.history("c.csv") == ["abandoned", "staged"]


# -- what is gone and waits for a person -------------------------------------------------------------------------


def crowd(place: Place) -> list[str]:
    """Files that stand under `retract`, of which more than the guard lets go at once."""
    place.define(on_delete="retract")
    names = [f"{i:02}.csv" for i in range(40)]
    for i, name in enumerate(names):
        place.put(name, f"{i},{i}", minute=i)
    place.quiet()
    return names


def warnings(place: Place) -> list[str]:
    """How many objects each message says to be gone, in order."""
    lines = place.said.getvalue().splitlines()
    return [line.split()[2] for line in lines if "objects are gone and wait for you" in line]


def test_each_growth_of_what_is_held_is_told_and_nothing_twice(place: Place) -> None:
    names = crowd(place)
    for first, last in ((0, 12), (12, 30)):
        place.remove(*names[first:last])
        for _ in range(2):
            place.quiet()
    assert warnings(place) == ["12", "30"]


def test_what_came_back_and_is_gone_again_is_told_again(place: Place) -> None:
    names = crowd(place)[:12]
    landing, aside = place.root / "landing" / "in", place.root / "aside"
    aside.mkdir()
    for start, end in ((landing, aside), (aside, landing), (landing, aside)):
        for name in names:
            (start / name).rename(end / name)
        place.quiet()
    assert warnings(place) == ["12", "12"]


class Died(BaseException):
    pass


@pytest.mark.parametrize("where", ["hold", "publish.resolved"])
def test_what_is_held_is_told_whenever_the_publisher_dies(place: Place, where: str) -> None:
    names = crowd(place)
    place.remove(*names[:12])
    place.put("new.csv", "99,99", minute=99)
    home = place.home

    class Dying:
        """The ledger of a process that dies before it holds anything."""

        def __getattr__(self, name: str) -> Any:
            if name == where:
                raise Died
            return getattr(home.ledger, name)

    def die(name: str) -> None:
        if name == where:
            raise Died

    place.home = replace(home, ledger=Dying())  # type: ignore[arg-type]
    with faults.install(die), pytest.raises(Died):
        place.quiet()
    place.home = home
    place.quiet()
    assert len(home.ledger.held()) == 12
    assert set(warnings(place)) == {"12"}


def test_what_is_held_while_the_definition_waits_is_told(place: Place) -> None:
    names = crowd(place)
    place.define(Fine, on_delete="retract")
    place.remove(*names[:12])
    place.put("new.csv", "99,99", minute=99)
    with pytest.raises(Outgrown, match="HR240"):
        place.quiet()
    assert warnings(place) == ["12"]


# -- while `up` serves, and nothing arrives ----------------------------------------------------------------------


class Late(Mute):
    """Reaches nobody the first time. `told` is set once it has said something."""

    def __init__(self) -> None:
        super().__init__()
        self.told = threading.Event()

    def send(self, subject: str, body: str, attributes: Mapping[str, str]) -> None:
        try:
            super().send(subject, body, attributes)
            self.told.set()
        finally:
            self.works = True


@contextmanager
def up(home: Home) -> Iterator[None]:
    stop = threading.Event()
    home = replace(home, settings=replace(home.settings, scan_every=0.05, workers=1))
    serving = threading.Thread(target=serve, args=([home], InProcess, stop))
    serving.start()
    try:
        yield
    finally:
        stop.set()
        serving.join()


def test_what_could_not_be_sent_is_sent_with_the_next_scan(place: Place) -> None:
    late = Late()
    place.put("a.csv", BROKEN)
    with up(replace(place.home, notifier=late)):
        assert late.told.wait(30), "nobody asked for it"
    assert late.said == ["p: in/a.csv cannot load"]


def test_what_cannot_be_archived_is_told_at_once(place: Place) -> None:
    place.define(after="archive")
    (place.root / "archive").write_text("in the way")
    late = Late()
    late.works = True
    place.put("a.csv", "1,10")
    with up(replace(place.home, notifier=late)):
        assert late.told.wait(30), "nobody asked for it"
    assert late.said == ["p: 1 objects could not be archived"]
