"""What a target of kind "aws" may say, what it is called there, and how its places travel."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.aws.declare.names import Names, logical
from headrace.aws.options import AwsOptions
from headrace.aws.places import PIPELINE_OUTPUT, VARIABLE, PipelinePlaces, Places
from headrace.model.errors import DefinitionError, InfrastructureError

LEAST: dict[str, Any] = {"kind": "aws", "stack": "lv-prod", "region": "eu-west-2"}


def test_a_stack_and_a_region_are_enough() -> None:
    options = AwsOptions.from_mapping(LEAST)
    assert (options.stack, options.region, options.architecture) == ("lv-prod", "eu-west-2", "x86_64")
    assert options.ingest_memory <= 3008 >= options.publish_memory  # what a new account may use


@pytest.mark.parametrize("missing", ["stack", "region"])
def test_a_missing_place_is_named(missing: str) -> None:
    table = {name: value for name, value in LEAST.items() if name != missing}
    with pytest.raises(DefinitionError, match=f"HR810 .*'{missing}'"):
        AwsOptions.from_mapping(table)


def test_a_misspelt_option_is_refused_with_the_nearest() -> None:
    with pytest.raises(DefinitionError, match="HR811 .*did you mean 'ingest_memory'"):
        AwsOptions.from_mapping({**LEAST, "ingest_memmory": 1024})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stack", "LV_prod"),
        ("stack", "lv--prod"),
        ("stack", "l" * 61),
        ("region", "London"),
        ("architecture", "sparc"),
        ("landing_bucket", "Upper-Case"),
        ("ingest_memory", 100),
        ("ingest_memory", True),
        ("ingest_timeout", "1 hour"),
        ("publish_timeout", 0.5),
        ("concurrency", 1),
        ("log_days", 31),
        ("alarm_email", "nobody"),
        ("budget", -1),
        ("query_limit", "1 MB"),
        ("tags", {"aws:x": "y"}),
        ("tags", {"headrace-stack": "mine"}),
        ("tags", {"team": 7}),
        ("extras", "no"),
        ("batch_files", 91),
        ("memory_limit", "2GB"),
    ],
)
def test_a_value_that_aws_would_refuse_is_refused_before_it(name: str, value: Any) -> None:
    with pytest.raises(DefinitionError, match=f"HR812 .*{name}"):
        AwsOptions.from_mapping({**LEAST, name: value})


def test_landing_and_lake_are_two_buckets() -> None:
    with pytest.raises(DefinitionError, match="HR812 .*trigger nothing"):
        AwsOptions.from_mapping({**LEAST, "landing_bucket": "one-bucket", "lake_bucket": "one-bucket"})


def test_the_engines_own_settings_stand_in_the_same_table() -> None:
    options = AwsOptions.from_mapping({**LEAST, "batch_files": 20, "max_receives": 5, "scan_every": "30 min"})
    assert (options.settings.batch_files, options.settings.max_receives) == (20, 5)
    assert options.scan_every == 1800 == options.settings_for("ingest").scan_every


def test_a_function_may_use_what_lambda_grants_it() -> None:
    options = AwsOptions.from_mapping({**LEAST, "ingest_memory": 1769, "publish_memory": 3008})
    ingest, publish = options.settings_for("ingest"), options.settings_for("publish")
    assert ingest.memory_bytes < 1769 * 2**20 and publish.memory_bytes < 3008 * 2**20
    assert (ingest.threads, publish.threads) == (1, 2)
    assert ingest.child_timeout < options.ingest_timeout
    assert options.visibility >= 6 * options.ingest_timeout


def test_no_name_is_longer_than_aws_takes_and_no_two_meet() -> None:
    stack, pipeline = "s" * 60, "p" * 200
    names = Names(stack, "ap-southeast-2", "123456789012")
    assert len(names.bucket("landing")) <= 63
    assert len(names.function(pipeline, "ingest")) <= 64
    assert len(names.queue(pipeline, "events")) <= 80
    assert names.function(pipeline, "ingest") != names.function(pipeline + "q", "ingest")
    assert names.function(pipeline, "ingest").endswith("-ingest")
    assert names.bucket("landing") != Names("s" * 59, "ap-southeast-2", "123456789012").bucket("landing")


def test_names_that_aws_takes_are_left_as_they_are() -> None:
    names = Names("lv-prod", "eu-west-2", "123456789012")
    assert names.bucket("landing") == "lv-prod-landing-123456789012-eu-west-2"
    assert names.function("lv", "ingest") == "lv-prod-lv-ingest"
    assert names.keyed("asset_data") == "lv-prod-keyed-asset_data"
    assert names.database == "lv_prod"


def test_a_bucket_has_the_same_length_before_its_account_is_known() -> None:
    stack = "s" * 45
    filled = Names(stack, "eu-west-2").bucket("landing").replace("${AWS::AccountId}", "123456789012")
    assert filled == Names(stack, "eu-west-2", "123456789012").bucket("landing")


def test_logical_ids_hold_letters_and_digits_and_stay_apart() -> None:
    assert logical("lv", "events") == "LvEvents"
    assert logical("lv_data", "table") == "LvDataTable"
    ids = {logical(*parts) for parts in (("a_b", "c"), ("ab", "c"), ("a__b", "c"), ("a_", "b_c"))}
    assert len(ids) == 4 and all(one.isalnum() for one in ids)


PLACES = Places(
    stack="lv-prod",
    region="eu-west-2",
    account="123456789012",
    landing="in",
    lake="out",
    ledger="lv-prod-ledger",
    topic="arn:aws:sns:eu-west-2:123456789012:lv-prod-alerts",
    operations="arn:aws:sns:eu-west-2:123456789012:lv-prod-operations",
    database="lv_prod",
    workgroup="lv-prod",
    artifacts="code",
    pipelines={
        "lv": PipelinePlaces("q", "d", "b", "lv-prod-lv-ingest", "lv-prod-lv-publish", {"asset_data": "t"}),
        "hv": PipelinePlaces("q2", "d2", "b2", "lv-prod-hv-ingest", "lv-prod-hv-publish"),
    },
)


def test_places_travel_through_outputs_and_through_the_environment() -> None:
    assert Places.from_outputs({**PLACES.to_outputs(), "Other": "x"}) == PLACES
    assert Places.from_environment({VARIABLE: PLACES.to_json()}) == PLACES
    assert Places.from_environment({VARIABLE: PLACES.only("hv").to_json()}).pipelines.keys() == {"hv"}


def test_what_a_newer_version_adds_to_places_is_passed_over() -> None:
    newer = {**json.loads(PLACES.to_json()), "broker": "x"}
    newer["pipelines"]["lv"]["stream"] = "y"
    assert Places.from_environment({VARIABLE: json.dumps(newer)}) == PLACES


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"stack": "x"}', '{"pipelines": 7}', '{"pipelines": {"lv": 1}}'])
def test_places_that_cannot_be_read_are_an_error_with_the_next_command(text: str) -> None:
    with pytest.raises(InfrastructureError, match="HR813 .*headrace deploy"):
        Places.from_environment({VARIABLE: text})


def test_a_stack_of_somebody_else_has_no_places() -> None:
    with pytest.raises(InfrastructureError, match="HR813"):
        Places.from_outputs({})
    with pytest.raises(InfrastructureError, match="HR813"):
        Places.from_outputs({k: v for k, v in PLACES.to_outputs().items() if k != f"{PIPELINE_OUTPUT}1"})
    with pytest.raises(InfrastructureError, match="HR813 .*'mv'.*hv, lv"):
        PLACES.pipeline("mv")
    assert PLACES.table("asset_data") == "t"
    with pytest.raises(InfrastructureError, match="HR813 .*'other'"):
        PLACES.table("other")
