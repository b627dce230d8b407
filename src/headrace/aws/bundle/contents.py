"""What belongs into a function's package: which libraries, which files of them, and what of `headrace.toml`.

Lambda takes 250 MB unzipped, and reads what it imports at each cold start: so nothing rides along. Values and rules
alone; `package.py` and `libraries.py` act on them. tests/aws_home/test_package.py imports and runs what is left.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from headrace.aws.options import Role
from headrace.engine.settings import Settings

MOST_BYTES = 250 * 2**20
"""What a function's code may take unzipped (AWS Lambda quotas, "Deployment package size")."""

HANDLERS = "headrace.aws.handlers"

ENTRIES: dict[Role, tuple[str, ...]] = {
    "ingest": (HANDLERS, "headrace.engine.child", "headrace.engine.stage", "headrace.formats.open"),
    "publish": (
        *(HANDLERS, "headrace.engine.publish", "headrace.engine.loop"),
        *("headrace.aws.metadata", "headrace.sinks.lake", "headrace.sinks.snapshot"),
    ),
}
"""Modules that a function needs until it has done its first work, those that are imported by a text's name included."""

NOT_THERE = ("headrace.cli", "headrace.local", "headrace.project", "headrace.server")
"""Parts of Headrace that no function has a use for, although `headrace.open_project` names one."""

_BOTH = ("botocore", "duckdb", "jmespath", "python-dateutil", "six", "tzdata", "urllib3")
_ICEBERG = (
    *("annotated-types", "cachetools", "mmh3", "pydantic", "pydantic-core", "pyiceberg", "pyparsing", "strictyaml"),
    *("typing-extensions", "typing-inspection", "zstandard"),
)
LIBRARIES: dict[Role, tuple[str, ...]] = {
    "ingest": (
        *("charset-normalizer", "fastexcel", "msgspec", "pyarrow", "typing-extensions", "zstandard"),
        *_BOTH,
    ),
    "publish": (*_BOTH, *_ICEBERG),
}
"""By their names in the lock."""

SERVICES = ("dynamodb", "glue", "s3", "sns", "sqs", "sts")
"""AWS's own that a function calls: botocore holds the models of 400 others."""

_PYARROW = (
    r"(include|includes|src|tests)/",
    r".*\.(pyx|pxi|pxd|h|cc|cmake)$",
    r"lib\w+\.so$",  # for linkers; the loader asks for the versioned name
    r"libarrow_python\w*\.so\.\d+\.\d+\.\d+$",  # the same bytes as the shorter name
    r"(lib|_)?(arrow_)?(python_)?(flight|s3|s3fs|gcsfs|azurefs|hdfs|orc|dataset_orc|feather|pyarrow_cpp_tests)\b",
    r"libarrow_(flight|s3|python_flight|python_parquet_encryption)\.",
    r"_(substrait|parquet_encryption|dataset_parquet_encryption)\.",
    r"(orc|feather|substrait|jvm|cuda|flight)\.py$",
    r"parquet/encryption\.py$",
)
_LEFT_OUT: dict[str, tuple[str, ...]] = {
    "botocore": (
        rf"botocore/data/(?!({'|'.join(SERVICES)})/)[^/]+/",
        r"botocore/data/.*/examples-1\.json$",
    ),
    "duckdb": (r"_duckdb-stubs/", r"adbc_driver_duckdb/", r"duckdb/experimental/"),
    "python-dateutil": (r"dateutil/zoneinfo/",),
    "pyarrow": tuple(f"pyarrow/{pattern}" for pattern in _PYARROW),
    "pydantic": (r"pydantic/v1/", r"pydantic/mypy\.py"),
    "pyiceberg": (
        r"(hive_metastore|fb303|vendor|tests)/",
        r"pyiceberg/(cli|catalog/(?!__init__|noop)|io/(fsspec|pyarrow))",
    ),
    "zstandard": (r"zstandard/(_cffi\.|backend_cffi)",),
}
"""By library: files of its wheel that no function reads."""

_ALWAYS_OUT = re.compile(
    r"(^|/)__pycache__/|\.(py[cio]|pxd|h|lib|a)$|(^|/)py\.typed$|\.dist-info/(?!METADATA$|licenses/|LICEN[CS]E|NOTICE)"
)
_PLACED = re.compile(r"^[^/]+\.data/(purelib|platlib)/")
_NOT_PLACED = re.compile(r"^[^/]+\.data/")


def place(library: str, name: str) -> str | None:
    """Where a file of a library's wheel goes in the package; None for what is left out."""
    name = _PLACED.sub("", name)
    if _NOT_PLACED.match(name) or _ALWAYS_OUT.search(name):
        return None
    return None if any(re.match(pattern, name) for pattern in _LEFT_OUT.get(library, ())) else name


_WANTED = frozenset(
    {
        *("architecture", "concurrency", "kind", "lake_bucket", "landing_bucket", "region", "scan_every", "stack"),
        *("ingest_memory", "ingest_storage", "ingest_timeout"),
        *("publish_memory", "publish_storage", "publish_timeout"),
        *(f.name for f in fields(Settings)),
    }
)
"""Keys of a target that a function reads. Whatever else stands in headrace.toml stays on the machine that deploys."""


def project_file(project: Mapping[str, Any], targets: Mapping[str, Mapping[str, Any]]) -> str:
    """The `headrace.toml` of a package: the targets on AWS, and of them what functions need."""
    lines = ["[project]", *_keys({k: v for k, v in project.items() if k in ("module", "name")})]
    for name, table in sorted(targets.items()):
        if table.get("kind") == "aws":
            lines += ["", f"[targets.{_text(name)}]", *_keys({k: v for k, v in table.items() if k in _WANTED})]
    return "\n".join(lines) + "\n"


def _keys(table: Mapping[str, Any]) -> list[str]:
    return [f"{name} = {_value(value)}" for name, value in sorted(table.items())]


def _value(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case str():
            return _text(value)
        case _:
            raise TypeError(f"{value!r} is neither a text nor a number")


def _text(text: str) -> str:
    """A basic string of TOML."""
    quoted = "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08X}" for c in text)
    return f'"{quoted}"'
