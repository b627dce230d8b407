"""The homes that sinks are tried in, as fixtures."""

from __future__ import annotations

from pathlib import Path

import pytest

from sinks.homes import AwsHome, Home, LocalHome


@pytest.fixture
def aws_home(tmp_path: Path, aws_environment: str) -> AwsHome:
    return AwsHome(tmp_path, aws_environment)


@pytest.fixture(params=["local", "aws"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    """Both homes in turn. The second one's needs are asked for only when it is its turn."""
    if request.param == "local":
        return LocalHome(tmp_path)
    found: AwsHome = request.getfixturevalue("aws_home")
    return found
