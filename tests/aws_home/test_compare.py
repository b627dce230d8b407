"""What differs between two templates, what CloudFormation would replace, and what of that loses data."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from aws_home.small_stack import template
from headrace.aws.operate.compare import Change, changes, granted, settled, statements


def change(edit: Callable[[dict[str, Any]], None]) -> list[Change]:
    before = template("lv")
    after = copy.deepcopy(before)
    edit(after)
    return changes(before, after)


def test_the_same_template_is_no_change() -> None:
    assert changes(template("lv"), template("lv")) == []


def test_a_first_deploy_adds_everything_and_loses_nothing() -> None:
    found = changes({}, template("lv"))
    assert {c.id for c in found} == set(template("lv")["Resources"])
    assert {(c.action, c.data_loss) for c in found} == {("added", False)}


def test_a_changed_property_is_named() -> None:
    (found,) = change(lambda t: t["Resources"]["Events"]["Properties"].update(VisibilityTimeout=99))
    assert (found.action, found.properties, found.data_loss) == ("changed", ("VisibilityTimeout",), False)


def test_another_name_is_a_replacement() -> None:
    (found,) = change(lambda t: t["Resources"]["Events"]["Properties"].update(QueueName="other"))
    assert (found.action, found.data_loss) == ("replaced", False)


def test_another_key_schema_loses_the_table() -> None:
    def edit(t: dict[str, Any]) -> None:
        t["Resources"]["Readings"]["Properties"]["KeySchema"] = [{"AttributeName": "other", "KeyType": "HASH"}]

    (found,) = change(edit)
    assert (found.action, found.data_loss, found.why) == ("replaced", True, "its key schema changes")


LOSSES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another key": (
        lambda t: t["Metadata"]["Headrace"]["tables"]["readings"].update(key=["id", "at"]),
        "its key changes from id to id, at",
    ),
    "another partitioning": (
        lambda t: t["Metadata"]["Headrace"]["tables"]["data"].update(partitions=[]),
        "its partitioning changes from year(at) to nothing",
    ),
    "a lake's table gone": (
        lambda t: t["Metadata"]["Headrace"]["tables"].pop("data"),
        "this table leaves the definition",
    ),
    "a keyed table gone": (
        lambda t: (t["Resources"].pop("Readings"), t["Metadata"]["Headrace"]["tables"].pop("readings")),
        "this table leaves the definition",
    ),
    "a bucket gone": (lambda t: t["Resources"].pop("Landing"), "this bucket leaves the definition"),
    "a bucket renamed": (
        lambda t: t["Resources"]["Landing"]["Properties"].update(BucketName="other"),
        "this bucket would be replaced",
    ),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_what_loses_data_says_so_and_why(loss: str) -> None:
    edit, why = LOSSES[loss]
    (found,) = change(edit)
    assert found.data_loss
    assert found.why == why


def test_a_queue_may_go_without_losing_data() -> None:
    found = change(lambda t: t["Resources"].pop("Events"))
    assert [(c.action, c.data_loss) for c in found] == [("deleted", False)]


def test_what_loses_data_comes_first() -> None:
    def edit(t: dict[str, Any]) -> None:
        del t["Resources"]["Landing"]
        t["Resources"]["Events"]["Properties"]["VisibilityTimeout"] = 99

    assert [c.id for c in change(edit)] == ["Landing", "Events"]


def test_a_resource_whose_condition_is_false_is_not_there() -> None:
    def edit(t: dict[str, Any]) -> None:
        t["Parameters"]["Extras"] = {"Type": "String", "Default": "no"}
        t["Conditions"] = {"Extras": {"Fn::Equals": [{"Ref": "Extras"}, "yes"]}}
        t["Resources"]["More"] = {"Type": "AWS::SQS::Queue", "Condition": "Extras"}

    assert change(edit) == []


def test_statements_are_compared_one_by_one() -> None:
    before, after = template("lv"), template("lv")
    (policy,) = after["Resources"]["IngestRole"]["Properties"]["Policies"]
    policy["PolicyDocument"]["Statement"][0]["Action"].append("sqs:ChangeMessageVisibility")
    more, less = granted(before, after)
    assert [s["actions"] for s in more] == [
        ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
    ]
    assert [s["sid"] for s in less] == ["Events"]
    assert statements(after)[0]["resources"] == ["${Events.Arn}"]
    assert granted(before, before) == ([], [])


def test_only_what_outlives_its_stack_gets_a_plain_name() -> None:
    made = template("lv")
    made["Resources"]["Other"] = {
        "Type": "AWS::S3::Bucket",
        "Properties": {"BucketName": {"Fn::Sub": "${AWS::Region}"}},
    }
    found = settled(made, "123456789012", "eu-west-2")["Resources"]
    assert found["Landing"]["Properties"]["BucketName"] == "lv-landing-123456789012-eu-west-2"
    assert found["Other"] == made["Resources"]["Other"]
