"""Sending items to DynamoDB: signed as botocore signs, repeated while that helps, silent about secrets."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import CredentialRetrievalError

from headrace.aws import lanes
from headrace.aws.keyed_layout import Layout
from headrace.aws.session import Session
from headrace.aws.signature import TARGET, Signer
from headrace.aws.wire import Wire
from headrace.model.errors import InfrastructureError
from sinks.dynamo import REGION, make_table
from sinks.unreliable import Unreliable, unreliable

CANARY = "canary/secret+0123456789abcdefghijklmnop"


@pytest.fixture
def table(aws_environment: str, request: pytest.FixtureRequest) -> str:
    name = f"wire-{abs(hash(request.node.name)):x}"
    make_table(Session(REGION), name, Layout.of(("id",), (("id", "VARCHAR"),)))
    return name


@pytest.fixture
def shaky(aws_environment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Unreliable]:
    """Every second batch meets one trouble or another."""
    with unreliable(aws_environment, share=0.5) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        yield server


def puts(n: int, note: str = "x") -> Iterator[str]:
    return (json.dumps({"PutRequest": {"Item": {"id": {"S": f"k{i}"}, "note": {"S": note}}}}) for i in range(n))


def held(table: str) -> int:
    pages = Session(REGION).client("dynamodb").get_paginator("scan").paginate(TableName=table, Select="COUNT")
    return sum(int(page["Count"]) for page in pages)


def wire(table: str, **given: Any) -> Wire:
    return Wire(Session(REGION), table, doubt=0.01, **given)


@pytest.mark.parametrize("token", [None, "a-session-token"])
def test_requests_are_signed_as_botocore_signs_them(token: str | None) -> None:
    credentials = Credentials("AKIDEXAMPLE", CANARY, token)
    signer = Signer(credentials, REGION, "dynamodb.eu-west-2.amazonaws.com")
    for at, body in [(1_763_600_000.9, b"{}"), (1_763_600_000.1, b'{"a":1}'), (1_763_700_000.0, "é".encode())]:
        headers = signer.headers(body, at)
        request = AWSRequest("POST", "https://dynamodb.eu-west-2.amazonaws.com/", data=body)
        request.context["timestamp"] = headers["X-Amz-Date"]
        for name in ("X-Amz-Date", "X-Amz-Target", "X-Amz-Security-Token"):
            if name in headers:
                request.headers[name] = headers[name]
        auth = SigV4Auth(credentials, "dynamodb", REGION)
        wanted = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
        assert headers["Authorization"].endswith(f"Signature={wanted}")
        assert f"Credential={auth.scope(request)}," in headers["Authorization"]
        assert headers["X-Amz-Target"] == TARGET


def test_credentials_that_are_renewed_sign_the_next_second(monkeypatch: pytest.MonkeyPatch) -> None:
    held = [Credentials("AKIDONE", "one"), Credentials("AKIDTWO", "two", "token")]

    class Renewing:
        def get_frozen_credentials(self) -> Any:
            return held.pop(0).get_frozen_credentials()

    signer = Signer(Renewing(), REGION, "host")
    first, same, other = (signer.headers(b"{}", at) for at in (100.0, 100.9, 101.0))
    assert first == same
    assert "AKIDONE" in first["Authorization"]
    assert "AKIDTWO" in other["Authorization"]
    assert other["X-Amz-Security-Token"] == "token"


def test_all_items_are_written_and_counted(table: str) -> None:
    session = Session(REGION)
    sender = Wire(session, table)
    assert sender.send(puts(260)) == 260
    assert held(table) == 260
    assert session.meter["dynamodb", "BatchWriteItem"] == 11
    assert session.meter["dynamodb:units", "BatchWriteItem"] == 260
    assert sum(session.retries.values()) == 0
    sender.close()


def test_large_items_are_spread_over_requests(table: str) -> None:
    sender = wire(table)
    assert sender.send(puts(30, "\x01" * 300_000)) == 30  # each 1.8 MB as JSON: 30 would be 54 MB
    assert held(table) == 30
    sender.close()


def test_what_is_throttled_refused_lost_or_left_is_sent_again(table: str, shaky: Unreliable) -> None:
    session = Session(REGION)
    sender = Wire(session, table, doubt=0.01)
    assert sender.send(puts(1000)) == 1000
    assert held(table) == 1000
    assert all(shaky.seen[trouble] for trouble in shaky.troubles)
    assert session.meter["dynamodb", "BatchWriteItem"] == 40
    assert 40 + session.retries["dynamodb", "BatchWriteItem"] == shaky.seen["BatchWriteItem"]
    sender.close()


@pytest.mark.parametrize(
    ("trouble", "code"), [("throttled", "HR852"), ("partial", "HR852"), ("refused", "HR803"), ("lost", "HR803")]
)
def test_what_does_not_end_is_given_up_in_time(
    table: str, aws_environment: str, monkeypatch: pytest.MonkeyPatch, trouble: str, code: str
) -> None:
    with unreliable(aws_environment, 1.0, (trouble,)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        sender = wire(table, patience=0.3)
        begun = time.monotonic()
        with pytest.raises(InfrastructureError, match=code):
            sender.send(puts(200))
        assert time.monotonic() - begun < 5
        sender.close()


def test_after_a_request_without_an_answer_one_waits_until_it_cannot_arrive(
    table: str, aws_environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unreliable(aws_environment, 1.0, ("lost",)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        sender = Wire(Session(REGION), table, patience=0.1, doubt=0.5)
        with pytest.raises(InfrastructureError):
            sender.send(puts(1))
        begun = time.monotonic()
        sender.settle()
        assert time.monotonic() - begun > 0.2
        begun = time.monotonic()
        sender.settle()
        assert time.monotonic() - begun < 0.1
        sender.close()


def test_where_connections_fail_those_that_are_there_carry_everything(
    table: str, aws_environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that does not come is waited for, each time; what has come meanwhile is read first."""
    monkeypatch.setattr(lanes, "CONNECT", 0.05)
    monkeypatch.setattr(lanes, "READ", 2.0)  # one of them is made by the system, and nobody answers
    with narrow(aws_environment, 2) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        sender = wire(table, patience=20.0)
        assert sender.send(puts(500)) == 500
        sender.close()
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_environment)
    assert held(table) == 500


@contextmanager
def narrow(behind: str, most: int) -> Iterator[str]:
    """A way to a server that lets so many connections through; more are neither taken nor refused."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = urlsplit(behind)
        ends: list[socket.socket] = []

        def pass_on(source: socket.socket, sink: socket.socket) -> None:
            with suppress(OSError):
                while piece := source.recv(1 << 16):
                    sink.sendall(piece)

        def serve() -> None:
            for _ in range(most):
                taken, _ = listener.accept()
                through = socket.create_connection((str(address.hostname), int(address.port or 80)))
                ends.extend((taken, through))
                for pair in ((taken, through), (through, taken)):
                    threading.Thread(target=pass_on, args=pair, daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for end in ends:
                end.close()


@pytest.mark.parametrize("trouble", [ValueError, KeyboardInterrupt])
def test_when_it_is_interrupted_nothing_is_under_way_that_settling_does_not_wait_for(
    table: str, trouble: type[BaseException]
) -> None:
    def broken() -> Iterator[str]:
        yield from puts(51)  # two requests, and what is not one yet
        raise trouble

    sender = Wire(Session(REGION), table, doubt=0.4)
    with pytest.raises(trouble):
        sender.send(broken())
    begun = time.monotonic()
    sender.settle()
    waited = time.monotonic() - begun
    assert waited > 0.3 if trouble is KeyboardInterrupt else held(table) == 50
    assert sender.send(puts(60)) == 60
    assert held(table) == 60
    sender.close()


@pytest.mark.parametrize("trouble", ["strange", "empty", "gateway"])
def test_what_is_no_answer_of_dynamodb_says_nothing_of_the_items(
    table: str, aws_environment: str, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """They may be on their way still, and are not there for certain."""
    with unreliable(aws_environment, 1.0, (trouble,)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        sender = Wire(Session(REGION), table, patience=0.1, doubt=1.0)
        with pytest.raises(InfrastructureError, match="HR803"):
            sender.send(puts(1))
        begun = time.monotonic()
        sender.settle()
        assert time.monotonic() - begun > 0.3
        sender.close()


def test_credentials_that_cannot_be_renewed_are_told(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def get_frozen_credentials(self) -> Any:
            raise CredentialRetrievalError(provider="a role", error_msg="it is gone")

    session = Session(REGION)
    monkeypatch.setattr(session, "credentials", Gone)
    with pytest.raises(InfrastructureError, match="HR801"):
        Wire(session, table).send(puts(1))


def test_a_request_that_is_wrong_is_not_sent_again(table: str) -> None:
    session = Session(REGION)
    sender = Wire(session, table)
    with pytest.raises(InfrastructureError, match=r"HR805 .*BatchWriteItem was refused"):
        sender.send(['{"PutRequest":{"Item":{"other":{"S":"x"}}}}'])
    assert sum(session.retries.values()) == 0
    sender.close()


def test_nothing_is_sent_once_it_is_not_allowed_any_more(table: str) -> None:
    asked: list[float] = []

    def allowed(at: float) -> None:
        asked.append(at)
        if len(asked) > 3:
            raise InfrastructureError("HR851", "a table", "was taken over")

    sender = Wire(Session(REGION), table, allowed, flights=1)
    with pytest.raises(InfrastructureError, match="HR851"):
        sender.send(puts(1000))
    assert held(table) == 75
    sender.close()


def test_no_secret_is_in_an_error_or_a_log(
    table: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", f"token-{CANARY}")
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    sender = wire(table, patience=0.2)
    with pytest.raises(InfrastructureError, match="HR803") as caught:
        sender.send(puts(1))
    sender.close()
    assert CANARY not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"
    assert CANARY not in caplog.text


def test_after_a_pause_it_begins_with_new_connections(table: str, shaky: Unreliable) -> None:
    shaky.share = 0.0
    now = [time.time()]
    sender = Wire(Session(REGION), table, clock=lambda: now[0], flights=1)
    made = []
    for pause in (0.0, 1.0, 60.0):
        now[0] += pause
        assert sender.send(puts(30)) == 30
        made.append(shaky.connections["BatchWriteItem"])
    assert made == [1, 1, 2]
    sender.close()
