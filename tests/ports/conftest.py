"""Both homes of the ports: one contract suite is run against each of their implementations."""

from __future__ import annotations

import pytest

from headrace.aws.session import Session


@pytest.fixture
def aws(request: pytest.FixtureRequest) -> Session:
    """A way to the services on this machine. Names that tests make there are their own."""
    request.getfixturevalue("aws_environment")
    return Session("eu-west-2")
