"""A pipeline as plain data: what `show --json` prints. Inert, so that it can be stored, compared and reviewed."""

from __future__ import annotations

from typing import Any

from headrace.contract.compile import compile_contract, partitions
from headrace.contract.query import columns_of
from headrace.model.pipeline import Keyed, Lake, Pipeline


def manifest(pipeline: Pipeline) -> dict[str, Any]:
    """Source, contract with its digest, the row's columns, sinks and policies."""
    contract = compile_contract(pipeline)
    source = pipeline.source
    return {
        "pipeline": pipeline.name,
        "source": {
            "prefix": source.prefix,
            "suffix": list(source.suffix),
            "sheet": source.sheet,
            "on_delete": source.on_delete,
            "same_bytes": source.same_bytes,
            "after": source.after,
        },
        "contract": {"digest": contract.digest, **contract.to_dict()},
        "row": [{"name": n, "type": t} for n, t in columns_of(contract)],
        "partitions": [{"name": n, "sql": e} for n, e in partitions(pipeline)],
        "sinks": [_sink(s) for s in pipeline.sinks],
        "tolerate": pipeline.tolerate,
        "expect_every": pipeline.expect_every,
    }


def _sink(sink: Lake | Keyed) -> dict[str, Any]:
    match sink:
        case Lake():
            return {"kind": "lake", "table": sink.table, "partition_by": list(sink.partition_by), "index": []}
        case Keyed():
            return {"kind": "keyed", "table": sink.table, "partition_by": [], "index": list(sink.index)}
