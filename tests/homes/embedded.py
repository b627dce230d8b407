"""The embedded twin: what came to the bucket comes to a folder, at the times that S3 says, and is worked on here."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from headrace.engine import ingest
from headrace.engine.home import Home
from headrace.engine.publish import publish
from headrace.engine.reconcile import scan
from headrace.engine.settings import Settings
from headrace.local.clock import ManualClock
from headrace.local.target import LocalTarget
from headrace.model.loads import Event
from headrace.model.pipeline import Keyed, Lake, Pipeline
from law.children import HereChild

from .facts import Facts, facts

SETTINGS = Settings(threads=1, memory_limit="400MB")


class Embedded:
    """One pipeline in a folder of its own. Time passes when it is told to, so that nothing waits."""

    def __init__(self, root: Path, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.clock = ManualClock(datetime.now(UTC) + timedelta(days=1))
        self.target = LocalTarget(root, SETTINGS, self.clock)
        self.home: Home = self.target.home(pipeline)

    def put(self, key: str, body: bytes, created: datetime) -> None:
        """Whole, and with that creation time."""
        path, following = self.target.landing / key, self.target.root / "next"
        path.parent.mkdir(parents=True, exist_ok=True)
        following.write_bytes(body)
        os.utime(following, ns=(int(created.timestamp() * 1_000_000_000),) * 2)
        following.rename(path)

    def delete(self, key: str) -> None:
        (self.target.landing / key).unlink()

    def redrive(self, keys: Iterable[str]) -> None:
        self.home.queue.put([Event(self.pipeline.name, key, "redrive") for key in keys])

    def quiet(self) -> None:
        """Scan and work until nothing is left to do."""
        for _ in range(8):
            scan(self.home)
            self.clock.advance(timedelta(hours=2))
            while leases := self.home.queue.lease(self.pipeline.name, 100, timedelta(minutes=5)):
                ingest.ingest(self.home, HereChild(), leases)
            publish(self.home)
            if scan(self.home) == len(self.home.ledger.held()):
                return
        raise AssertionError("the embedded twin never became quiet")

    def facts(self, prefix: str) -> Facts:
        return facts(self.home, prefix, self._lake(), self._items())

    def _lake(self) -> list[dict[str, Any]]:
        from pyiceberg.catalog.sql import SqlCatalog
        from pyiceberg.exceptions import NoSuchTableError

        [sink] = [s for s in self.pipeline.sinks if isinstance(s, Lake)]
        root = self.target.root
        catalog = SqlCatalog("headrace", uri=f"sqlite:///{root / 'catalog.db'}", warehouse=root.as_uri())
        try:
            rows: list[dict[str, Any]] = catalog.load_table(("lake", sink.table)).scan().to_arrow().to_pylist()
            return rows
        except NoSuchTableError:
            return []
        finally:
            catalog.engine.dispose()

    def _items(self) -> list[dict[str, Any]]:
        [sink] = [s for s in self.pipeline.sinks if isinstance(s, Keyed)]
        writer: Any = self.home.writers[sink.table]
        if not writer.path.exists():
            return []
        with closing(sqlite3.connect(f"file:{writer.path}?mode=ro", uri=True)) as db:
            if not db.execute("select 1 from sqlite_master where name = 'items'").fetchone():
                return []
            keys = [k for (k,) in db.execute(f"select distinct {writer.key[0]} from items")]
        return [row for key in keys for row in writer.get(sink.table, key)]

    def close(self) -> None:
        self.target.close()
