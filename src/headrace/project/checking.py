"""What a run would do, without a run: definitions tried on empty tables, files staged into a folder thrown away.

`check --against` goes the very way of a run up to the point where a load would be recorded, so it cannot disagree with
one. It touches neither the landing folder nor the ledger.
"""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from headrace.contract.compile import compile_contract, partitions
from headrace.contract.headers import bind_headers, extra_headers
from headrace.engine.ingest import Child
from headrace.engine.job import Input, Job
from headrace.engine.sandbox import Sandbox
from headrace.engine.settings import Settings
from headrace.model.contract import LINEAGE, Column, Contract
from headrace.model.errors import BadObject, DefinitionError
from headrace.model.words import count
from headrace.project.arriving import keys_for, short_name
from headrace.project.values import rows_of

if TYPE_CHECKING:
    from headrace.model.pipeline import Pipeline

BATCH_FILES = 200


@dataclass(frozen=True, slots=True)
class Described:
    """One pipeline as `check` tells it: each column with what it is and where it comes from."""

    pipeline: str
    columns: tuple[tuple[str, str, str], ...]  # name, DuckDB type, origin
    key: tuple[str, ...]
    sinks: tuple[str, ...]
    notes: tuple[str, ...] = ()  # what is allowed but costs something


@dataclass(frozen=True, slots=True)
class Checked:
    """Every error of every definition, or what they say."""

    errors: tuple[DefinitionError, ...]
    pipelines: tuple[Described, ...]


@dataclass(frozen=True, slots=True)
class KeyEvidence:
    """Whether the key identifies rows: how many it tells apart, and two rows that collide and differ."""

    columns: tuple[str, ...]
    rows: int
    distinct: int
    collision: tuple[dict[str, Any], dict[str, Any]] | None = None

    def __str__(self) -> str:
        key = f"key ({', '.join(self.columns)})"
        if self.distinct == self.rows:
            return f"{key} identifies {'the one row' if self.rows == 1 else f'all {self.rows:,} rows'}"
        return f"{key} identifies only {self.distinct:,} of {count(self.rows, 'row')}"


@dataclass(slots=True)
class Against:
    """What a run of these files would do. `bindings` counts, per column, in how many files which header feeds it."""

    pipeline: str
    files: int = 0
    read: int = 0
    accepted: int = 0
    rejected: int = 0
    filtered: int = 0
    bindings: dict[str, dict[str, int]] = field(default_factory=dict)
    extra: dict[str, int] = field(default_factory=dict)
    failed: list[tuple[str, str]] = field(default_factory=list)
    passed_over: list[tuple[str, list[str]]] = field(default_factory=list)  # members of a zip that would not be read
    reasons: list[dict[str, Any]] = field(default_factory=list)
    key: KeyEvidence | None = None


def check(pipelines: Mapping[str, Pipeline]) -> Checked:
    """Bind all SQL of all pipelines. Nothing is opened but an in-memory engine."""
    from headrace.contract.bind import check_definition

    errors = [error for pipeline in pipelines.values() for error in check_definition(pipeline)]
    return Checked(tuple(errors), () if errors else tuple(_described(p) for p in pipelines.values()))


def _described(pipeline: Pipeline) -> Described:
    contract = compile_contract(pipeline)
    columns = tuple((c.name, c.type.sql, _origin(c)) for c in contract.columns)
    flags = tuple((r.name, "BOOLEAN", f"flag: {r.when}") for r in contract.rules if r.kind == "flag")
    sinks = tuple(f"{type(s).__name__.lower()} {s.table}" for s in pipeline.sinks)
    return Described(pipeline.name, columns + flags, contract.key, sinks, tuple(_notes(pipeline, contract)))


def _notes(pipeline: Pipeline, contract: Contract) -> Iterator[str]:
    """Partitions that the key does not determine make every load look for its keys in all of them."""
    for name, sql in partitions(pipeline) if contract.key or contract.dedupe == "row" else ():
        words = set(re.findall(r"\w+", sql))
        if not words & set(contract.key):
            yield f"partition {name!r} is no function of the key: each load compares its keys with every partition"


def _origin(column: Column) -> str:
    if column.sql is not None:
        return f"= {column.sql}"
    if column.path:
        source = f"JSON {column.path}"
    else:
        source = " or ".join(f"header {h!r}" for h in column.headers or (column.name,))
    words = [source]
    if column.default is not None:
        words.append(f"else {column.default!r}")
    elif column.default_sql is not None:
        words.append(f"else {column.default_sql}")
    elif column.optional:
        words.append("may be absent")
    elif column.nullable:
        words.append("may be empty")
    return ", ".join(words)


def check_against(pipeline: Pipeline, paths: Sequence[str | Path], settings: Settings, project: str) -> Against:
    """Stage local files as a run would, count what comes out, and look whether the key identifies rows."""
    contract = compile_contract(pipeline)
    files = keys_for(pipeline.source, paths)
    found = Against(pipeline.name, len(files))
    with tempfile.TemporaryDirectory(prefix="headrace-check-") as folder:
        root = Path(folder).resolve()
        (root / "spool").mkdir()
        with Sandbox(settings, writable=[root]) as child:
            for keys in _batches(list(files)):
                copies = _copies({k: files[k] for k in keys}, root / "spool")
                _bind(found, contract, copies, root, settings, child)
                _stage(found, pipeline, contract, copies, root, settings, child, project)
                for copy in copies.values():
                    copy.unlink()
        _judge(found, contract, root, settings)
    return found


def _batches(keys: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(keys), BATCH_FILES):
        yield keys[start : start + BATCH_FILES]


def _copies(files: Mapping[str, Path], spool: Path) -> dict[str, Path]:
    """The files under names in the spool: the child gets to see nothing else."""
    copies = {key: spool / f"{i}-{short_name(path)}" for i, (key, path) in enumerate(files.items())}
    for key, copy in copies.items():
        shutil.copyfile(files[key], copy)
    return copies


def _bind(
    found: Against, contract: Contract, files: Mapping[str, Path], root: Path, settings: Settings, child: Child
) -> None:
    """Which header feeds which column, file by file; what is no table at all is told by staging."""
    if not found.bindings:
        found.bindings = {c.name: {} for c in contract.columns if c.sql is None}
    payload = {
        "contract": contract.to_dict(),
        "files": {key: str(path) for key, path in files.items()},
        "scratch": str(root / "spool"),
        "memory_limit": settings.memory_limit,
        "threads": settings.threads,
    }
    for headers in child.call(f"{__name__}:read_headers", payload, settings.child_timeout)["headers"]:
        bound = bind_headers(contract, headers)
        for name, seen in found.bindings.items():
            header = headers[bound[name]] if name in bound else ""
            seen[header] = seen.get(header, 0) + 1
        for index in extra_headers(headers, bound):
            found.extra[headers[index]] = found.extra.get(headers[index], 0) + 1


def read_headers(payload: dict[str, Any]) -> dict[str, Any]:
    """In the child: the headers of each file that can be opened and bound, as {"headers": [[…], …]}."""
    from headrace.engine.sql import engine_connection
    from headrace.formats.open import open_input
    from headrace.formats.rows import Item

    contract, scratch = Contract.from_dict(payload["contract"]), Path(payload["scratch"])
    headers: list[list[str]] = []
    with engine_connection(payload["memory_limit"], payload["threads"], [scratch], scratch) as db:
        for key, path in payload["files"].items():
            try:
                groups = open_input(db, contract, [Item(0, key, Path(path))], scratch, {})
                for rows in groups:
                    bind_headers(contract, rows.headers)
                    headers.append(list(rows.headers))
            except BadObject:
                continue  # staging meets it again, and tells
    return {"headers": headers}


def _stage(
    found: Against,
    pipeline: Pipeline,
    contract: Contract,
    files: Mapping[str, Path],
    root: Path,
    settings: Settings,
    child: Child,
    project: str,
) -> None:
    """Stage one batch below `root`; files that can never load are told, and the rest is staged without them."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    job = Job(
        contract=contract,
        inputs=tuple(Input(key, key, "", str(path), now) for key, path in files.items()),
        root=root,
        base="base",
        attempt=secrets.token_hex(8),
        partitions=partitions(pipeline),
        scratch=root / "spool",
        spool=root / "spool",
        project=project,
        memory_limit=settings.memory_limit,
        threads=settings.threads,
    )
    result = child.call("stage", job.to_dict(), settings.child_timeout)
    found.failed += [(bad["load"], bad["error"]) for bad in result["bad"]]
    for load in result["loads"]:
        if members := load["dialect"].get("passed_over"):
            found.passed_over.append((load["load"], members))
        for name in ("read", "accepted", "rejected", "filtered"):
            setattr(found, name, getattr(found, name) + load["counts"][name])


def _judge(found: Against, contract: Contract, root: Path, settings: Settings) -> None:
    with duckdb.connect(config={"memory_limit": settings.memory_limit, "threads": settings.threads}) as db:
        db.execute("SET TimeZone = 'UTC'")
        if _view(db, "rejected", root / "base" / "rejected"):
            query = (
                'SELECT rule, "column", reason, count(*) AS rows, min(value) AS value,'
                " min(_source_file || ':' || _source_row) AS example"
                " FROM rejected GROUP BY ALL ORDER BY rows DESC, 1, 2, 3"
            )
            found.reasons = db.sql(query).to_arrow_table().to_pylist()
        data, losers = _view(db, "data", root / "base" / "data"), _view(db, "losers", root / "base" / "losers")
        if contract.key and (data or losers):
            parts = [f"FROM {n}" for n, there in (("data", data), ("losers", losers)) if there]
            db.execute(f"CREATE VIEW accepted AS {' UNION ALL BY NAME '.join(parts)}")
            found.key = _key_evidence(db, contract)


def _key_evidence(db: duckdb.DuckDBPyConnection, contract: Contract) -> KeyEvidence:
    key = ", ".join(_quote(k) for k in contract.key)
    ((rows, distinct),) = db.execute(f"SELECT count(*), count(DISTINCT ({key})) FROM accepted").fetchall()
    if rows == distinct:
        return KeyEvidence(contract.key, rows, distinct)
    own = ", ".join(_quote(c.name) for c in contract.columns)
    # Rows that differ tell more than plain repetitions, so they are looked for first.
    pair = db.sql(
        f"WITH shared AS (SELECT {key} FROM accepted GROUP BY {key} HAVING count(*) > 1"
        f" ORDER BY count(DISTINCT ({own})) > 1 DESC LIMIT 1)"
        f" SELECT a.* FROM accepted a SEMI JOIN shared s ON {_same(contract.key)}"
        f" QUALIFY row_number() OVER (PARTITION BY {own} ORDER BY _source_file, _source_row) = 1"
        " ORDER BY _source_file, _source_row LIMIT 2"
    ).to_arrow_table()
    told = [c.name for c in contract.columns] + [n for n, _ in LINEAGE if n in ("_source_file", "_source_row")]
    shown = [{k: row[k] for k in told} for row in rows_of(pair)]
    return KeyEvidence(contract.key, rows, distinct, (shown[0], shown[1]) if len(shown) == 2 else None)


def _same(key: Sequence[str]) -> str:
    return " AND ".join(f"a.{_quote(k)} IS NOT DISTINCT FROM s.{_quote(k)}" for k in key)


def _view(db: duckdb.DuckDBPyConnection, name: str, folder: Path) -> bool:
    if next(folder.rglob("*.parquet"), None) is None:
        return False
    pattern = str(folder / "**" / "*.parquet").replace("'", "''")
    db.execute(f"CREATE VIEW {name} AS FROM read_parquet('{pattern}', union_by_name = true, hive_partitioning = false)")
    return True


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
