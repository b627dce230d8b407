"""What people query with: the Glue database, the Athena workgroup with its limit, and the project's saved queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from headrace.aws.declare.names import logical
from headrace.aws.declare.resources.scope import DATABASE, RESULTS, WORKGROUP, Scope, lakes_of
from headrace.aws.declare.resources.values import GlueDatabase, NamedQuery, Resource, Workgroup
from headrace.aws.declare.translate import to_athena
from headrace.contract.compile import compile_contract, partitions
from headrace.contract.query import columns_of
from headrace.model.contract import LINEAGE
from headrace.model.errors import UsageError
from headrace.model.pipeline import Pipeline

FOLDER = "queries"
"""Where a project keeps its queries: one SELECT per `.sql` file."""

LONGEST = 262_144
"""Characters that Athena takes as a query."""


def read_queries(directory: Path) -> dict[str, str]:
    """The project's saved queries, by name, in the order of names."""
    return {path.stem: path.read_text("utf-8") for path in sorted((directory / FOLDER).glob("*.sql"))}


def query(scope: Scope, pipelines: Sequence[Pipeline], queries: Mapping[str, str]) -> Iterator[Resource]:
    """Database and workgroup, then one named query for each saved one that Athena can run."""
    tables = {table: columns for p in pipelines for table, columns in _tables(p).items()}
    said, left_out = _translated(queries, tables)
    why = "Tables of the lake. The first revision of each makes it: no crawler, no repair."
    yield GlueDatabase(**{**scope.shared(DATABASE, why), "tags": ()}, keep=True, name=scope.names.database)
    yield Workgroup(
        **scope.shared(WORKGROUP, "Athena for people: no query scans more than its limit; answers stay 7 days."),
        name=scope.names.workgroup,
        results=f"s3://{scope.lake}/{RESULTS}/",
        limit=scope.options.query_limit,
        left_out=left_out,
    )
    for name, sql in said.items():
        yield NamedQuery(
            **{**scope.shared(logical(name, "Query"), _purpose(queries[name])), "tags": ()},
            extra=True,
            name=name,
            database=f"${{{DATABASE}}}",
            workgroup=f"${{{WORKGROUP}}}",
            sql=sql.replace("${", "${!"),
        )


def _tables(pipeline: Pipeline) -> dict[str, list[str]]:
    rows = [*columns_of(compile_contract(pipeline)), *partitions(pipeline), *LINEAGE]
    return {sink.table: [name for name, _ in rows] for sink in lakes_of(pipeline)}


def _translated(
    queries: Mapping[str, str], tables: Mapping[str, Sequence[str]]
) -> tuple[dict[str, str], dict[str, str]]:
    said, left_out = {}, {}
    for name, text in queries.items():
        try:
            sql = to_athena(text, tables)
        except UsageError as exc:
            left_out[name] = exc.found
            continue
        if len(sql) <= LONGEST:
            said[name] = sql
        else:
            left_out[name] = f"is longer than {LONGEST:,} characters"
    return said, left_out


def _purpose(text: str) -> str:
    """The comment that a query begins with."""
    first = text.lstrip().split("\n", 1)[0]
    return first.removeprefix("--").strip()[:1024] if first.startswith("--") else "A saved query of the project."
