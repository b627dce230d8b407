"""Questions for Athena: one statement in, its rows out. The lake's tables are Iceberg tables of the Glue database.

DuckDB's dialect is what people write everywhere else, so it is translated here. Results lie under the workgroup's own
prefix, where no notification sees them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from headrace.aws.declare.translate import to_athena
from headrace.aws.session import Session
from headrace.model.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

POLL = 0.3
"""Seconds between looks at a query that runs."""
PATIENCE = 900.0
"""Seconds after which a query is stopped."""
ALIKE = re.compile(r"\s*(show\s+tables|describe\s+\w+)\s*;?\s*", re.IGNORECASE)
EXPLAIN = re.compile(r"\s*explain\s+", re.IGNORECASE)
ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")


def ask(session: Session, workgroup: str, database: str, query: str, tables: Mapping[str, Collection[str]]) -> pa.Table:
    """The answer to one statement in DuckDB's dialect.

    Raises UsageError HR704 where Athena refuses it, HR705 where it takes too long; InfrastructureError HR80x.
    """
    client = session.client("athena")
    with session.wrapped(f"workgroup {workgroup}", "headrace status"):
        started = client.start_query_execution(
            QueryString=translated(query, tables), QueryExecutionContext={"Database": database}, WorkGroup=workgroup
        )["QueryExecutionId"]
        _wait(client, started)
        return _rows(client, started)


def translated(query: str, tables: Mapping[str, Collection[str]]) -> str:
    """DuckDB's SQL in Athena's words. `tables`: those that may be asked, with their columns.

    DESCRIBE and SHOW TABLES are alike in both. Raises UsageError HR807 for what Athena cannot do.
    """
    if ALIKE.fullmatch(query):
        return query.strip().rstrip(";")
    if explained := EXPLAIN.match(query):
        return f"EXPLAIN {to_athena(query[explained.end() :], tables)}"
    return to_athena(query, tables)


def _wait(client: Any, id: str) -> None:
    begun = time.monotonic()
    while True:
        status = client.get_query_execution(QueryExecutionId=id)["QueryExecution"]["Status"]
        if status["State"] in ENDED:
            break
        if time.monotonic() - begun > PATIENCE:
            client.stop_query_execution(QueryExecutionId=id)
            raise UsageError(
                "HR705", "query", f"took longer than {PATIENCE:g} s", "narrow it down by partition columns"
            )
        time.sleep(POLL)
    if status["State"] != "SUCCEEDED":
        said = str(status.get("StateChangeReason", status["State"]))
        raise UsageError("HR704", "query", f"Athena refused it: {said}", "change the query")


def _rows(client: Any, id: str) -> pa.Table:
    import pyarrow as pa

    names: list[str] = []
    kinds: list[str] = []
    columns: list[list[Any]] = []
    first = True
    for page in client.get_paginator("get_query_results").paginate(QueryExecutionId=id):
        result = page["ResultSet"]
        if first:
            info = result["ResultSetMetadata"]["ColumnInfo"]
            names, kinds = [c["Name"] for c in info], [str(c["Type"]) for c in info]
            columns = [[] for _ in info]
        rows = result["Rows"]
        # A SELECT's first row repeats the headers.
        header = first and rows and [cell.get("VarCharValue") for cell in rows[0]["Data"]] == names
        for row in rows[1:] if header else rows:
            for column, kind, cell in zip(columns, kinds, row["Data"], strict=True):
                column.append(value_of(kind, cell.get("VarCharValue")))
        first = False
    return pa.table(columns, names=names) if names else pa.table({})


def value_of(kind: str, text: str | None) -> Any:
    """A value from Athena's text, by its type; what has no Python type stays text."""
    if text is None:
        return None
    read = READERS.get(kind.partition("(")[0])
    return text if read is None else read(text)


def _instant(text: str) -> datetime:
    """`2025-01-01 00:00:00.000 UTC`, or the same without a zone."""
    plain, _, zone = text.rpartition(" ")
    return datetime.fromisoformat(f"{plain}+00:00") if zone == "UTC" else datetime.fromisoformat(text)


READERS: Mapping[str, Callable[[str], Any]] = {
    "tinyint": int,
    "smallint": int,
    "integer": int,
    "bigint": int,
    "float": float,
    "real": float,
    "double": float,
    "decimal": Decimal,
    "boolean": lambda text: text == "true",
    "date": date.fromisoformat,
    "timestamp": datetime.fromisoformat,
    "timestamp with time zone": _instant,
}
