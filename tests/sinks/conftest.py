"""The homes that sinks are tried in, as fixtures."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.aws import keyed_pieces
from sinks.base_files import Base
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


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base(tmp_path)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyed_pieces, "PIECE_ROWS", 100)
