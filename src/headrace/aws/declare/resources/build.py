"""All resources of a project on one stack, in an order that reads from what arrives to who is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from headrace.aws.declare.resources.arrivals import Direct, Way, ways
from headrace.aws.declare.resources.ingest import arrivals, ingest
from headrace.aws.declare.resources.publish import publish
from headrace.aws.declare.resources.query import query
from headrace.aws.declare.resources.scope import Scope
from headrace.aws.declare.resources.storage import storage
from headrace.aws.declare.resources.values import Resource
from headrace.aws.declare.resources.watch import topics, watch
from headrace.aws.options import AwsOptions
from headrace.model.errors import DefinitionError
from headrace.model.pipeline import Pipeline
from headrace.model.words import count

MOST = 500
"""Resources that CloudFormation takes in one stack, those whose condition does not hold among them."""


def resources(
    project: str,
    pipelines: Sequence[Pipeline],
    options: AwsOptions,
    queries: Mapping[str, str] | None = None,
    target: str = "aws",
) -> tuple[Resource, ...]:
    """Everything that these pipelines need on AWS. `queries`: saved ones, by name; `target`: the name of the target.

    The same arguments give the same values in the same order. Raises DefinitionError HR806 for what AWS cannot do,
    HR808 for two names that would be one there, HR847 for more than a stack can hold.
    """
    scope = Scope(project, options, target)
    heard = ways(pipelines)
    found = [
        *_part("storage", storage(scope, pipelines, heard)),
        *_part("arrivals", arrivals(scope, heard)),
        *(
            one
            for p in pipelines
            for one in _part(f"pipeline {p.name}", (*ingest(scope, p, _way(heard, p)), *publish(scope, p)))
        ),
        *_part("queries", query(scope, pipelines, queries or {})),
        *_part("watching", (*topics(scope), *watch(scope, pipelines))),
    ]
    _refuse(found, pipelines, f"stack {options.stack!r}")
    return tuple(found)


def _part(name: str, found: Iterable[Resource]) -> Iterator[Resource]:
    return (replace(one, part=name) for one in found)


def _refuse(found: Sequence[Resource], pipelines: Sequence[Pipeline], which: str) -> None:
    """What CloudFormation would refuse, with words that say nothing of pipelines."""
    twice = [id for id, times in Counter(one.id for one in found).items() if times > 1]
    if twice:
        said = f"two things would be called {', '.join(twice)}"
        raise DefinitionError("HR808", which, said, "rename a pipeline, table or query")
    if len(found) > MOST:
        for_ = f"{count(len(found), 'resource')} for {count(len(pipelines), 'pipeline')}"
        said = f"it would have {for_}, and CloudFormation takes {MOST} in a stack"
        next = "split the pipelines among projects whose targets have stacks of their own"
        raise DefinitionError("HR847", which, said, next)


def _way(ways: Sequence[Way], pipeline: Pipeline) -> Way:
    for way in ways:
        if pipeline in ((way.pipeline,) if isinstance(way, Direct) else way.pipelines):
            return way
    raise AssertionError(pipeline.name)
