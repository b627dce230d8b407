"""`sql`, `get` and `explain`: tables answer."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headrace.cli.options import command, opened, positive
from headrace.cli.output import Output, count, written
from headrace.model.errors import UsageError

if TYPE_CHECKING:
    from headrace.project.results import Table


def register(commands: Any, common: argparse.ArgumentParser) -> None:
    query = command(commands, common, "sql", sql, "ask the standing rows with SQL; it reads and cannot write")
    query.add_argument("query", metavar="QUERY", help="one SELECT; - reads it from stdin")
    query.add_argument("--csv", action="store_true", help="print CSV")

    item = command(commands, common, "get", get, "look rows up by key")
    item.add_argument("table", metavar="TABLE")
    item.add_argument("key", metavar="KEY", help="partition key: the first column of the record's key")
    item.add_argument("--at", action="append", metavar="VALUE", help="exact sort key; once per column")
    item.add_argument("--begins-with", metavar="TEXT", help="what the sort key begins with, e.g. a day")
    item.add_argument("--from", dest="start", metavar="VALUE", help="lowest sort key, inclusive")
    item.add_argument("--to", dest="end", metavar="VALUE", help="highest sort key, inclusive")
    item.add_argument("--limit", type=positive, metavar="N")

    about = command(commands, common, "explain", explain, "tell about an error code, a load, a row or an object")
    about.add_argument(
        "what", metavar="WHAT", help="HR203 · lv.42 (a load) · lv.42:17 (its record 17) · an object's key"
    )


def sql(arguments: argparse.Namespace, output: Output) -> int:
    if arguments.csv and output.as_json:
        raise UsageError("HR100", "headrace sql", "--csv and --json are two forms of one answer", "say one of them")
    text = sys.stdin.read() if arguments.query == "-" else arguments.query
    with opened(arguments) as project:
        answer = project.sql(text)
    if arguments.csv:
        _csv(answer.columns, map(_readable, answer))
    elif output.as_json:
        output.emit([_readable(row) for row in answer])
    elif answer.columns == ["explain_key", "explain_value"]:
        for row in answer:
            output.data(str(row["explain_value"]).rstrip())
    else:
        _rows(answer, output)
    return 0


MOST = 40
"""Rows that a terminal is shown: the first and the last twenty, as DuckDB does. A pipe, a file, --json get all."""


def _rows(answer: Table, output: Output) -> None:
    rows = [_readable(row) for row in answer]
    if sys.stdout.isatty():
        if "_source_version" in answer.columns:
            rows = [{**row, "_source_version": _short(row["_source_version"])} for row in rows]
        if len(rows) > MOST:
            rows = [*rows[: MOST // 2], dict.fromkeys(answer.columns, "·"), *rows[-MOST // 2 :]]
    output.table(rows, answer.columns, plain=True)
    cut = f", {MOST} shown; | cat, --csv and --json print all" if len(answer) > len(rows) else ""
    output.say(count(len(answer), "row") + cut)


def _short(version: Any) -> Any:
    return version[:12] + "…" if isinstance(version, str) and len(version) > 13 else version


def _readable(row: Mapping[str, Any]) -> dict[str, Any]:
    """Intervals as DuckDB prints them; their Python value is a bare tuple."""
    return {k: _interval(v) if type(v).__name__ == "MonthDayNano" else v for k, v in row.items()}


def _interval(value: Any) -> str:
    years, months = divmod(abs(value.months), 12)
    sign = "-" if value.months < 0 else ""
    parts = [f"{sign}{n} {word}{'' if n == 1 else 's'}" for n, word in ((years, "year"), (months, "month")) if n]
    if value.days:
        parts.append(f"{value.days} day{'' if value.days == 1 else 's'}")
    seconds, nanoseconds = divmod(abs(value.nanoseconds), 10**9)
    if value.nanoseconds or not parts:
        clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        parts.append(("-" if value.nanoseconds < 0 else "") + clock + f".{nanoseconds // 1000:06}" * (nanoseconds > 0))
    return " ".join(parts)


def _csv(columns: list[str], rows: Any) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(["" if v is None else written(v) for v in row.values()])


def get(arguments: argparse.Namespace, output: Output) -> int:
    with opened(arguments) as project:
        rows = project.get(
            arguments.table,
            arguments.key,
            at=tuple(arguments.at) if arguments.at else None,
            begins_with=arguments.begins_with,
            start=arguments.start,
            end=arguments.end,
            limit=arguments.limit,
        )
        shown = rows if output.as_json else [{k: v for k, v in r.items() if not k.startswith("_")} for r in rows]
        output.table(shown, plain=True)
        if not rows:
            output.say(f"{arguments.table} has no row of {arguments.key!r} there")
        elif not output.as_json:
            output.say(count(len(rows), "row"))
    return 0


def explain(arguments: argparse.Namespace, output: Output) -> int:
    from headrace.model.codes import is_code

    if is_code(arguments.what):
        from headrace.model.codes import explain_code

        text = explain_code(arguments.what)
        code = arguments.what.upper()
        if output.as_json:
            output.emit({"what": code, "kind": "code", "facts": {"code": code, "text": text}})
        else:
            output.data(f"{code}  {text}")
        return 0
    with opened(arguments) as project:
        found = project.explain(arguments.what)
        if output.as_json:
            output.emit({"what": found.what, "kind": found.kind, "facts": found.facts})
        else:
            output.data(str(found))
            for line in found.next:
                output.say(f"next: {line}")
    return 0
