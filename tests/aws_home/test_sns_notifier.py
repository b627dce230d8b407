"""Alerts through SNS: subjects that it takes, nothing lost of what was said, and failures that are raised."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from headrace.aws.notify import MOST_BYTES, SnsNotifier, title_of
from headrace.aws.session import Session
from headrace.model.errors import InfrastructureError, MessageRefused

pytestmark = pytest.mark.usefixtures("aws_environment")


class Topic:
    """A topic, and a queue that listens to it."""

    def __init__(self) -> None:
        self.session = Session("eu-west-2")
        self._sqs = self.session.client("sqs")
        sns, name = self.session.client("sns"), f"alerts-{secrets.token_hex(6)}"
        self.arn = sns.create_topic(Name=name)["TopicArn"]
        self._url = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        asked = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])
        sns.subscribe(TopicArn=self.arn, Protocol="sqs", Endpoint=asked["Attributes"]["QueueArn"])

    def said(self) -> list[dict[str, Any]]:
        got = self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=2)
        return [json.loads(message["Body"]) for message in got.get("Messages", ())]


@pytest.fixture
def topic() -> Topic:
    return Topic()


def test_a_message_reaches_who_listens_with_its_attributes(topic: Topic) -> None:
    notifier = SnsNotifier(topic.session, topic.arn)
    notifier.send("lv: 3 rows were rejected", "headrace quarantine ls lv", {"pipeline": "lv", "alert": "", "a b": "ü"})
    (said,) = topic.said()
    assert (said["Subject"], said["Message"]) == ("lv: 3 rows were rejected", "headrace quarantine ls lv")
    assert {k: v["Value"] for k, v in said["MessageAttributes"].items()} == {"pipeline": "lv", "a_b": "ü"}


def test_what_a_subject_cannot_hold_stands_before_the_body(topic: Topic) -> None:
    subject = "données/ü.csv\n" + "x" * 200
    SnsNotifier(topic.session, topic.arn).send(subject, "body", {})
    (said,) = topic.said()
    assert (said["Subject"], len(said["Subject"])) == ("donnees/u.csv " + "x" * 83 + "...", 100)
    assert said["Message"] == f"{subject}\n\nbody"


def test_a_message_without_a_body_is_its_subject(topic: Topic) -> None:
    SnsNotifier(topic.session, topic.arn).send("lv is late", "", {})
    assert [said["Message"] for said in topic.said()] == ["lv is late"]


def test_a_long_body_is_cut_to_what_sns_takes(topic: Topic) -> None:
    SnsNotifier(topic.session, topic.arn).send("lv", "ü" * 300_000, {})
    (said,) = topic.said()
    assert said["Message"] == "ü" * (MOST_BYTES // 2) + "…"


@pytest.mark.parametrize(
    ("subject", "title"),
    [
        ("plain", "plain"),
        ("a\r\nb\tc", "a b c"),
        ("  blanks  ", "blanks"),
        ("Łódź – a…", "?odz - a..."),
        ("日本", "??"),
        ("\x00\x1b[31m", "??[31m"),
        ("", "headrace"),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 97 + "..."),
    ],
)
def test_a_subject_is_made_of_what_sns_takes(subject: str, title: str) -> None:
    assert title_of(subject) == title


def test_a_message_that_cannot_be_sent_is_an_error_so_that_the_outbox_keeps_it(topic: Topic) -> None:
    gone = SnsNotifier(topic.session, topic.arn + "-gone")
    with pytest.raises(InfrastructureError, match=r"HR307 arn:aws:sns:.*-gone: there is no such topic"):
        gone.send("a", "b", {})


@pytest.mark.parametrize(
    ("code", "raised"),
    [("InvalidParameter", MessageRefused), ("KMSDisabled", InfrastructureError), ("Throttled", InfrastructureError)],
)
def test_only_what_is_about_the_message_itself_is_refused_for_good(
    code: str, raised: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    with refusing(code) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises(raised, match=f"HR80[45] arn:x: Publish .*{code}"):
            SnsNotifier(Session("eu-west-2", attempts=1), "arn:x").send("a", "b", {})


@contextmanager
def refusing(code: str) -> Iterator[str]:
    """An SNS that refuses everything; yields where it is."""
    status = 429 if code == "Throttled" else 400
    said = f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"

    class Refuses(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said.encode())

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_service_that_is_away_is_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(InfrastructureError, match="HR803 arn:x"):
        SnsNotifier(Session("eu-west-2", attempts=1), "arn:x").send("a", "b", {})
