"""The emulator that the tests of the AWS home stand on is there, is empty when it says so, and is left by nobody."""

from __future__ import annotations

import os
from pathlib import Path

import boto3
import pytest

from emulator import MiniStack, missing


def test_a_client_of_this_process_speaks_to_the_emulator(aws_environment: str) -> None:
    s3 = boto3.client("s3")
    assert s3.meta.endpoint_url == aws_environment
    s3.create_bucket(Bucket="spoken-to", CreateBucketConfiguration={"LocationConstraint": "eu-west-2"})
    assert "spoken-to" in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}


def test_an_emulator_that_is_started_anew_is_empty(ministack_alone: MiniStack, aws_environment: str) -> None:
    s3 = boto3.client("s3", endpoint_url=ministack_alone.endpoint)
    s3.create_bucket(Bucket="lost", CreateBucketConfiguration={"LocationConstraint": "eu-west-2"})
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["lost"]
    before = ministack_alone.process
    ministack_alone.restart()
    assert before is not None
    assert before.poll() is not None
    s3 = boto3.client("s3", endpoint_url=ministack_alone.endpoint)
    assert s3.list_buckets()["Buckets"] == []


def test_nothing_of_the_environment_reaches_the_emulator(
    ministack_alone: MiniStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "AWS_PROFILE", "AWS_SESSION_TOKEN", "HEADRACE_CANARY"):
        monkeypatch.setenv(name, "http://198.51.100.1:9")
    assert "198.51.100.1" not in str(ministack_alone.environment())
    assert ministack_alone.environment()["HOME"] != os.environ.get("HOME")


def test_what_is_missing_is_a_skip_for_a_user_and_a_failure_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADRACE_CI", raising=False)
    with pytest.raises(pytest.skip.Exception):
        missing("no Python 3.12 here")
    monkeypatch.setenv("HEADRACE_CI", "1")
    with pytest.raises(pytest.fail.Exception):
        missing("no Python 3.12 here")


def test_the_template_checkers_answer(cfn_lint: Path, checkov: Path) -> None:
    assert os.access(cfn_lint, os.X_OK)
    assert os.access(checkov, os.X_OK)
