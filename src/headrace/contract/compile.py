"""From a Pipeline, which holds the user's classes, to a Contract, which holds only what shapes rows.

Called by a target when it opens a pipeline. The contract's digest is what loads carry.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from headrace.contract.limits import keyed_limits
from headrace.contract.query import columns_of
from headrace.model.contract import Contract, CsvSpec, RowRule, StepSpec
from headrace.model.errors import DefinitionError
from headrace.model.parts import partition_columns
from headrace.model.pipeline import Csv, Keyed, Lake, Pipeline, SqlStep


def compile_contract(pipeline: Pipeline) -> Contract:
    """Everything of `pipeline` that shapes rows. Names of sinks, docs and tolerances do not get in."""
    options, source = pipeline.record.__options__, pipeline.source
    columns = tuple(pipeline.record.__columns__.values())
    csv = source.csv or Csv()
    contract = Contract(
        pipeline=pipeline.name,
        columns=columns,
        key=options.key,
        on_conflict=options.on_conflict,
        dedupe=options.dedupe,
        extra=options.extra,
        null=tuple(options.null),
        root=options.root,
        csv=CsvSpec(csv.delimiter, csv.quote, csv.escape, csv.header, csv.encoding, csv.skip),
        sheet=source.sheet,
        steps=tuple(_step(pipeline, step) for step in pipeline.steps),
        rules=tuple(RowRule(r.kind, r.name, r.when, r.subject, r.body) for r in pipeline.rules),
        partitions=partitions(pipeline),
    )
    if not any(isinstance(s, Keyed) for s in pipeline.sinks):
        return contract
    return replace(contract, limits=keyed_limits(columns, options.key, columns_of(contract)[len(columns) :]))


def partitions(pipeline: Pipeline) -> tuple[tuple[str, str], ...]:
    """(name, SQL over the row) of each partition column of the first lake; () without a lake."""
    for sink in pipeline.sinks:
        if isinstance(sink, Lake):
            return partition_columns(pipeline, sink)
    return ()


def _step(pipeline: Pipeline, step: Any) -> StepSpec:
    if isinstance(step, SqlStep):
        return StepSpec("sql", step.query)
    function: Callable[..., Any] = step
    name = getattr(function, "__qualname__", "")
    if not name or "<" in name:
        where = f"{pipeline.where} pipeline {pipeline.name!r}"
        found = f"step {name or function!r} cannot be found again by its name"
        raise DefinitionError("HR214", where, found, "give a function at the top of a module")
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError) as exc:
        where = f"{pipeline.where} pipeline {pipeline.name!r}"
        raise DefinitionError("HR214", where, f"the source of step {name!r} cannot be read: {exc}") from exc
    return StepSpec("python", f"{function.__module__}:{name}", hashlib.sha256(source.encode()).hexdigest()[:16])
