"""Records that people corrected: the part of the ledger that history is built on."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from datetime import datetime

from headrace.aws.ledger_rows import padded
from headrace.aws.table import Item, Table
from headrace.model.loads import Correction
from headrace.model.times import instant_of, text_of


class DynamoCorrections:
    """The corrections of one pipeline."""

    def __init__(self, table: Table, pipeline: str) -> None:
        self.table, self.pipeline = table, pipeline

    def correct(
        self, key: str, version: str, member: str, rows: Mapping[int, Mapping[str, str | None]], now: datetime
    ) -> None:
        """Store corrected records of one version: for each record its whole row, header → text."""
        at = {"key": key, "version": version, "member": member, "at": text_of(now)}
        self.table.batch_write(
            {"pk": pk, "sk": sk, **at, "record": record, "cells": zlib.compress(json.dumps(dict(cells)).encode())}
            for record, cells in rows.items()
            for pk, sk in [self._place(key, version, member, record)]
        )

    def corrections(self, key: str, version: str) -> list[tuple[str, int, dict[str, str | None]]]:
        """(member, record, header → text) of every correction that is bound to this version."""
        return [(c.member, c.record, dict(c.cells)) for c in self._corrections(f"{_digest(key)}/{version}/")]

    def stored_corrections(self, key: str | None = None) -> list[Correction]:
        """Every correction of the pipeline, or of one key, whichever version it is bound to."""
        return self._corrections("" if key is None else f"{_digest(key)}/")

    def _corrections(self, begins: str) -> list[Correction]:
        found = [_correction(item) for item in self.table.query(f"{self.pipeline}/correction", begins=begins)]
        return sorted(found, key=lambda c: (c.key, c.version, c.member, c.record))

    def drop_corrections(self, corrections: Iterable[Correction]) -> None:
        """Forget corrections: the object's own record counts again once it is read again."""
        self.table.batch_write(deletes=[self._place(c.key, c.version, c.member, c.record) for c in corrections])

    def corrected(self) -> set[tuple[str, str]]:
        """Key and version of everything that people corrected."""
        return {(str(x["key"]), str(x["version"])) for x in self.table.query(f"{self.pipeline}/correction")}

    def corrections_digest(self, key: str, version: str) -> str:
        """A name for the set of corrections of a version; empty when there are none."""
        found = self.corrections(key, version)
        return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16] if found else ""

    def _place(self, key: str, version: str, member: str, record: int) -> tuple[str, str]:
        return f"{self.pipeline}/correction", f"{_digest(key)}/{version}/{_digest(member)}/{padded(record)}"


def _correction(item: Item) -> Correction:
    cells = json.loads(zlib.decompress(item["cells"]))
    return Correction(item["key"], item["version"], item["member"], item["record"], cells, instant_of(item["at"]))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]
