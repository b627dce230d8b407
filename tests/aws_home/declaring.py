"""What the tests of plans declare: one pipeline with a keyed and a lake table, on a stack of its own name."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from aws_home.small_stack import ACCOUNT, REGION, code, new_name, quick
from headrace import Pipeline, Record, files, keyed, lake
from headrace.aws.declare.declared import Declared
from headrace.aws.operate.deploy import Deployed, Wanted, deploy
from headrace.aws.operate.destroy import Unmaking
from headrace.aws.operate.plan import Plan, plan_against
from headrace.aws.options import AwsOptions
from headrace.aws.session import Session

PROJECT = "shop"


def pipeline(
    key: Sequence[str] = ("id", "at"),
    by: str = "year(at)",
    sinks: Sequence[str] = ("keyed", "lake"),
    index: Sequence[str] = (),
    **source: Any,
) -> Pipeline:
    class Sale(Record, key=tuple(key)):
        id: str
        at: datetime
        amount: float
        till: str | None = None

    made = {"keyed": keyed("sales", index=index), "lake": lake("sales_data", partition_by=(by,))}
    from_ = files("in/", suffix=".csv", **source)
    return Pipeline("shop", source=from_, record=Sale, sinks=tuple(made[s] for s in sinks))


def declared(stack: str, folder: Path, *pipelines: Pipeline, **table: Any) -> Declared:
    """For MiniStack, which has neither saved queries nor budgets."""
    options = AwsOptions.from_mapping({"stack": stack, "region": REGION, "extras": False, **table})
    found = pipelines or (pipeline(),)
    return Declared(PROJECT, options, {p.name: p for p in found}, folder, "aws", ACCOUNT)


def wanted(of: Declared, folder: Path) -> Wanted:
    """With functions that do nothing: here only the making counts."""
    return Wanted(
        stack=of.options.stack,
        project=of.project,
        template=of.template,
        tags=of.tags,
        artifacts=of.artifacts,
        code={key: code(folder) for key in of.code_parameters},
        parameters=of.parameters,
    )


def made(session: Session, of: Declared, folder: Path, *, lose: bool = False) -> Deployed:
    stack = quick(session, of.options.stack)
    return deploy(session, wanted(of, folder), lambda text: None, lose=lose, stack=stack)


def planned(session: Session, of: Declared, *, look: bool = False) -> Plan:
    return plan_against(quick(session, of.options.stack), of, {}, of.cost(None), look=look)


def unmaking(session: Session, of: Declared, delete_data: bool) -> Unmaking:
    return Unmaking(quick(session, of.options.stack), of.project, of.scope, delete_data)


__all__ = ["declared", "made", "new_name", "pipeline", "planned", "unmaking", "wanted"]
