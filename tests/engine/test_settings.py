"""Settings come from TOML, with sizes and spans as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.engine.settings import Settings
from headrace.model.errors import DefinitionError


def test_sizes_and_spans_are_read_as_people_write_them() -> None:
    raw = {
        "kind": "local",
        "root": ".headrace",
        "memory_limit": "512MiB",
        "batch_bytes": "16 MB",
        "visibility": "2 minutes",
        "keep_retired": "1 day",
        "child_timeout": 90,
        "workers": 2,
    }
    found = Settings.from_mapping(raw)
    assert (found.memory_limit, found.memory_bytes, found.batch_bytes) == ("512MiB", 512 * 2**20, 16_000_000)
    assert (found.visibility, found.keep_retired, found.child_timeout, found.workers) == (120.0, 86400.0, 90.0, 2)
    assert Settings.from_mapping({}) == Settings()
    assert Settings.from_mapping({"memory_limit": 2_000_000_000}).memory_limit == "2000000000B"


def test_an_unknown_setting_is_refused_with_a_suggestion() -> None:
    with pytest.raises(
        DefinitionError, match=r"HR110 targets.local: 'workrs' is not a setting; did you mean 'workers'"
    ):
        Settings.from_mapping({"workrs": 2}, "targets.local")
    with pytest.raises(DefinitionError, match=r"settings are .*batch_bytes"):
        Settings.from_mapping({"zzz": 2})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("workers", 0),
        ("workers", "two"),
        ("workers", True),
        ("threads", 1.5),
        ("memory_limit", "much"),
        ("memory_limit", "1MB"),
        ("batch_bytes", "12 parsecs"),
        ("visibility", "soon"),
        ("visibility", False),
        ("child_timeout", -1),
        ("backoff", [1]),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(name: str, value: Any) -> None:
    with pytest.raises(DefinitionError, match=f"HR111 headrace.toml: {name} = "):
        Settings.from_mapping({name: value})


def test_the_wait_after_a_fault_doubles_up_to_a_limit() -> None:
    settings = Settings(backoff=1.0, backoff_limit=10.0)
    assert [settings.delay(n) for n in (1, 2, 3, 4, 5, 500)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
