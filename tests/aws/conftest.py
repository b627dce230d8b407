"""Who may run the trial in a real account, and what becomes of its stack: it is unmade, whatever happened.

    HEADRACE_AWS_ACCOUNT=123456789012 make account           # the credentials must belong to that account
    HEADRACE_AWS_ACCOUNT=000000000000 HEADRACE_AWS_ENDPOINT=http://127.0.0.1:4566 make account   # an emulator

HEADRACE_AWS_REGION names the region, else AWS_REGION or AWS_DEFAULT_REGION, else eu-west-2.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aws.account import Place, Trial

WANTED = "HEADRACE_AWS_ACCOUNT"


@pytest.fixture(scope="session")
def place() -> Place:
    """The account, if somebody named it and the credentials are its own."""
    account, endpoint = os.environ.get(WANTED), os.environ.get("HEADRACE_AWS_ENDPOINT") or None
    if not account:
        pytest.skip(f"costs money in a real account: set {WANTED} to its number to run this")
    if not re.fullmatch(r"\d{12}", account):
        pytest.skip(f"{WANTED}={account!r} is no number of an account: give its 12 digits")
    wanted = ("HEADRACE_AWS_REGION", "AWS_REGION", "AWS_DEFAULT_REGION")
    region = next((os.environ[name] for name in wanted if os.environ.get(name)), "eu-west-2")
    found = Place(account, region, endpoint)
    own = _own(found)
    if own != account:
        pytest.skip(f"{WANTED} is {account}, and the credentials here are of {own}")
    return found


def _own(place: Place) -> str:
    """The account of the credentials, or why there is none."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return str(place.client("sts").get_caller_identity()["Account"])
    except (BotoCoreError, ClientError) as exc:
        return f"no account ({type(exc).__name__})"


@pytest.fixture(scope="session")
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """A line that is seen while the trial goes on."""
    reporter = request.config.pluginmanager.getplugin("terminalreporter")

    def line(text: str) -> None:
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(f"  {text}")

    return line


@pytest.fixture(scope="session")
def trial(place: Place, tmp_path_factory: pytest.TempPathFactory, tell: Callable[[str], None]) -> Iterator[Trial]:
    """The example, deployed. In the end nothing is left of it, or the run fails and says what is."""
    made = Trial(place, Path(tmp_path_factory.mktemp("account")) / "project", tell)
    made.begin()
    tell(f"stack {made.stack} in account {place.account}, {place.region}. If this run is killed, unmake it with")
    unmake = f"headrace destroy --delete-data --yes --confirm {made.stack} --target aws --project {made.folder}"
    tell(unmake)
    try:
        begun = time.monotonic()
        made.deploy()
        tell(f"deployed in {time.monotonic() - begun:.0f} s")
        yield made
    finally:
        made.destroy()
        left = made.left()
        assert not left, f"{left} is left; {unmake}"
