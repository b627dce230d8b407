"""Whether the parts of a Pipeline fit together. Called by `Pipeline` when it is constructed, and by nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from string import Formatter
from typing import TYPE_CHECKING

from headrace.model.contract import LINEAGE
from headrace.model.errors import DefinitionError, raise_all
from headrace.model.pipeline import Files, Keyed, Lake, Rule, SqlStep
from headrace.model.record import Record
from headrace.model.where import meant
from headrace.model.words import span_seconds

if TYPE_CHECKING:
    from headrace.model.pipeline import Pipeline

_TIMES = ("year", "month", "day", "hour")


def check_pipeline(pipeline: Pipeline) -> None:
    """Raise the first DefinitionError (HR202, HR209 to HR214), with the others beside it."""
    raise_all(_check_own(pipeline))  # what the rest stands on
    raise_all(_mistakes(pipeline))


def _mistakes(pipeline: Pipeline) -> Iterator[DefinitionError]:
    yield from _check_sinks(pipeline)
    yield from _check_rules(pipeline)
    for step in pipeline.steps:
        if not isinstance(step, SqlStep) and not callable(step):
            next = "give sql('…') or a function from a pyarrow.Table to a pyarrow.Table"
            yield _wrong(pipeline, "HR214", f"step {step!r} is no step", next)


def _wrong(pipeline: Pipeline, code: str, found: str, next: str, where: str = "") -> DefinitionError:
    return DefinitionError(code, f"{where or pipeline.where} pipeline {pipeline.name!r}".strip(), found, next)


def _check_own(pipeline: Pipeline) -> Iterator[DefinitionError]:
    if not isinstance(pipeline.name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", pipeline.name):
        next = "use small letters, digits and _, a letter first"
        yield _wrong(pipeline, "HR202", f"{pipeline.name!r} is no name for a pipeline", next)
    if not isinstance(pipeline.source, Files):
        yield _wrong(pipeline, "HR212", f"source is {pipeline.source!r}", "write source=files('prefix/')")
    record = pipeline.record
    if not (isinstance(record, type) and issubclass(record, Record)):
        yield _wrong(pipeline, "HR213", f"record is {record!r}", "give a class that inherits from Record")
    elif not record.__columns__:
        yield _wrong(pipeline, "HR213", f"{record.__name__} has no columns", "annotate at least one")
    if type(pipeline.tolerate) not in (int, float) or not 0 <= pipeline.tolerate <= 1:
        yield _wrong(pipeline, "HR213", f"tolerate={pipeline.tolerate!r}", "give a share from 0 to 1")
    if pipeline.expect_every is not None:
        try:
            if span_seconds(pipeline.expect_every) <= 0:
                raise ValueError(f"{pipeline.expect_every!r} is no time at all")
        except (ValueError, AttributeError) as exc:
            yield _wrong(pipeline, "HR213", f"expect_every: {exc}", "write e.g. '2 hours'")


def _check_sinks(pipeline: Pipeline) -> Iterator[DefinitionError]:
    if not pipeline.sinks:
        yield _wrong(pipeline, "HR209", "no sinks", "give lake('table') or keyed('table')")
    seen: set[str] = set()
    for sink in pipeline.sinks:
        if not isinstance(sink, Lake | Keyed):
            yield _wrong(pipeline, "HR209", f"{sink!r} is no sink", "give lake('table') or keyed('table')")
            continue
        if sink.table in seen:
            yield _wrong(pipeline, "HR209", f"table {sink.table!r} is named twice", "name each once", sink.where)
        seen.add(sink.table)
        if isinstance(sink, Keyed):
            yield from _check_keyed(pipeline, sink)
            continue
        try:
            partition_columns(pipeline, sink)
        except DefinitionError as exc:
            yield exc


def _check_keyed(pipeline: Pipeline, sink: Keyed) -> Iterator[DefinitionError]:
    options = pipeline.record.__options__
    if not options.key:
        found = f"keyed({sink.table!r}) but {pipeline.record.__name__} has no key"
        next = "write class …(Record, key=('partition', 'sort'))"
        yield _wrong(pipeline, "HR209", found, next, sink.where)
    names = _row_names(pipeline)
    for name in sink.index:
        if name not in names:
            yield _wrong(pipeline, "HR209", f"index column {name!r} is not a column", meant(name, names), sink.where)


def _row_names(pipeline: Pipeline) -> list[str]:
    flags = [r.name for r in pipeline.rules if isinstance(r, Rule) and r.kind == "flag"]
    return [*pipeline.record.__columns__, *flags, *(name for name, _ in LINEAGE)]


def partition_columns(pipeline: Pipeline, sink: Lake) -> tuple[tuple[str, str], ...]:
    """(column name, SQL over the row) of each partition: `year(ts)` becomes ("year", "year(ts)::INTEGER").

    Raises DefinitionError HR210 for anything but a column, or year(), month(), day() or hour() of a date or datetime.
    """
    return tuple(_partitions(pipeline, sink))


def _partitions(pipeline: Pipeline, sink: Lake) -> Iterator[tuple[str, str]]:
    names, seen = _row_names(pipeline), set[str]()
    for text in sink.partition_by:
        match = re.fullmatch(r"\s*(?:([a-z]+)\s*\(\s*(\w+)\s*\)|(\w+))\s*", text)
        if match is None or (match.group(1) and match.group(1) not in _TIMES):
            next = "give a column, or year(), month(), day() or hour() of one"
            raise _wrong(pipeline, "HR210", f"partition {text!r}", next, sink.where)
        function, of = match.group(1), match.group(2) or match.group(3)
        if of not in names:
            found = f"partition {text!r}: {of!r} is not a column"
            raise _wrong(pipeline, "HR210", found, meant(of, names), sink.where)
        name = function or of
        if function and not _has_time(pipeline, of, function):
            raise _wrong(
                pipeline, "HR210", f"partition {text!r}: {of!r} has no {function}", "use a datetime", sink.where
            )
        if name in seen or (function and name in pipeline.record.__columns__):
            next = "rename the record's column, or partition by something else"
            raise _wrong(pipeline, "HR210", f"two columns would be called {name!r}", next, sink.where)
        seen.add(name)
        yield name, f'{function}("{of}")::INTEGER' if function else f'"{of}"'


def _has_time(pipeline: Pipeline, name: str, function: str) -> bool:
    column = pipeline.record.__columns__.get(name)
    if column is None:
        return name == "_arrived_at"
    return column.type.kind == "datetime" or (column.type.kind == "date" and function != "hour")


def _check_rules(pipeline: Pipeline) -> Iterator[DefinitionError]:
    taken = {name.casefold() for name in pipeline.record.__columns__}
    for rule in pipeline.rules:
        if not isinstance(rule, Rule):
            yield _wrong(pipeline, "HR211", f"{rule!r} is no rule", "give reject, skip, flag or alert")
            continue
        if rule.name.casefold() in taken:
            yield _wrong(
                pipeline, "HR211", f"{rule.name!r} is taken", "rules and columns need different names", rule.where
            )
        taken.add(rule.name.casefold())
        yield from _check_message(pipeline, rule)


def _check_message(pipeline: Pipeline, rule: Rule) -> Iterator[DefinitionError]:
    names = _row_names(pipeline)
    for text in (rule.subject, rule.body):
        try:
            asked = [name for _, name, _, _ in Formatter().parse(text) if name is not None]
        except ValueError as exc:
            yield _wrong(pipeline, "HR211", f"alert {rule.name!r}: {exc}", "write {{ for a brace", rule.where)
            continue
        for name in asked:
            if name not in names:
                found = f"alert {rule.name!r} asks for {{{name}}}, which is not a column"
                yield _wrong(pipeline, "HR211", found, meant(name, names), rule.where)
