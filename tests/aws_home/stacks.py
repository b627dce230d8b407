"""Projects that the tests of resources and templates share. Run as a program it writes the golden templates anew:

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
from headrace.aws.declare.resources import read_queries, resources
from headrace.aws.declare.resources.values import Resource
from headrace.aws.declare.template import template
from headrace.aws.options import AwsOptions

ROOT = Path(__file__).resolve().parents[2]
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


def built(*pipelines: Pipeline, **table: Any) -> dict[str, Resource]:
    """Resources by id."""
    return {one.id: one for one in resources("shop", pipelines, options(**table))}


if __name__ == "__main__":
    from headrace.aws.declare.yaml import to_yaml

    for name, make in GOLDENS.items():
        path = GOLDEN / f"{name}.yaml"
        path.write_text(to_yaml(make()), "utf-8")
        print(path.relative_to(ROOT), file=sys.stderr)
