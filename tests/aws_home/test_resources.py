"""What a project's pipelines get on AWS, looked at as values: no account, no network."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

import pytest
from stacks import ACCOUNT, GOLDENS, ROOT, Line, Sale, built, lines, options, sales

from headrace import Pipeline, Record, files, keyed, lake
from headrace.aws.declare.resources import resources
from headrace.aws.declare.resources.arrivals import MOST, Direct, Shared, count, filters_of, ways
from headrace.aws.declare.resources.publish import every
from headrace.aws.declare.resources.values import (
    Alarm,
    Bucket,
    Budget,
    Function,
    Guard,
    Mapped,
    Queue,
    Resource,
    Role,
    Rule,
    Subscription,
    Table,
    Workgroup,
)
from headrace.aws.places import Places
from headrace.cli.app import parser
from headrace.engine.home import matches
from headrace.model.errors import DefinitionError


def of(kind: type, found: dict[str, Resource]) -> list[Any]:
    return [one for one in found.values() if isinstance(one, kind)]


# what arrives


def test_a_queue_hears_of_created_and_removed_objects_of_its_prefix_and_suffix() -> None:
    landing = built(sales())["Landing"]
    assert isinstance(landing, Bucket)
    told = {(n.event, n.prefix, n.suffix) for n in landing.notifications}
    for event in ("s3:ObjectCreated:*", "s3:ObjectRemoved:*"):
        assert {(event, "shop/", s) for s in (".csv", ".CSV", ".csv.gz", ".csv.zst", ".zip")} <= told
    assert {n.arn for n in landing.notifications} == {"${SalesEvents.Arn}"}


@pytest.mark.parametrize("suffix", [".csv", "", (".json", ".ndjson"), (".csv", ".zip"), (".gz", ".csv")])
@pytest.mark.parametrize(
    "name", ["a.csv", "A.CSV", "a.csv.gz", "A.CSV.GZ", "A.CSV.gz", "a.zip", "a.json", "a.ndjson.zst", "a.txt"]
)
def test_s3_tells_of_what_the_engine_takes_and_of_nothing_else(suffix: str | Sequence[str], name: str) -> None:
    source = files("in/", suffix=suffix)
    told = any(f"in/{name}".startswith(f.prefix) and name.endswith(f.suffix) for f in filters_of(source))
    assert told == matches(name, source.suffix)


def test_no_two_notifications_of_one_event_overlap() -> None:
    for pipelines in ([sales()], [sales(), lines()], [sales(suffix=(".csv", ".gz")), sales("b", "other/", "")]):
        landing = built(*pipelines)["Landing"]
        assert isinstance(landing, Bucket)
        for event in ("s3:ObjectCreated:*", "s3:ObjectRemoved:*"):
            filters = [(n.prefix, n.suffix) for n in landing.notifications if n.event == event]
            for i, (prefix, suffix) in enumerate(filters):
                for other_prefix, other_suffix in filters[i + 1 :]:
                    prefixes = prefix.startswith(other_prefix) or other_prefix.startswith(prefix)
                    suffixes = suffix.endswith(other_suffix) or other_suffix.endswith(suffix)
                    assert not (prefixes and suffixes)


def test_pipelines_whose_prefixes_overlap_hear_through_one_topic() -> None:
    found = built(sales(), lines())
    landing = found["Landing"]
    assert isinstance(landing, Bucket)
    assert {(n.to, n.prefix, n.suffix) for n in landing.notifications} == {("topic", "shop/", "")}
    assert {s.endpoint for s in of(Subscription, found)} == {"${SalesEvents.Arn}", "${LinesEvents.Arn}"}
    assert landing.after == ("ArrivalsPolicy",)


def test_pipelines_of_one_prefix_with_different_suffixes_need_no_topic() -> None:
    found = ways([sales(suffix=".tsv"), sales("logs", suffix=".json")])
    overlap = [way for way in found if isinstance(way, Shared)]
    assert len(overlap) == 1  # both take .zip
    assert ways([sales("a", "x/"), sales("b", "y/")]) == tuple(
        Direct(p, filters_of(p.source)) for p in (sales("a", "x/"), sales("b", "y/"))
    )


def test_a_topic_covers_more_than_its_pipelines_did_one_by_one() -> None:
    # a/ and a/b/ meet by suffix; their topic tells of everything below a/, so a/c/ hears through it as well.
    three = [sales("a", "a/", ".csv"), sales("b", "a/b/", ".csv"), sales("c", "a/c/", ".xlsx")]
    (way,) = ways(three)
    assert isinstance(way, Shared) and way.prefix == "a/" and set(way.pipelines) == set(three)


def test_suffixes_are_given_up_before_a_bucket_has_too_many_notifications() -> None:
    few, many = ([sales(f"p{n}x", f"in{n}/") for n in range(k)] for k in (5, 6))
    assert count(ways(few)) <= MOST and all(len(w.filters) > 1 for w in ways(few) if isinstance(w, Direct))
    assert count(ways(many)) == 2 * len(many)
    assert all(isinstance(w, Direct) and w.filters[0].suffix == "" for w in ways(many))


# queues and functions


def test_a_delivered_event_stays_hidden_for_six_timeouts() -> None:
    found = built(sales(), ingest_timeout=120, publish_timeout=60)
    for queue, function in (("SalesEvents", "SalesIngest"), ("SalesBell", "SalesPublish")):
        hidden, runs = found[queue], found[function]
        assert isinstance(hidden, Queue) and isinstance(runs, Function)
        assert hidden.visibility >= 6 * runs.timeout


def test_our_own_ledger_buries_before_sqs_does() -> None:
    queue = built(sales(), max_receives=12)["SalesEvents"]
    assert isinstance(queue, Queue) and queue.dead_letters
    assert queue.dead_letters.receives > 12
    assert queue.dead_letters.arn == "${SalesDlq.Arn}"


def test_only_the_projects_bucket_may_send_events() -> None:
    guard = built(sales())["SalesEventsPolicy"]
    assert isinstance(guard, Guard)
    (sender,) = [s for s in guard.statements if s.effect == "Allow"]
    assert sender.principals == ("s3.amazonaws.com",)
    assert "shop-test-landing" in sender.conditions["ArnEquals"]["aws:SourceArn"]
    assert sender.conditions["StringEquals"]["aws:SourceAccount"] == "${AWS::AccountId}"


def test_no_bucket_and_no_queue_takes_anything_but_tls() -> None:
    found = built(sales())
    guarded = {g.on for g in of(Guard, found) if any(s.sid == "TlsOnly" and s.effect == "Deny" for s in g.statements)}
    assert guarded == {f"${{{one.id}}}" for one in (*of(Bucket, found), *of(Queue, found))}


def test_functions_use_what_the_options_say() -> None:
    found = built(sales(), ingest_memory=1024, ingest_storage=512, architecture="arm64", concurrency=3, batch_files=7)
    ingest, mapped = found["SalesIngest"], found["SalesIngestMapping"]
    assert isinstance(ingest, Function) and isinstance(mapped, Mapped)
    assert (ingest.memory, ingest.storage, ingest.architecture) == (1024, 512, "arm64")
    assert (mapped.batch, mapped.concurrency, mapped.window) == (7, 3, 1)


def test_a_function_is_told_its_own_places_and_no_secret() -> None:
    pipelines = [sales(), *(sales(f"other{n}", f"o{n}/") for n in range(16))]
    function = {one.id: one for one in resources("shop", pipelines, options(), target="prod")}["SalesIngest"]
    assert isinstance(function, Function)
    assert set(function.environment) == {"HEADRACE_PLACES", "HEADRACE_PIPELINE", "HEADRACE_TARGET"}
    assert (function.environment["HEADRACE_PIPELINE"], function.environment["HEADRACE_TARGET"]) == ("sales", "prod")
    assert Places.from_environment(function.environment).pipelines.keys() == {"sales"}
    assert sum(len(name) + len(text) for name, text in function.environment.items()) < 3000  # Lambda takes 4 KB


def test_the_publisher_is_swept_each_minute_and_scans_as_often_as_asked() -> None:
    rules = {r.name: (r.schedule, dict(r.input)) for r in of(Rule, built(sales(), scan_every="2 hours"))}
    assert rules == {
        "shop-test-sales-sweep": ("rate(1 minute)", {"do": "publish"}),
        "shop-test-sales-scan": ("rate(2 hours)", {"do": "scan"}),
    }


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (60, "rate(1 minute)"),
        (90, "rate(2 minutes)"),
        (3600, "rate(1 hour)"),
        (5400, "rate(90 minutes)"),
        (86400, "rate(1 day)"),
    ],
)
def test_spans_in_the_words_of_eventbridge(seconds: int, said: str) -> None:
    assert every(seconds) == said


# data


def test_data_outlives_its_stack() -> None:
    kept = {one.id for one in built(sales()).values() if one.keep}
    assert kept == {"Landing", "Lake", "Ledger", "SalesItemsItems", "Database"}


class Reading(Record, key=("asset", "at")):
    asset: str
    at: datetime


class Counted(Record, key=("number",)):
    number: int


@pytest.mark.parametrize(("record", "kinds"), [(Sale, ("N", "S")), (Reading, ("S", "S")), (Counted, ("N", None))])
def test_keys_of_a_keyed_table_have_the_types_of_the_records_key(record: type[Record], kinds: tuple[str, Any]) -> None:
    pipeline = Pipeline("p", source=files("p/"), record=record, sinks=keyed("t"))
    table = built(pipeline)["TItems"]
    assert isinstance(table, Table)
    assert (table.partition.type, table.sort and table.sort.type) == kinds


def test_an_index_of_a_keyed_sink_is_one_of_its_table() -> None:
    pipeline = Pipeline("p", source=files("p/"), record=Sale, sinks=keyed("t", index="amount"))
    table = built(pipeline)["TItems"]
    assert isinstance(table, Table)
    (index,) = table.indexes
    assert (index.name, index.partition.type, index.sort) == ("by_amount", "S", None)


def test_a_delete_marker_goes_with_the_last_version_that_it_hides() -> None:
    for bucket in of(Bucket, built(sales())):
        assert [x.prefix for x in bucket.lifetimes if x.clear_markers] == [""]  # everywhere
        assert not [x for x in bucket.lifetimes if x.clear_markers and x.expire_after]  # S3 takes no rule with both


def test_tables_are_encrypted_by_a_key_that_costs_nothing_per_request() -> None:
    """`SSEEnabled` would choose aws/dynamodb of KMS; without, DynamoDB encrypts with a key of its own."""
    found = [x["Properties"] for x in GOLDENS["substation"]()["Resources"].values() if "Table" in x["Type"]]
    assert found and not [one for one in found if "SSESpecification" in one]


def test_an_answer_of_athena_lies_where_nothing_notifies_and_does_not_stay() -> None:
    found = built(sales())
    workgroup, lake_bucket = found["Workgroup"], found["Lake"]
    assert isinstance(workgroup, Workgroup) and isinstance(lake_bucket, Bucket)
    assert workgroup.results == f"s3://{lake_bucket.name}/athena/"
    assert not lake_bucket.notifications
    assert [x.expire_after for x in lake_bucket.lifetimes if x.prefix == "athena/"] == [7]


def test_a_query_that_athena_cannot_run_is_left_out_with_the_reason() -> None:
    queries = {"ok": "SELECT count(*) FROM sales_rows", "items": "SELECT * FROM sales_items", "bad": "SELECT ("}
    found = {one.id: one for one in resources("shop", [sales()], options(), queries)}
    workgroup = found["Workgroup"]
    assert isinstance(workgroup, Workgroup)
    assert "OkQuery" in found and "ItemsQuery" not in found
    assert set(workgroup.left_out) == {"items", "bad"} and "sales_items is no table" in workgroup.left_out["items"]


# watching


def test_every_alarm_has_its_threshold_and_tells_the_operations_topic() -> None:
    alarms = {a.name.removeprefix("shop-test-sales-"): a for a in of(Alarm, built(sales()))}
    assert {name: (a.beyond, a.threshold, a.period * a.periods) for name, a in alarms.items()} == {
        "ingest-errors": ("more", 5, 300),
        "publish-errors": ("more", 5, 300),
        "publish-stuck": ("more", 0, 900),
        "ingest-throttles": ("more", 0, 300),
        "publish-throttles": ("more", 0, 300),
        "dead-letters": ("more", 0, 300),
        "oldest-event": ("more", 900, 300),
        "no-data": ("less", 1, 7200),
    }
    assert {a.topic for a in alarms.values()} == {"${Operations}"}


def test_a_metric_that_says_nothing_raises_no_alarm() -> None:
    """Or a new stack would begin with one: its queue has no metric of an hour in which it was not there."""
    found = GOLDENS["substation"]()["Resources"].values()
    alarms = [one["Properties"] for one in found if one["Type"] == "AWS::CloudWatch::Alarm"]
    assert alarms and {one["TreatMissingData"] for one in alarms} == {"notBreaching"}


def test_an_alarm_ends_with_the_command_to_type_and_its_section_in_the_runbook() -> None:
    runbook = (ROOT / "docs" / "aws" / "runbooks.md").read_text("utf-8").splitlines()
    for one in GOLDENS["overlapping"]()["Resources"].values():
        if one["Type"] != "AWS::CloudWatch::Alarm":
            continue
        text = one["Properties"]["AlarmDescription"]
        told = re.fullmatch(r".+\. Next: `headrace (.+)`\. Runbook: docs/aws/runbooks\.md, (.+)\.", text)
        assert told and len(text) <= 1024, one  # CloudWatch's limit
        assert f"## {told[2]}" in runbook
        typed = parser().parse_args(shlex.split(told[1]))
        assert typed.target == "prod"
        assert getattr(typed, "pipeline", None) in (None, "sales", "lines")


def test_expected_data_sets_how_long_silence_may_last() -> None:
    (alarm,) = [a for a in of(Alarm, built(sales(expect_every="1 day"))) if a.name.endswith("no-data")]
    assert alarm.period * alarm.periods == 86_400
    with pytest.raises(DefinitionError, match="HR806 .*at most 7 days"):
        built(sales(expect_every="8 days"))


def test_a_budget_is_there_unless_it_is_not_wanted() -> None:
    (budget,) = of(Budget, built(sales(), budget=20))
    assert (budget.amount, budget.tag, budget.extra) == (20, ("headrace-stack", "shop-test"), True)
    assert not of(Budget, built(sales(), budget=0))


def test_a_budget_waits_for_the_right_to_tell() -> None:
    (budget,) = of(Budget, built(sales()))
    assert budget.after == ("OperationsPolicy",)


def test_one_mail_address_hears_of_alarms_and_one_of_what_data_has_to_tell() -> None:
    for option, topic in (("alarm_email", "${Operations}"), ("alerts_email", "${Alerts}")):
        (mail,) = [s for s in of(Subscription, built(sales(), **{option: "a@b.example"})) if s.protocol == "email"]
        assert (mail.topic, mail.endpoint) == (topic, "a@b.example")


# all of them


def test_everything_that_can_be_tagged_says_whose_it_is() -> None:
    found = built(sales(), tags={"team": "shop"})
    untaggable = {"GlueDatabase", "NamedQuery", "Guard", "Subscription", "Once", "Permission", "Dashboard"}
    for one in found.values():
        assert bool(one.tags) != (type(one).__name__ in untaggable), one.id
    assert dict(found["SalesIngest"].tags) == {
        "headrace-pipeline": "sales",
        "headrace-project": "shop",
        "headrace-stack": "shop-test",
        "team": "shop",
    }


def test_every_resource_says_why_it_is_there() -> None:
    for one in built(sales(), lines()).values():
        assert one.why.endswith(".") and all(w.reason for w in one.waivers), one.id


def test_no_name_is_longer_than_aws_takes() -> None:
    long = sales("a" * 120, sinks=(keyed("k" * 200), lake("l" * 100)))
    found = built(long, stack="s" * 60)
    most = {Bucket: 63, Function: 64, Queue: 80, Rule: 64, Table: 255, Alarm: 255, Workgroup: 128}
    for kind, length in most.items():
        named = of(kind, found)
        assert named
        for one in named:
            name = one.name
            for placeholder, value in ACCOUNT.items():
                name = name.replace(f"${{{placeholder}}}", value)
            assert len(name) <= length, name
    assert max(map(len, found)) <= 255  # logical ids


def test_two_things_of_one_name_are_refused() -> None:
    with pytest.raises(DefinitionError, match="HR808 .*OverviewQuery"):
        built_with = {"overview": "SELECT 1", "Overview": "SELECT 2"}
        resources("shop", [sales()], options(), built_with)


def test_more_pipelines_than_a_stack_can_hold_are_refused_with_the_number() -> None:
    def many(n: int) -> list[Pipeline]:
        return [sales(f"p{k}x", f"in{k}/") for k in range(n)]

    assert len(resources("shop", many(17), options())) == 488
    with pytest.raises(DefinitionError, match=r"HR847 stack 'shop-test': .*516 resources for 18 pipelines.*takes 500"):
        resources("shop", many(18), options())


def test_each_resource_is_of_the_part_of_the_stack_that_it_is_there_for() -> None:
    found = built(sales(), sales("more", "shop/more/"))
    parts = ["storage", "arrivals", "pipeline sales", "pipeline more", "queries", "watching"]
    assert list(dict.fromkeys(one.part for one in found.values())) == parts
    assert {found[id].part for id in ("SalesEvents", "SalesPublishRole", "SalesScan")} == {"pipeline sales"}


def test_the_same_definition_gives_the_same_values_in_the_same_order() -> None:
    twice = [resources("shop", [sales(), lines()], options()) for _ in range(2)]
    assert twice[0] == twice[1]


def test_every_reference_leads_to_a_resource_of_the_stack() -> None:
    found = built(sales(), lines(), alarm_email="a@b.example")
    known = {*found, *ACCOUNT}
    for one in found.values():
        text = json.dumps({f.name: getattr(one, f.name) for f in fields(one)}, default=str)
        for reference in text.split("${")[1:]:
            name = reference.split("}")[0].split(".")[0]
            assert name in known, (one.id, name)


def test_a_pipeline_without_a_lake_or_a_keyed_sink_may_not_touch_one() -> None:
    only_lake = built(lines())["LinesPublishRole"]
    only_keyed = built(sales(sinks=keyed("items")))["SalesPublishRole"]
    assert isinstance(only_lake, Role) and isinstance(only_keyed, Role)
    assert "Keyed" not in {s.sid for s in only_lake.statements}
    assert "Catalog" not in {s.sid for s in only_keyed.statements}
    assert Line.__options__.key == ()
