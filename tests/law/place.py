"""One pipeline in a folder of its own, for trials that are told as stories: files come and go, then it is quiet."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from headrace import Pipeline, Record, files, keyed, lake
from headrace.engine import ingest
from headrace.engine.faults import install
from headrace.engine.home import Home
from headrace.engine.publish import publish
from headrace.engine.reconcile import scan
from headrace.engine.settings import Settings
from headrace.local.clock import ManualClock
from headrace.local.notify import FileNotifier
from headrace.local.target import LocalTarget
from headrace.model.loads import Load
from headrace.model.pipeline import Keyed, Lake

from .check import base_rows, rows_in
from .children import HereChild
from .coming import START, put


class Item(Record, key="k"):
    """The last of several rows with one key stands."""

    k: int
    v: int


class Place:
    """A root and the definition that is at home there now; `define` changes it, as an edited file would."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = ManualClock(datetime.now(UTC) + timedelta(days=1))  # so that no file looks fresh
        self.said = StringIO()
        self.target: LocalTarget | None = None
        self.define()

    def define(
        self,
        record: type[Record] = Item,
        sinks: tuple[Lake | Keyed, ...] = (lake("items"), keyed("by_key")),
        **source: Any,
    ) -> None:
        """Open the root under this definition."""
        self.close()
        self.target = LocalTarget(self.root, Settings(threads=1, memory_limit="400MB"), self.clock)
        home = self.target.home(Pipeline("p", source=files("in/", **source), record=record, sinks=sinks))
        notifier = FileNotifier(self.root / "logs" / "notifications.jsonl", self.clock, stream=self.said)
        self.home: Home = replace(home, notifier=notifier)

    def close(self) -> None:
        if self.target is not None:
            self.target.close()

    # -- what happens --------------------------------------------------------------------------------------------

    def put(self, name: str, text: str, minute: int = 0) -> None:
        """Let `in/name` be this text, written in that minute; rows are separated by spaces, headed by k,v."""
        body = text if "\n" in text else "\n".join(["k,v", *text.split()]) + "\n"
        put(self.root / "landing", f"in/{name}", body, START + timedelta(minutes=minute))

    def remove(self, *names: str) -> None:
        for name in names:
            (self.root / "landing" / "in" / name).unlink()

    def rename(self, old: str, new: str) -> None:
        (self.root / "landing" / "in" / old).rename(self.root / "landing" / "in" / new)

    def quiet(self) -> None:
        """Scan and work until there is nothing left to do but what waits for a person."""
        for _ in range(6):
            scan(self.home)
            self.clock.advance(timedelta(hours=2))
            self.work()
            publish(self.home)
            if scan(self.home) == len(self.home.ledger.held()):
                return
        raise AssertionError("it never became quiet")

    def killed_at(self, name: str) -> None:
        """Be quiet, but die at that point."""

        def die(passed: str) -> None:
            if passed == name:
                raise KeyboardInterrupt

        with install(die), pytest.raises(KeyboardInterrupt):
            self.quiet()

    def work(self) -> None:
        """Take every event that waits."""
        while leases := self.home.queue.lease("p", 100, timedelta(minutes=5)):
            ingest.ingest(self.home, HereChild(), leases)

    # -- what is there -------------------------------------------------------------------------------------------

    def rows(self) -> dict[int, tuple[int, str]]:
        """k → (v, file), the same in every sink."""
        found = [sorted(rows_in(self.home, sink), key=str) for sink in self.home.writers]
        assert all(rows == found[0] for rows in found), f"the sinks differ: {found}"
        shown = {k: (v, file.removeprefix("in/")) for k, v, _, file, _ in found[0]}
        assert len(shown) == len(found[0]), "a key is there twice"
        return shown

    def losers(self) -> list[tuple[int, int, str, str]]:
        """(k, v, file, verdict) of accepted rows that another row with their key keeps away."""
        found = base_rows(self.home, "losers", "k", "v", "_source_file", "_verdict")
        return sorted((k, v, file.removeprefix("in/"), verdict) for k, v, file, verdict in found)

    def load(self, name: str) -> Load:
        """What stands under a name, or was skipped."""
        return self.home.ledger.standing()[f"in/{name}"]

    def history(self, name: str) -> list[str]:
        """The states of every load there ever was under a name."""
        ledger: Any = self.home.ledger
        return [str(x.state) for x in ledger.history(f"in/{name}")]

    def pairs(self) -> list[tuple[int, int]]:
        """(k, v) of every row in the first sink, for records with another key than k."""
        return sorted((k, v) for k, v, *_ in rows_in(self.home, next(iter(self.home.writers))))

    def widths(self) -> dict[int, int | None]:
        """k → w, the same in every sink."""
        found = [{k: w for k, _, w, *_ in rows_in(self.home, sink)} for sink in self.home.writers]
        assert all(rows == found[0] for rows in found), f"the sinks differ: {found}"
        return found[0]
