"""The way to AWS: every request is counted, every error is in our words, and no secret is in any of them."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from other_services import Answer, service

from headrace.aws.session import Session
from headrace.engine import log
from headrace.model.codes import CODES
from headrace.model.errors import InfrastructureError, StoreUnavailable

CANARY = "canary-wJalrXUtnFEMI-K7MDENG-bPxRfiCY"
TOKEN = "canary-token-IQoJb3JpZ2luX2VjEJr"
KEY = "AKIACANARY7EXAMPLE00"


def refusal(code: str, message: str = "no", status: int = 400) -> Answer:
    """An error as the JSON protocols say it."""
    headers = {"content-type": "application/x-amz-json-1.0", "x-amzn-errortype": code}
    return status, headers, json.dumps({"__type": f"com.amazonaws#{code}", "message": message})


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Canaries in every place where a secret may come from, and nothing of the machine's own."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    return monkeypatch


def told(answers: Callable[..., Answer], environment: pytest.MonkeyPatch) -> InfrastructureError:
    """The error that a table's description ends in."""
    with service(answers) as url, pytest.raises(InfrastructureError) as caught:
        environment.setenv("AWS_ENDPOINT_URL", url)
        session = Session("eu-west-2", attempts=1)
        with session.wrapped("table 'lv'", "look at it"):
            session.client("dynamodb").describe_table(TableName="lv")
    shown = "".join(traceback.format_exception(caught.value))
    assert not [word for word in (CANARY, TOKEN, KEY, "SigningCanary") if word in shown], shown
    return caught.value


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            refusal("UnrecognizedClientException", "The security token included in the request is invalid."),
            "HR801 table 'lv': the credentials were not taken by DescribeTable (UnrecognizedClientException): AWS does "
            "not know the access key; log in again, or name another `profile` in the target",
        ),
        (
            refusal("InvalidSignatureException", f"Canonical string: x-amz-security-token:{TOKEN} SigningCanary"),
            "HR801 table 'lv': the credentials were not taken by DescribeTable (InvalidSignatureException): the secret "
            "does not belong to the access key, or this machine's clock is wrong; log in again, or name another "
            "`profile` in the target",
        ),
        (
            refusal(
                "AccessDeniedException",
                "User: arn:aws:iam::1:user/x is not authorized to perform: dynamodb:DescribeTable on resource: "
                "arn:aws:dynamodb:eu-west-2:1:table/lv because no identity-based policy allows the "
                "dynamodb:DescribeTable action",
            ),
            "HR802 table 'lv': dynamodb:DescribeTable on arn:aws:dynamodb:eu-west-2:1:table/lv is denied to these "
            "credentials; allow it in the role's or user's policy, or use another `profile`",
        ),
        (
            refusal("ServiceUnavailable", "come back later", 503),
            "HR803 table 'lv': DescribeTable fails there (503 ServiceUnavailable): come back later; try again later",
        ),
        (
            refusal("ThrottlingException", "Rate exceeded"),
            "HR804 table 'lv': DescribeTable is still throttled after 1 attempts (ThrottlingException); try again "
            "later, or lower `concurrency`",
        ),
        (
            refusal("ResourceNotFoundException", f"no table {CANARY}"),
            "HR805 table 'lv': DescribeTable was refused (ResourceNotFoundException): no table ***; look at it",
        ),
    ],
    ids=["unknown key", "wrong signature", "denied", "failing", "throttled", "refused"],
)
def test_what_a_service_refuses_is_said_in_our_words(
    answer: Answer, expected: str, secrets: pytest.MonkeyPatch
) -> None:
    assert str(told(lambda *_: answer, secrets)) == expected


def test_what_a_service_repeats_of_a_request_does_not_come_out(secrets: pytest.MonkeyPatch) -> None:
    """It quotes every header that it got: the signature and the token are among them."""
    error = told(lambda _, headers, __: refusal("ValidationException", json.dumps(headers)), secrets)
    assert error.code == "HR805"


def test_a_service_that_is_not_there_is_unreachable(secrets: pytest.MonkeyPatch) -> None:
    secrets.setenv("AWS_ENDPOINT_URL", f"http://{KEY.lower()}:{CANARY}@127.0.0.1:9")
    session = Session("eu-west-2", attempts=1)
    with pytest.raises(StoreUnavailable) as caught, session.wrapped("lv", "", StoreUnavailable):
        session.client("s3").head_bucket(Bucket="lv")
    assert "HR803 lv: it cannot be reached: " in str(caught.value) and "127.0.0.1:9" in str(caught.value)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_no_credentials_at_all(secrets: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        secrets.delenv(name)
    session = Session("eu-west-2", attempts=1)
    expected = "HR801 lv: there are no credentials; log in, or name a `profile` in the target, then `headrace doctor`"
    with pytest.raises(InfrastructureError) as caught, session.wrapped("lv", ""):
        session.client("s3").head_bucket(Bucket="lv")
    assert str(caught.value) == expected
    with pytest.raises(InfrastructureError, match="HR801 AWS: there are no credentials"):
        session.credentials()


def test_half_of_the_credentials_is_told_from_none(secrets: pytest.MonkeyPatch) -> None:
    secrets.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(InfrastructureError, match="HR801 AWS: credentials from env lack AWS_SECRET_ACCESS_KEY"):
        Session("eu-west-2").credentials()


def test_a_profile_that_is_not_there_is_named(secrets: pytest.MonkeyPatch) -> None:
    with pytest.raises(InfrastructureError, match="HR801 sqs: there is no profile 'produktion' on this machine"):
        Session("eu-west-2", "produktion").client("sqs")


def test_the_words_of_a_helper_that_fails_stay_out(secrets: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A credential process may write to its error stream what it was given."""
    (tmp_path / "config").write_text(
        f"[profile helper]\ncredential_process = sh -c 'echo password {CANARY} >&2; exit 1'\n"
    )
    with pytest.raises(InfrastructureError, match="HR801 helper: credentials could not be had") as caught:
        Session("eu-west-2", "helper").credentials()
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_credentials_that_cannot_be_renewed_are_an_error_of_theirs_and_stay_secret(
    secrets: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They are about to expire, and the login behind them has ended: no message may ask for them once more."""
    soon = (datetime.now(UTC) + timedelta(seconds=60)).isoformat()
    given = {"Version": 1, "AccessKeyId": KEY, "SecretAccessKey": CANARY, "SessionToken": TOKEN, "Expiration": soon}
    (tmp_path / "given.json").write_text(json.dumps(given))
    (tmp_path / "config").write_text(f"[profile ending]\ncredential_process = cat {tmp_path / 'given.json'}\n")
    session = Session("eu-west-2", "ending", attempts=1)
    session.credentials()
    (tmp_path / "given.json").unlink()
    assert session.scrub(f"{CANARY} {TOKEN} {KEY}") == "*** *** ***"
    expected = pytest.raises(InfrastructureError, match="HR801 lv: credentials could not be had")
    with expected as caught, session.wrapped("lv", ""):
        session.client("s3").head_bucket(Bucket="lv")
    shown = "".join(traceback.format_exception(caught.value))
    assert not [word for word in (CANARY, TOKEN, KEY) if word in shown]


def test_every_code_of_the_session_is_explained() -> None:
    assert {"HR801", "HR802", "HR803", "HR804", "HR805"} <= set(CODES)


def test_calls_and_their_retries_are_counted_apart_and_reported_once(secrets: pytest.MonkeyPatch) -> None:
    def answers(n: int, *_: object) -> Answer:
        if n == 1:
            return refusal("ThrottlingException")
        return 200, {"content-type": "application/x-amz-json-1.0"}, json.dumps({"TableNames": []})

    lines: list[dict[str, object]] = []
    with service(answers) as url, log.listening(lambda what, fields: lines.append({what: dict(fields)}), logging.INFO):
        secrets.setenv("AWS_ENDPOINT_URL", url)
        session = Session("eu-west-2")
        for _ in range(3):
            session.client("dynamodb").list_tables()
        session.count("dynamodb", "BatchWriteItem", calls=4, retries=2)
        said = session.report()
        assert session.report() == {}
    assert session.meter == {("dynamodb", "ListTables"): 3, ("dynamodb", "BatchWriteItem"): 4}
    assert session.retries == {("dynamodb", "ListTables"): 1, ("dynamodb", "BatchWriteItem"): 2}
    assert said == {"dynamodb:BatchWriteItem": 4, "dynamodb:ListTables": 3}
    retries = {"dynamodb:BatchWriteItem": 2, "dynamodb:ListTables": 1}
    assert lines == [
        {"requests": {"requests": said, "retries": retries}},
        {"requests": {"requests": {}, "retries": {}}},
    ]


def test_threads_share_one_client(aws_environment: str) -> None:
    session = Session("eu-west-2")
    with ThreadPoolExecutor(8) as pool:
        clients = set(pool.map(lambda _: session.client("sqs"), range(40)))
        assert len(set(pool.map(lambda _: session.account(), range(40)))) == 1
    assert len(clients) == 1
    assert session.meter == {("sts", "GetCallerIdentity"): 40}


@pytest.mark.parametrize("way", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "profile", ""])
def test_what_sends_its_own_requests_trusts_what_botocore_trusts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "config"
    config.write_text("[default]\n" + ("ca_bundle = /some/bundle\n" if way == "profile" else ""))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    if way.isupper():
        monkeypatch.setenv(way, "/some/bundle")
    found = Session("eu-west-2").certificates()
    assert found == "/some/bundle" if way else Path(found).exists()
