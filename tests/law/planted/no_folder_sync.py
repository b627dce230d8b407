"""A planted bug: importing this makes a child sync the bytes of its Parquet files, but not their names."""

from headrace.engine import base


def sync_bytes(root, paths):  # type: ignore[no-untyped-def]
    for path in paths:
        base._fsync(root / path)


base.sync = sync_bytes
