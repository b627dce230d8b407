"""Where everything of a deployed stack is: names, ARNs and URLs, as one value.

A stack says them in its outputs, a function finds its own part in one variable. Adapters are built from it; it asks
nobody and changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from headrace.model.errors import InfrastructureError

VARIABLE = "HEADRACE_PLACES"
PIPELINE = "HEADRACE_PIPELINE"
TARGET = "HEADRACE_TARGET"
"""Variables of a function's environment: its places as JSON, and the names of its pipeline and of its target."""

OUTPUT = "Places"
PIPELINE_OUTPUT = "Pipeline"
"""Outputs of a stack: what all pipelines share, and one more for each pipeline (an output holds 4 KB)."""


@dataclass(frozen=True, slots=True)
class PipelinePlaces:
    """Places of one pipeline. `tables`: keyed sink → DynamoDB table."""

    queue: str  # URLs
    dlq: str
    bell: str
    ingest: str  # function names
    publish: str
    tables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Places:
    """Places of one stack. `topic` takes alerts about data, `operations` those about the pipeline itself."""

    stack: str
    region: str
    account: str
    landing: str
    lake: str
    ledger: str
    topic: str
    operations: str
    database: str
    workgroup: str
    artifacts: str
    pipelines: Mapping[str, PipelinePlaces] = field(default_factory=dict)

    def pipeline(self, name: str) -> PipelinePlaces:
        """Raises InfrastructureError HR813 for one that the stack does not have."""
        if name not in self.pipelines:
            known = ", ".join(sorted(self.pipelines)) or "none"
            found = f"has no pipeline {name!r}, it has {known}"
            raise InfrastructureError("HR813", f"stack {self.stack!r}", found, "run `headrace deploy`")
        return self.pipelines[name]

    def table(self, sink: str) -> str:
        """The DynamoDB table of a keyed sink. Raises InfrastructureError HR813."""
        for pipeline in self.pipelines.values():
            if sink in pipeline.tables:
                return pipeline.tables[sink]
        found = f"has no keyed table {sink!r}"
        raise InfrastructureError("HR813", f"stack {self.stack!r}", found, "run `headrace deploy`")

    def only(self, pipeline: str) -> Places:
        """These places with one pipeline alone: a function's whole environment may hold 4 KB."""
        return replace(self, pipelines={pipeline: self.pipeline(pipeline)})

    def to_json(self) -> str:
        """The text that `from_environment` reads."""
        return json.dumps(asdict(self), separators=(",", ":"))

    def to_outputs(self) -> dict[str, str]:
        """Outputs of the stack, by name; `from_outputs` reads them. Values may still hold placeholders."""
        shared = {**asdict(self), "pipelines": sorted(self.pipelines)}
        outputs = {OUTPUT: _compact(shared)}
        for number, name in enumerate(sorted(self.pipelines)):
            outputs[f"{PIPELINE_OUTPUT}{number}"] = _compact({"name": name, **asdict(self.pipelines[name])})
        return outputs

    @staticmethod
    def from_outputs(outputs: Mapping[str, str]) -> Places:
        """The places that a stack's outputs tell. Raises InfrastructureError HR813 if it is none of ours."""
        which = "outputs of the stack"
        if OUTPUT not in outputs:
            raise InfrastructureError("HR813", which, f"there is no {OUTPUT}", "run `headrace deploy`")
        shared = _object(which, outputs[OUTPUT])
        try:
            told = [_object(which, outputs[f"{PIPELINE_OUTPUT}{n}"]) for n, _ in enumerate(shared["pipelines"])]
            return _places(which, {**shared, "pipelines": {one.pop("name"): one for one in told}})
        except (KeyError, TypeError) as exc:
            raise _unreadable(which, f"{exc} is missing") from exc

    @staticmethod
    def from_environment(environment: Mapping[str, str]) -> Places:
        """The places in HEADRACE_PLACES. Raises InfrastructureError HR813."""
        if VARIABLE not in environment:
            found = "is not set"
            raise InfrastructureError("HR813", VARIABLE, found, "functions are made by `headrace deploy`")
        return _places(VARIABLE, _object(VARIABLE, environment[VARIABLE]))


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _object(which: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as exc:
        raise _unreadable(which, f"is not JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise _unreadable(which, "is no JSON object")
    return value


def _places(which: str, raw: Mapping[str, Any]) -> Places:
    """What a newer version added is passed over: functions are replaced one after the other."""
    try:
        pipelines = {name: PipelinePlaces(**_known(PipelinePlaces, one)) for name, one in raw["pipelines"].items()}
        return Places(**{**_known(Places, raw), "pipelines": pipelines})
    except (KeyError, TypeError, AttributeError) as exc:
        raise _unreadable(which, str(exc)) from exc


def _known(kind: type, raw: Mapping[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(kind)}
    return {name: value for name, value in raw.items() if name in names}


def _unreadable(which: str, found: str) -> InfrastructureError:
    return InfrastructureError("HR813", which, found, "run `headrace deploy` with this version")
