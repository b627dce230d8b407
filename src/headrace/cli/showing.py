"""A pipeline's manifest in lines for a person: everything that shapes its rows, and nothing that says nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def lines(told: Mapping[str, Any]) -> Iterator[str]:
    """What `show` prints of `project.manifest.manifest`."""
    source, contract = told["source"], told["contract"]
    yield f"pipeline {told['pipeline']} (contract {contract['digest']})"
    policies = f"on_delete={source['on_delete']} same_bytes={source['same_bytes']} after={source['after']}"
    yield f"  source  {source['prefix']}* {', '.join(source['suffix'])}  {policies}"
    dialect = {**(contract["csv"] or {}), "sheet": source["sheet"]}
    if given := [f"{name}={value!r}" for name, value in dialect.items() if value is not None]:
        yield f"  read    {', '.join(given)}"
    for sink in told["sinks"]:
        yield f"  sink    {sink['kind']} {sink['table']}  {', '.join(sink['partition_by'] or sink['index'])}".rstrip()
    key = f"{', '.join(contract['key'])} (on_conflict={contract['on_conflict']})"
    yield f"  key     {key if contract['key'] else 'none (dedupe=' + contract['dedupe'] + ')'}"
    for column in contract["columns"]:
        yield f"  column  {_column(column)}"
    if contract["extra"] != "ignore":
        yield f"  extra   {contract['extra']}: headers that no column wants"
    if contract["root"]:
        yield f"  root    {contract['root']}"
    if list(contract["null"]) != [""]:
        yield f"  null    {', '.join(map(repr, contract['null']))}"
    for step in contract["steps"]:
        yield f"  step    {step['kind']} {' '.join(str(step['text']).split())}"
    for rule in contract["rules"]:
        yield f"  rule    {rule['kind']} {rule['name']}: {rule['when']}"
    yield f"  alarms  when more than {told['tolerate']:.3g} of the rows are rejected{_silence(told)}"


def _silence(told: Mapping[str, Any]) -> str:
    return f", or nothing arrives for {told['expect_every']}" if told["expect_every"] else ""


def _column(column: Mapping[str, Any]) -> str:
    of = column["type"]
    words = [f"{column['name']}: {of['kind']}{' | None' if column['nullable'] else ''}"]
    words += [f"= {column['sql']}"] if column["sql"] else []
    words += [f"from {' or '.join(map(repr, column['headers']))}"] if column["headers"] else []
    words += [f"at {column['path']}"] if column["path"] else []
    words += [f"digits={tuple(of['digits'])}{' rounded' if of['round'] else ''}"] if of["digits"] else []
    words += [f"one of {', '.join(of['choices'])}"] if of["choices"] else []
    words += [f"{name}={of[name]}" for name in ("zone", "format") if of[name]]
    if column["default_sql"]:
        words.append(f"else {column['default_sql']}")
    elif column["optional"]:
        words.append(f"else {column['default']!r}" if column["default"] is not None else "optional")
    words += [f"{name}: {condition}" for name, condition in column["checks"]]
    return "  ".join(words)
