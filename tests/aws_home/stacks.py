"""Projects that the tests of resources and templates share. Run as a program it writes anew what is held against them:
the golden templates, and the page that tells what is created.

python tests/aws_home/stacks.py
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from headrace import Pipeline, Record, column, config, files, keyed, lake
from headrace.aws.declare.declared import Declared
from headrace.aws.declare.resources import read_queries, resources
from headrace.aws.declare.resources.values import Resource
from headrace.aws.declare.template import template
from headrace.aws.operate.plan import plan
from headrace.aws.options import AwsOptions
from headrace.cli.planned_changes import kind_of, named
from headrace.cli.planned_rights import readable

ROOT = Path(__file__).resolve().parents[2]
CREATED = ROOT / "docs" / "aws" / "created.md"
GOLDEN = Path(__file__).resolve().parent / "golden"
ACCOUNT = {"AWS::AccountId": "123456789012", "AWS::Region": "eu-west-2", "AWS::Partition": "aws"}


class Sale(Record, key=("customer", "sold")):
    customer: int
    sold: datetime
    amount: Decimal = column(digits=(10, 2))


class Line(Record):
    text: str


def options(**table: Any) -> AwsOptions:
    return AwsOptions.from_mapping({"stack": "shop-test", "region": "eu-west-2", **table})


def sales(name: str = "sales", prefix: str = "shop/", suffix: str | Sequence[str] = ".csv", **more: Any) -> Pipeline:
    more = {"sinks": (lake(f"{name}_rows"), keyed(f"{name}_items")), "record": Sale, **more}
    return Pipeline(name, source=files(prefix, suffix=suffix), **more)


def lines(name: str = "lines", prefix: str = "shop/returns/", **more: Any) -> Pipeline:
    return Pipeline(name, source=files(prefix, suffix=".csv"), record=Line, sinks=lake(f"{name}_rows"), **more)


def substation() -> dict[str, Any]:
    """The template of the example, as its target `aws` would be deployed."""
    folder = ROOT / "examples" / "substation_load"
    found = config.read(folder)
    pipelines = list(config.load_pipelines(found).values())
    return template("substation_load", pipelines, options(stack="lv-prod"), read_queries(folder))


def overlapping() -> dict[str, Any]:
    """Two pipelines, one of which reads below the prefix of the other; every option that adds something."""
    more: dict[str, Any] = {
        "alarm_email": "someone@example.org",
        "alerts_email": "another@example.org",
        "architecture": "arm64",
        "access_logs": "logs-of-the-account",
        "tags": {"team": "shop"},
        "scan_every": "30 min",
        "budget": 0,
    }
    return template("shop", [sales(expect_every="1 day"), lines()], options(**more), target="prod")


GOLDENS = {"substation": substation, "overlapping": overlapping}


def example() -> Declared:
    """What the example declares for its target `aws`."""
    folder = ROOT / "examples" / "substation_load"
    found = config.read(folder)
    chosen = AwsOptions.from_mapping(found.target("aws").settings)
    return Declared("substation_load", chosen, config.load_pipelines(found), folder, "aws")


INTRODUCTION = """# What is created, and why

Everything that `headrace deploy` makes comes from the definition, and each thing says what it is there for: in the
template, in `headrace plan`, and here for the [example](../../examples/substation_load/README.md). Another project has
the same for each of its pipelines, a table for each of its keyed sinks, and its own saved queries. What holds data
outlives the stack; [what it costs](cost.md) and [who may do what](security.md) have pages of their own.

This page is written by `python tests/aws_home/stacks.py`, and a test holds it against the definition.
"""


def created() -> str:
    """docs/aws/created.md: each resource of the example with its reason, then what the roles may do."""
    found = plan(example(), None)
    parts: dict[str, list[str]] = {}
    for one in found.resources:
        cells = (kind_of(one["kind"]), f"`{named(one['name'])}`", one["why"])
        parts.setdefault(one["part"], []).append(_row(cells))
    page = [INTRODUCTION]
    for part, rows in parts.items():
        page += [f"## {part.capitalize()}\n", "| what | name | why |", "|---|---|---|", *rows, ""]
    page += ["## Rights\n", "| role | on | may | why |", "|---|---|---|---|"]
    for right in found.rights:
        on = ", ".join(f"`{readable(arn)}`" for arn in right.resources)
        page.append(_row((f"`{right.role}`", on, ", ".join(right.granted), right.why)))
    return "\n".join(page) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def built(*pipelines: Pipeline, **table: Any) -> dict[str, Resource]:
    """Resources by id."""
    return {one.id: one for one in resources("shop", pipelines, options(**table))}


if __name__ == "__main__":
    from headrace.aws.declare.yaml import to_yaml

    for name, make in GOLDENS.items():
        path = GOLDEN / f"{name}.yaml"
        path.write_text(to_yaml(make()), "utf-8")
        print(path.relative_to(ROOT), file=sys.stderr)
    CREATED.write_text(created(), "utf-8")
    print(CREATED.relative_to(ROOT), file=sys.stderr)
