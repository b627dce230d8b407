"""What differs between two templates, what CloudFormation would replace, and what of that loses data."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from aws_home.small_stack import template
from headrace.aws.operate.compare import STAYS, Change, changes, settled
from headrace.aws.operate.indexes import refuse_several
from headrace.aws.operate.rights import granted, rights, statements
from headrace.model.errors import UsageError


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


def test_a_changed_property_has_its_old_and_its_new_value() -> None:
    (found,) = change(lambda t: t["Resources"]["Ingest"]["Properties"].update(Timeout=60, MemorySize=512))
    assert found.values == (("MemorySize", None, 512), ("Timeout", 30, 60))
    assert found.public()["values"][1] == {"path": "Timeout", "from": 30, "to": 60}


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
        f"it leaves the definition; it {STAYS}",
    ),
    "a keyed table gone": (
        lambda t: (t["Resources"].pop("Readings"), t["Metadata"]["Headrace"]["tables"].pop("readings")),
        f"it leaves the stack; it {STAYS}",
    ),
    "a bucket gone": (lambda t: t["Resources"].pop("Landing"), f"it leaves the stack; it {STAYS}"),
    "a bucket renamed": (
        lambda t: t["Resources"]["Landing"]["Properties"].update(BucketName="other"),
        f"an empty bucket takes the place of lv-landing-${{AWS::AccountId}}-${{AWS::Region}}, which {STAYS}",
    ),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_what_loses_data_says_so_and_why(loss: str) -> None:
    edit, why = LOSSES[loss]
    (found,) = change(edit)
    assert found.data_loss
    assert found.why == why


@pytest.mark.parametrize(
    ("gone", "how"),
    [
        ("Readings", "aws dynamodb delete-table --table-name lv-keyed-readings"),
        ("Landing", "aws s3 rb s3://lv-landing-"),
        ("data", "`DROP TABLE data` in Athena"),
    ],
)
def test_data_that_stays_behind_is_said_to_stay_and_how_to_delete_it(gone: str, how: str) -> None:
    def edit(t: dict[str, Any]) -> None:
        t["Resources"].pop(gone, None)
        t["Metadata"]["Headrace"]["tables"].pop(gone.lower(), None)

    (found,) = change(edit)
    assert (found.action, found.data_loss, found.kept) == ("deleted", True, True)
    assert how in found.note


def test_a_table_that_its_stack_does_not_retain_is_lost_and_not_left_behind() -> None:
    before = template("lv")
    del before["Resources"]["Readings"]["DeletionPolicy"]
    after = copy.deepcopy(before)
    del after["Resources"]["Readings"]
    (found,) = changes(before, after)
    assert (found.data_loss, found.kept, found.why) == (True, False, "this table leaves the definition")


# indexes


def indexed(*names: str, kind: str = "S", key: str = "id") -> dict[str, Any]:
    """The small stack whose keyed table has sparse indexes."""
    made = template("lv")
    table = made["Resources"]["ReadingsItems"] = made["Resources"].pop("Readings")
    attributes = [{"AttributeName": key, "AttributeType": "S"}]
    attributes += [{"AttributeName": f"_by_{n}", "AttributeType": kind} for n in names]
    keys = {n: [{"AttributeName": f"_by_{n}", "KeyType": "HASH"}] for n in names}
    all_ = {"ProjectionType": "ALL"}
    table["Properties"] |= {
        "KeySchema": [{"AttributeName": key, "KeyType": "HASH"}],
        "AttributeDefinitions": attributes,
        "GlobalSecondaryIndexes": [
            {"IndexName": f"by_{n}", "KeySchema": keys[n], "Projection": all_} for n in names
        ],
    }  # fmt: skip
    return made


def test_a_new_index_of_a_table_with_rows_is_said_to_lack_them_until_a_rebuild() -> None:
    (found,) = changes(indexed(), indexed("units"))
    assert found.action == "changed" and not found.data_loss
    assert found.note == (
        "index by_units of readings answers once the publisher of lv has put every row into it: "
        "`headrace status` says when"
    )
    refuse_several("stack 'lv'", [found])
    (gone,) = changes(indexed("units"), indexed())
    assert gone.note == ""


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (indexed(), indexed("a", "b"), "would make by_a, by_b, and"),
        (indexed("a"), indexed("b"), "would make by_b and delete by_a, and"),
        (indexed("a", "b"), indexed(), "would delete by_a, by_b, and"),
        (indexed("a"), indexed("a", kind="N"), "would make by_a and delete by_a, and"),
    ],
)
def test_more_than_one_index_at_a_time_is_refused_before_cloudformation_does(
    before: dict[str, Any], after: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=f"HR846 stack 'lv': table lv-keyed-readings {told}.*`headrace deploy`"):
        refuse_several("stack 'lv'", changes(before, after))


def test_a_table_that_is_made_may_have_several_indexes_and_their_order_is_none() -> None:
    refuse_several("stack 'lv'", changes({}, indexed("a", "b")))
    refuse_several("stack 'lv'", changes(indexed(), indexed("a", "b", key="other")))  # made anew
    swapped = changes(indexed("a", "b"), indexed("b", "a"))
    assert not [value for one in swapped for value in one.values if value.path.startswith("GlobalSecondaryIndexes")]


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


def test_rights_are_told_as_the_actions_that_a_role_gains_and_loses_on_a_resource() -> None:
    before, after = template("lv"), template("lv")
    (policy,) = after["Resources"]["IngestRole"]["Properties"]["Policies"]
    (events,) = policy["PolicyDocument"]["Statement"]
    events["Action"] = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:SendMessage"]
    after["Resources"]["IngestRole"]["Metadata"] = {"Statements": {"Events": "the pipeline's queue"}}
    (found,) = rights(before, after)
    assert (found.role, found.effect, found.resources) == ("IngestRole", "Allow", ("${Events.Arn}",))
    assert (found.granted, found.withdrawn) == (("sqs:SendMessage",), ("sqs:GetQueueAttributes",))
    assert found.why == "the pipeline's queue"


def test_a_statement_that_is_only_split_in_two_changes_no_right() -> None:
    before, after = template("lv"), template("lv")
    (policy,) = after["Resources"]["IngestRole"]["Properties"]["Policies"]
    (events,) = policy["PolicyDocument"]["Statement"]
    first, *rest = events["Action"]
    halves = [{**events, "Sid": "First", "Action": first}, {**events, "Sid": "Rest", "Action": rest}]
    policy["PolicyDocument"]["Statement"] = halves
    assert rights(before, after) == []
    assert granted(before, after) != ([], [])


def test_only_what_outlives_its_stack_gets_a_plain_name() -> None:
    made = template("lv")
    made["Resources"]["Other"] = {
        "Type": "AWS::S3::Bucket",
        "Properties": {"BucketName": {"Fn::Sub": "${AWS::Region}"}},
    }
    found = settled(made, "123456789012", "eu-west-2")["Resources"]
    assert found["Landing"]["Properties"]["BucketName"] == "lv-landing-123456789012-eu-west-2"
    assert found["Other"] == made["Resources"]["Other"]
