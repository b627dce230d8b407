"""What functions may do, held against what their code calls."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name
from judged import allowed, filled, wildcards
from stacks import ACCOUNT, built, lines, sales

import headrace.aws
from headrace import files
from headrace.aws.declare.policy import PARTS, PEOPLE, WHY, calls_of
from headrace.aws.declare.resources.functions import parts_of
from headrace.aws.declare.resources.values import Guard, Role
from headrace.aws.declare.statements import Statement
from headrace.aws.options import ROLES
from headrace.model.pipeline import Pipeline

CODE = Path(headrace.aws.__file__).parent
SERVICES = ("dynamodb", "glue", "lambda", "s3", "sns", "sqs")
OPERATIONS = {
    service: {
        xform_name(name): name for name in botocore.session.get_session().get_service_model(service).operation_names
    }
    for service in SERVICES
}
PAGINATED = {"list_object_versions", "list_objects_v2"}
HOMONYMS = {
    "bell.py": {"publish"},
    "canary.py": {"publish"},
    "handlers.py": {"publish", "scan"},
    "queue.py": {"publish", "scan"},
    "table.py": {"scan"},
}
"""Our own functions that are called like an operation."""


def spoken(module: str) -> set[str]:
    """Operations that a module asks for: as a method, by name, or as a paginator."""
    methods = {method: name for known in OPERATIONS.values() for method, name in known.items()}
    names = set(methods.values())
    found: set[str] = set()
    for node in ast.walk(ast.parse((CODE / module).read_text("utf-8"))):
        match node:
            case ast.Call(func=ast.Attribute(attr=attr)) if attr in methods and attr not in HOMONYMS.get(module, ()):
                found.add(methods[attr])
            case ast.Constant(value=str(text)) if text in methods and text not in HOMONYMS.get(module, ()):
                found.add(methods[text])
            case ast.Constant(value=str(text)) if text in names and text not in ("Publish", "Invoke"):
                found.add(text)
    return found


def declared(module: str) -> set[str]:
    calls = {call.operation[1] for part in PARTS.values() if part.module == module for call in part.calls}
    return calls | PEOPLE.get(module, frozenset())


ADAPTERS = sorted({part.module for part in PARTS.values() if part.module} | set(PEOPLE))


@pytest.mark.parametrize("module", ADAPTERS)
def test_the_table_holds_exactly_the_calls_that_the_code_makes(module: str) -> None:
    """So an action that is taken from a policy here is missed here, by name, before anything is deployed."""
    own = {"query", "put", "get", "update"} if module == "table.py" else set()
    assert spoken(module) - own == declared(module)


def test_no_other_module_of_the_functions_speaks_to_aws() -> None:
    """Modules that only commands use do so with the rights of whoever types them."""
    ledger = ("ledger.py", "ledger_corrections.py", "ledger_history.py", "ledger_hints.py", "ledger_shapes.py")
    functions = ("base.py", "store.py", "lanes.py", "lock.py", "keyed.py", "target.py", *ledger)
    asking = {m: spoken(m) for m in functions}
    ours = {"Query", "Publish", "Scan", "UpdateItem"}  # of our own table, engine and control item
    assert {m: found - ours for m, found in asking.items() if found - ours} == {}


OBJECT, BUCKET = ("objects", "archive", "base", "bodies"), ("landing", "lake")
REFERENCE: dict[tuple[str, str], dict[tuple[str, ...], set[str]]] = {
    **{
        ("s3", name): {OBJECT: {"s3:PutObject"}}
        for name in ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")
    },
    ("s3", "AbortMultipartUpload"): {OBJECT: {"s3:AbortMultipartUpload"}},
    ("s3", "HeadObject"): {OBJECT: {"s3:GetObject"}},
    ("s3", "HeadBucket"): {BUCKET: {"s3:ListBucket"}},
    ("s3", "GetObject"): {
        ("objects", "archive", "base"): {"s3:GetObject", "s3:GetObjectVersion"},  # read on in the version it began with
        ("bodies",): {"s3:GetObject"},
        BUCKET: {"s3:ListBucket"},  # else what is not there is answered with 403
    },
    ("s3", "DeleteObject"): {OBJECT: {"s3:DeleteObject"}},
    ("s3", "DeleteObjects"): {OBJECT: {"s3:DeleteObject"}},
    ("s3", "ListObjectsV2"): {BUCKET: {"s3:ListBucket"}},
    ("s3", "ListObjectVersions"): {BUCKET: {"s3:ListBucketVersions"}},
    ("s3", "CopyObject"): {  # of a version, with its tags
        ("objects",): {"s3:GetObjectTagging", "s3:GetObjectVersionTagging", "s3:GetObject", "s3:GetObjectVersion"},
        ("archive",): {"s3:PutObject", "s3:PutObjectTagging"},
    },
    ("s3", "UploadPartCopy"): {
        ("objects",): {"s3:GetObject", "s3:GetObjectVersion"},
        ("archive",): {"s3:PutObject"},
    },
    ("sqs", "SendMessageBatch"): {("events",): {"sqs:SendMessage"}},
    ("sqs", "ChangeMessageVisibilityBatch"): {("events",): {"sqs:ChangeMessageVisibility"}},
    ("dynamodb", "TransactWriteItems"): {
        ("ledger",): {f"dynamodb:{kind}Item" for kind in ("Put", "Update", "Delete", "ConditionCheck")}
    },
}
"""What AWS asks for, where it is not the action of the same name (Service Authorization Reference; S3 user guide)."""


def asked(operation: tuple[str, str], on: str) -> set[str]:
    for things, actions in REFERENCE.get(operation, {}).items():
        if on in things:
            return actions
    return {":".join(operation)}


def short_of(statements: Sequence[Statement], parts: Sequence[str]) -> set[str]:
    """The actions that the calls of these parts need and the policy does not give, each with the thing it is for."""
    given = {(s.sid.lower(), action) for s in statements for action in s.actions}
    needed = {(call.on, action) for call in calls_of(parts) for action in asked(call.operation, call.on)}
    return {f"{action} on {on}" for on, action in needed - given}


def policy(pipeline: Pipeline, role: str) -> tuple[Statement, ...]:
    found = built(pipeline)[f"{pipeline.name.capitalize()}{role.capitalize()}Role"]
    assert isinstance(found, Role)
    return filled(found.statements, ACCOUNT)


ARCHIVED = sales(prefix="shop/")
ARCHIVING = Pipeline(
    "moved", source=files("moved/", suffix=".csv", after="archive"), record=ARCHIVED.record, sinks=ARCHIVED.sinks
)


@pytest.mark.parametrize("pipeline", [sales(), lines(), ARCHIVING], ids=lambda p: str(p.name))
@pytest.mark.parametrize("role", ROLES)
def test_every_action_is_needed_by_a_call_and_every_call_has_its_actions(pipeline: Pipeline, role: str) -> None:
    parts = parts_of(pipeline, role)  # type: ignore[arg-type]
    granted = {(s.sid.lower(), action) for s in policy(pipeline, role) for action in s.actions}
    assert granted == {(call.on, action) for call in calls_of(parts) for action in call.actions}


@pytest.mark.parametrize("pipeline", [sales(), lines(), ARCHIVING], ids=lambda p: str(p.name))
@pytest.mark.parametrize("role", ROLES)
def test_taking_any_single_action_from_a_role_is_named(pipeline: Pipeline, role: str) -> None:
    whole, parts = policy(pipeline, role), parts_of(pipeline, role)  # type: ignore[arg-type]
    assert short_of(whole, parts) == set()
    for statement in whole:
        for action in statement.actions:
            rest = [replace(s, actions=tuple(a for a in s.actions if (s, a) != (statement, action))) for s in whole]
            assert short_of(rest, parts) == {f"{action} on {statement.sid.lower()}"}


@pytest.mark.parametrize("role", ROLES)
def test_no_role_has_a_wildcard(role: str) -> None:
    for statement in policy(sales(), role):
        wide = [one for one in wildcards(statement) if statement.sid != "Logs"]
        assert wide == [], statement.sid
        assert "*" not in statement.resources and statement.why


def test_a_wide_denial_says_that_it_is_meant() -> None:
    for one in built(sales(), lines()).values():
        if isinstance(one, Guard):
            for statement in one.statements:
                assert not wildcards(statement) or (statement.effect == "Deny" and "wide" in statement.why)


def test_ingest_decides_nothing_and_reaches_no_table_of_rows() -> None:
    ingest = policy(sales(), "ingest")
    items = "arn:aws:dynamodb:eu-west-2:123456789012:table/shop-test-keyed-sales_items"
    assert not any(allowed(ingest, f"dynamodb:{action}", items) for action in ("PutItem", "BatchWriteItem", "Scan"))
    assert not any(s.actions[0].startswith(("glue:", "sns:")) for s in ingest)


def test_a_function_reads_below_its_own_prefix_alone_and_writes_no_object_there() -> None:
    bucket = "arn:aws:s3:::shop-test-landing-123456789012-eu-west-2"
    for role in ROLES:
        may = policy(sales(), role)
        assert allowed(may, "s3:GetObject", f"{bucket}/shop/2025/a.csv")
        assert not allowed(may, "s3:GetObject", f"{bucket}/other/a.csv")
        assert not allowed(may, "s3:PutObject", f"{bucket}/shop/2025/a.csv")
        assert not allowed(may, "s3:DeleteObject", f"{bucket}/shop/2025/a.csv")


def test_one_pipelines_functions_do_not_reach_another_pipelines_files_queues_or_items() -> None:
    found = {
        name: _statements(role) for name, role in built(sales("a"), sales("b", "b/")).items() if name.endswith("Role")
    }
    for role in ("IngestRole", "PublishRole"):
        others = [
            "arn:aws:sqs:eu-west-2:123456789012:shop-test-b-events",
            "arn:aws:s3:::shop-test-lake-123456789012-eu-west-2/lake/b_rows/data/x.parquet",
            "arn:aws:dynamodb:eu-west-2:123456789012:table/shop-test-keyed-b_items",
        ]
        for arn in others:
            granted = {action for s in found[f"A{role}"] for action in s.actions}
            assert not [action for action in granted if allowed(found[f"A{role}"], action, arn)], arn
            assert [action for action in granted if allowed(found[f"B{role}"], action, arn)] or "keyed" in arn


def _statements(role: object) -> tuple[Statement, ...]:
    assert isinstance(role, Role)
    return filled(role.statements, ACCOUNT)


def test_every_thing_that_a_call_touches_has_its_reason() -> None:
    assert {call.on for call in calls_of(PARTS)} == set(WHY)


# the matcher itself


def some(*actions: str, on: Sequence[str] = ("arn:aws:s3:::b/x/*",), effect: str = "Allow") -> Statement:
    return Statement("Some", actions, tuple(on), "a test", effect=effect)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("statement", "action", "arn", "may"),
    [
        (some("s3:GetObject"), "s3:GetObject", "arn:aws:s3:::b/x/1", True),
        (some("s3:GetObject"), "S3:getobject", "arn:aws:s3:::b/x/1", True),  # actions have no case
        (some("s3:GetObject"), "s3:GetObject", "arn:aws:s3:::b/X/1", False),  # keys do
        (some("s3:GetObject"), "s3:GetObject", "arn:aws:s3:::b/x", False),
        (some("s3:GetObject"), "s3:GetObjectVersion", "arn:aws:s3:::b/x/1", False),
        (some("s3:Get*"), "s3:GetObjectVersion", "arn:aws:s3:::b/x/1", True),
        (some("s3:GetObject", on=("arn:aws:s3:::b/?",)), "s3:GetObject", "arn:aws:s3:::b/1", True),
        (some("s3:GetObject", on=("arn:aws:s3:::b/?",)), "s3:GetObject", "arn:aws:s3:::b/12", False),
        (some("s3:GetObject", on=("arn:aws:s3:::b/[a]",)), "s3:GetObject", "arn:aws:s3:::b/a", False),
        (some("*", on=("*",), effect="Deny"), "s3:GetObject", "arn:aws:s3:::b/x/1", False),
    ],
)
def test_what_a_statement_allows(statement: Statement, action: str, arn: str, may: bool) -> None:
    assert allowed([statement], action, arn) == may


def test_a_denial_wins_whatever_is_allowed_beside_it() -> None:
    both = [some("s3:*", on=("*",)), some("s3:PutObject", on=("arn:aws:s3:::b/x/locked",), effect="Deny")]
    assert allowed(both, "s3:PutObject", "arn:aws:s3:::b/x/open")
    assert not allowed(both, "s3:PutObject", "arn:aws:s3:::b/x/locked")


def test_wildcards_are_seen() -> None:
    assert wildcards(some("s3:Get*", "s3:PutObject")) == ["s3:Get*"]
    assert wildcards(some("s3:PutObject", on=("*",))) == ["*"]
    assert wildcards(some("s3:PutObject")) == []
