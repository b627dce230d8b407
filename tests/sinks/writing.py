"""A process of its own that applies revisions, to be killed: `python -m sinks.writing LEDGER`, with tests/ on the path.

`LEDGER` is a pickle of (kind, root, revisions, rebuild): it says `ready` once everything is imported and no killed
writer is in the way, applies the revisions and says of each that it is done, then rebuilds if `rebuild` holds the
arguments for that.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headrace.aws.keyed import DynamoWriter
from headrace.local.catalog import SqliteCatalog
from headrace.local.folder import LocalFolder
from headrace.local.keyed import KeyedWriter
from headrace.sinks.lake import LakeWriter
from sinks.base_files import COLUMNS, KEY
from sinks.dynamo import open_dynamo, outlive
from sinks.glue import open_glue

PARTITIONS = (("year", "INTEGER", "year(seen)"),)

AnyWriter = KeyedWriter | LakeWriter | DynamoWriter


def local_lake(root: Path, partitions: Sequence[tuple[str, str]] = (), **given: Any) -> LakeWriter:
    """The lake of table `t` below a local root."""
    return LakeWriter(LocalFolder(root, "lake/t"), SqliteCatalog(root / "catalog.db", "t"), "t", partitions, **given)


def open_writer(kind: str, root: Path) -> AnyWriter:
    if kind in ("lake", "glue"):
        opened = local_lake if kind == "lake" else open_glue
        return opened(root, [(n, t) for n, t, _ in PARTITIONS], key=KEY, grace_seconds=0)
    if kind == "dynamo":
        return open_dynamo(root, KEY, COLUMNS)
    return KeyedWriter(root, root / "keyed" / "t.db", "t", KEY)


def main(ledger: str) -> None:
    kind, root, revisions, rebuild = pickle.loads(Path(ledger).read_bytes())
    writer = open_writer(kind, root)
    if isinstance(writer, LakeWriter):
        writer.warm()
        writer.number()
    if isinstance(writer, DynamoWriter):
        outlive(writer)
    print("ready", flush=True)
    for revision in revisions:
        writer.apply(revision)
        print(revision.number, flush=True)
    if rebuild:
        writer.rebuild(*rebuild)
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
