"""All resources of a project on one stack, in an order that reads from what arrives to who is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

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


def resources(
    project: str,
    pipelines: Sequence[Pipeline],
    options: AwsOptions,
    queries: Mapping[str, str] | None = None,
    target: str = "aws",
) -> tuple[Resource, ...]:
    """Everything that these pipelines need on AWS. `queries`: saved ones, by name; `target`: the name of the target.

    The same arguments give the same values in the same order. Raises DefinitionError HR806 for what AWS cannot do,
    HR808 for two names that would be one there.
    """
    scope = Scope(project, options, target)
    heard = ways(pipelines)
    found = [
        *storage(scope, pipelines, heard),
        *arrivals(scope, heard),
        *(one for p in pipelines for one in (*ingest(scope, p, _way(heard, p)), *publish(scope, p))),
        *query(scope, pipelines, queries or {}),
        *topics(scope),
        *watch(scope, pipelines),
    ]
    twice = [id for id, times in Counter(one.id for one in found).items() if times > 1]
    if twice:
        which, meant = f"stack {options.stack!r}", ", ".join(twice)
        raise DefinitionError(
            "HR808", which, f"two things would be called {meant}", "rename a pipeline, table or query"
        )
    return tuple(found)


def _way(ways: Sequence[Way], pipeline: Pipeline) -> Way:
    for way in ways:
        if pipeline in ((way.pipeline,) if isinstance(way, Direct) else way.pipelines):
            return way
    raise AssertionError(pipeline.name)
