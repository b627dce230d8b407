"""What a stack costs, from list prices and a metered sample: an estimate that says how it comes about."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from stacks import ROOT, example, lines, options, sales

from headrace.aws.declare.cost import MONTH, Sample, ask_for, cost, shipped
from headrace.aws.declare.policy import PARTS
from headrace.aws.declare.prices import FACTORS, OPERATIONS, PRICES, UNITS, price
from headrace.aws.declare.resources import resources
from headrace.model.errors import DefinitionError

SAMPLE = Sample(
    about="made up",
    rows=500_000,
    files=50,
    calls={
        ("s3", "GetObject"): 1000,
        ("s3", "PutObject"): 1000,
        ("dynamodb", "UpdateItem"): 100,
        ("dynamodb", "BatchWriteItem"): 20_000,
        ("dynamodb:units", "BatchWriteItem"): 500_000,
    },
    invocations={"ingest": 10, "publish": 20},
    seconds={"ingest": 100.0, "publish": 200.0},
    landed=10**9,
    lake=10**8,
    items=2 * 10**8,
)


def told(*pipelines: Any, sample: Sample | None = None, **table: Any) -> Any:
    chosen = options(**table)
    return cost(resources("shop", pipelines, chosen), chosen, sample)


def test_a_million_rows_cost_what_their_requests_and_seconds_cost() -> None:
    """Each by hand: twice the sample's, since it has half a million rows."""
    found = told(
        sales(), sample=SAMPLE, ingest_memory=2048, publish_memory=3072, ingest_storage=512, publish_storage=512
    )
    by = {line.what: line.amount for line in found.loading}
    assert by["S3 requests"] == pytest.approx(2 * 1000 * (0.0053 + 0.00042) / 1000)
    assert by["DynamoDB"] == pytest.approx(2 * (500_000 + 2 * 100) * 0.7423e-6)  # measured units, and guessed ones
    assert by["Lambda: ingest"] == pytest.approx(2 * (100 * 2 * 0.0000166667 + 10 * 0.2e-6))
    assert by["Lambda: publish"] == pytest.approx(2 * (200 * 3 * 0.0000166667 + 20 * 0.2e-6))
    assert found.per_million_rows == pytest.approx(sum(by.values()))


def test_rows_that_are_kept_cost_their_storage() -> None:
    by = {line.what: line.amount for line in told(sales(), sample=SAMPLE).keeping}
    assert by == {
        "landing bucket": pytest.approx(2 * 0.024),
        "lake bucket": pytest.approx(0.2 * 0.024),
        "items": pytest.approx(0.4 * (0.2973 + 0.2378)),
    }
    assert "items" not in {x.what for x in told(lines(), sample=replace(SAMPLE, items=0)).keeping}


def test_a_stack_costs_something_before_the_first_file() -> None:
    one, two = told(sales()), told(sales(), lines(prefix="elsewhere/"))
    by = {line.what: line.amount for line in one.standing}
    assert by["alarms"] == pytest.approx(0.8) and by["dashboard"] == 3.0
    assert by["watching queues"] == pytest.approx(2 * 15 * MONTH / 60 * 0.4e-6)
    assert all(line.amount > 0 for line in one.standing)
    assert one.monthly < two.monthly < 2 * one.monthly  # the dashboard is shared


def test_the_guide_to_cost_has_the_figures_of_the_example() -> None:
    page = (ROOT / "docs/aws/cost.md").read_text("utf-8")
    told = re.findall(r"^\| ([a-z ]+) \| (\d+\.\d\d) \|", page, re.MULTILINE)
    standing = sorted(example().cost(None).standing, key=lambda line: -line.amount)
    assert told == [(line.what, f"{line.amount:.2f}") for line in standing]


def test_all_but_the_dashboard_comes_again_with_each_pipeline() -> None:
    one, two = ({x.what: x.amount for x in told(*some).standing} for some in ([sales()], [sales(), lines(prefix="b/")]))
    assert [what for what in one if two[what] == one[what]] == ["dashboard"]
    assert all(two[what] == pytest.approx(2 * one[what]) for what in one if what != "dashboard")


def test_a_month_is_what_stands_and_what_is_loaded_and_kept() -> None:
    found = told(sales(), sample=SAMPLE)
    expected = found.monthly + 3 * found.per_million_rows + 10 * found.per_million_rows_kept
    assert found.of(3_000_000, 10_000_000) == pytest.approx(expected)


def test_arm_costs_a_fifth_less_and_rarer_scans_cost_less() -> None:
    x86, arm = (told(sales(), sample=SAMPLE, architecture=a) for a in ("x86_64", "arm64"))
    lambda_of = [{x.what: x.amount for x in found.loading}["Lambda: ingest"] for found in (x86, arm)]
    assert lambda_of[1] < 0.85 * lambda_of[0]
    scans = [
        next(x.amount for x in told(sales(), scan_every=every).standing if x.what == "scans")
        for every in ("1 hour", "1 day")
    ]
    assert scans[1] == pytest.approx(scans[0] / 24)


def test_without_a_sample_nothing_is_said_of_rows() -> None:
    found = told(sales())
    assert (found.loading, found.keeping) == ((), ())
    assert any("without a metered sample" in one for one in found.assumptions)


def test_another_region_is_said_to_be_a_guess_and_an_unknown_one_is_refused() -> None:
    found = told(sales(), region="us-east-1")
    assert found.monthly == pytest.approx(told(sales()).monthly * FACTORS["us-east-1"], rel=1e-6)
    assert any("us-east-1 taken as 0.87 times eu-west-2" in one for one in found.assumptions)
    with pytest.raises(DefinitionError, match="HR809 .*af-south-1"):
        told(sales(), region="af-south-1")


def test_units_that_were_not_measured_are_said_to_be_guessed() -> None:
    (said,) = [one for one in told(sales(), sample=SAMPLE).assumptions if "not measured" in one]
    assert "UpdateItem 2" in said and "BatchWriteItem" not in said


def test_every_call_that_functions_make_has_its_price() -> None:
    calls = {call.operation for part in PARTS.values() for call in part.calls if call.operation[0] != "logs"}
    assert calls <= set(OPERATIONS) | set(UNITS)
    assert set(OPERATIONS.values()) | {name for name, _ in UNITS.values()} <= set(PRICES)
    with pytest.raises(DefinitionError, match="HR809 s3:GetBucketAcl"):
        ask_for("eu-west-2", {("s3", "GetBucketAcl"): 1})


def test_every_price_says_where_and_when_it_was_listed() -> None:
    for name, one in PRICES.items():
        assert one.amount >= 0 and one.source.endswith("pricing") and len(one.as_of) == 7, name
        assert "list price" in str(one)
    assert price("cloudwatch.alarm", "eu-west-2") == 0.10


def test_a_sample_travels_as_json() -> None:
    assert Sample.from_mapping(json.loads(json.dumps(SAMPLE.to_mapping()))) == SAMPLE
    for wrong in ({}, {**SAMPLE.to_mapping(), "calls": {"GetObject": 1}}, {**SAMPLE.to_mapping(), "more": 1}):
        with pytest.raises(DefinitionError, match="HR809 sample"):
            Sample.from_mapping(wrong)


def test_the_shipped_sample_is_the_example_and_items_cost_most_of_it() -> None:
    real = shipped()
    assert (real.rows, real.files) == (413_649, 30)
    found = told(sales(), sample=real)
    by = {line.what: line.amount for line in found.loading}
    assert by["DynamoDB"] > 0.9 * found.per_million_rows > 0.5  # a write of each item, 0.74 dollars a million
    assert real.calls["dynamodb:units", "BatchWriteItem"] == real.rows  # none is longer than 1 KB


def test_what_plan_prints_is_plain_json_with_its_assumptions() -> None:
    public = told(sales(), sample=SAMPLE).public()
    assert json.loads(json.dumps(public)) == public
    assert public["currency"] == "USD" and public["prices_as_of"] and len(public["assumptions"]) >= 5
    assert public["monthly"] == pytest.approx(sum(line["amount"] for line in public["standing"]), abs=0.01)
