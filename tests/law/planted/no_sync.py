"""A planted bug: importing this makes a child write its Parquet files without syncing anything."""

from headrace.engine import base

base.sync = lambda root, paths: None
