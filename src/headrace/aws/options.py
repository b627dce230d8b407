"""What `[targets.NAME]` of kind "aws" says: where the stack is, and how much its functions may use.

Places and amounts, never logic. `AwsTarget` opens a pipeline by it, `resources` declares by it; nothing here asks AWS.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from headrace.engine.settings import PLACES, Settings, parse_size
from headrace.model.errors import DefinitionError
from headrace.model.words import UNITS, span_seconds

MOST_FILES = 90
"""Most objects of one job: staging writes one item per load, and a transaction of DynamoDB holds 100."""

LOOKS = 16
"""Objects looked at at once: each look is a few requests of some 20 ms."""

VCPU = 1769
"""MB of memory at which a function has one whole processor (AWS Lambda developer guide, "Configuring memory")."""

RUNTIME_MEMORY = 150
"""MB that Lambda's own runtime and the AWS client need besides a worker and its child."""

MOST_MEMORY_UNASKED = 3008
"""MB that every account may use; new ones get more only when they ask for it."""

LOG_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
"""Days that CloudWatch Logs can keep (PutRetentionPolicy)."""

Role = Literal["ingest", "publish"]
ROLES: tuple[Role, ...] = ("ingest", "publish")

Reader = Callable[[Any], Any]
"""Turns what TOML holds into a value. Raises ValueError with what was expected."""


def _text(pattern: str, expected: str) -> Reader:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(expected)
        return value

    return read


def _number(low: int, high: int, what: str) -> Reader:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"{what}, a whole number from {low:,} to {high:,}")
        return value

    return read


def _span(low: int, high: int) -> Reader:
    def read(value: Any) -> int:
        expected = f'a span from {low} to {high} seconds, such as 300 or "5 min" ({UNITS})'
        try:
            seconds = span_seconds(value) if isinstance(value, str) else float(value)
        except (TypeError, ValueError) as exc:
            raise ValueError(expected) from exc
        if isinstance(value, bool) or not low <= seconds <= high or seconds != int(seconds):
            raise ValueError(expected)
        return int(seconds)

    return read


def _size(low: int, high: int) -> Reader:
    def read(value: Any) -> int:
        expected = f'a size from {low:,} to {high:,} bytes, such as "100 GB"'
        try:
            size = parse_size(value)
        except (TypeError, ValueError) as exc:
            raise ValueError(expected) from exc
        if not low <= size <= high:
            raise ValueError(expected)
        return size

    return read


def _tags(value: Any) -> tuple[tuple[str, str], ...]:
    expected = 'a table of at most 40 texts, such as { team = "grid" }; names do not begin with "aws:" or "headrace"'
    if not isinstance(value, Mapping) or len(value) > 40:
        raise ValueError(expected)
    for name, text in value.items():
        if not isinstance(text, str) or not re.fullmatch(r"[\w .:/=+@-]{0,256}", text):
            raise ValueError(expected)
        if not re.fullmatch(r"(?!aws:|headrace)[\w .:/=+@-]{1,128}", name):
            raise ValueError(expected)
    return tuple(sorted(value.items()))


def _amount(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError("US dollars a month, such as 50; 0 for no budget")
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _log_days(value: Any) -> int:
    if value not in LOG_DAYS or isinstance(value, bool):
        raise ValueError(f"days that CloudWatch can keep: {', '.join(map(str, LOG_DAYS))}")
    return int(value)


_BUCKET = _text(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", "a bucket's name: 3 to 63 small letters, digits and hyphens")


def _option(default: Any, read: Reader) -> Any:
    return field(default=default, metadata={"read": read})


def _required(read: Reader) -> Any:
    return field(metadata={"read": read})


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsOptions:
    """One AWS target. Memory and storage are MB, timeouts and spans seconds, `query_limit` bytes, `budget` US dollars.

    `settings` holds the engine's own keys of the same table. What every target may leave out has a default that a new
    account can deploy.
    """

    stack: str = _required(
        _text(r"[a-z](?:-?[a-z0-9]){1,59}", "2 to 60 small letters, digits and single hyphens, a letter first")
    )
    region: str = _required(_text(r"[a-z]{2}(-[a-z]+)+-\d", 'a region such as "eu-west-2"'))
    profile: str | None = _option(None, _text(r".+", "the name of a profile of the AWS configuration"))
    architecture: str = _option("x86_64", _text("x86_64|arm64", '"x86_64" or "arm64"'))
    landing_bucket: str | None = _option(None, _BUCKET)  # otherwise <stack>-landing-<account>-<region>
    lake_bucket: str | None = _option(None, _BUCKET)
    access_logs: str | None = _option(None, _BUCKET)  # an existing bucket that takes S3's access logs; none otherwise
    tags: tuple[tuple[str, str], ...] = _option((), _tags)

    ingest_memory: int = _option(2048, _number(512, 10_240, "MB"))
    publish_memory: int = _option(MOST_MEMORY_UNASKED, _number(512, 10_240, "MB"))
    ingest_timeout: int = _option(300, _span(30, 900))
    publish_timeout: int = _option(
        300, _span(30, 900)
    )  # short: a crashed publisher stalls for a little longer than this
    ingest_storage: int = _option(2048, _number(512, 10_240, "MB"))  # /tmp: copies being read, and what is staged
    publish_storage: int = _option(4096, _number(512, 10_240, "MB"))  # /tmp: cached files of the base
    concurrency: int = _option(10, _number(2, 1000, "ingest functions at once"))
    batch_window: int = _option(1, _span(1, 300))  # how long events are gathered before a function starts
    scan_every: int = _option(3600, _span(60, 86_400))  # reconciling scan; catches what no event told of

    log_days: int = _option(30, _log_days)
    alarm_email: str | None = _option(None, _text(r"[^@\s]+@[^@\s]+\.[^@\s]+", "an e-mail address"))
    alerts_email: str | None = _option(None, _text(r"[^@\s]+@[^@\s]+\.[^@\s]+", "an e-mail address"))
    budget: float = _option(50.0, _amount)
    query_limit: int = _option(100 * 10**9, _size(10 * 10**6, 7 * 10**15))  # most bytes that one Athena query scans
    extras: bool = _option(True, _flag)  # saved queries and the budget: not every account (or emulator) lets us

    settings: Settings = field(default_factory=lambda: Settings(batch_files=MOST_FILES, looks=LOOKS))

    @staticmethod
    def from_mapping(table: Mapping[str, Any], which: str = "headrace.toml") -> AwsOptions:
        """The options of a `[targets.NAME]` table, with or without `kind`.

        Raises DefinitionError HR810 (a key is missing), HR811 (a key is not known), HR812 (a value it cannot have);
        HR111 for a value of one of the engine's own settings.
        """
        known = {f.name: f for f in fields(AwsOptions) if "read" in f.metadata}
        settings = {f.name for f in fields(Settings)}
        for name in ("stack", "region"):
            if name not in table:
                raise DefinitionError("HR810", which, f"{name!r} is missing", _EXAMPLE)
        for name in table:
            if name not in {*known, *settings, *PLACES}:
                raise DefinitionError("HR811", which, f"{name!r} is not an option", _suggest(name, {*known, *settings}))
        values = {
            name: _read(which, name, table[name], f.metadata["read"]) for name, f in known.items() if name in table
        }
        rest = {name: value for name, value in table.items() if name in settings and name not in known}
        options = AwsOptions(
            **values, settings=Settings.from_mapping({"batch_files": MOST_FILES, "looks": LOOKS, **rest}, which)
        )
        return options._checked(which, set(table))

    def _checked(self, which: str, given: set[str]) -> AwsOptions:
        if self.settings.batch_files > MOST_FILES:
            found = f"batch_files = {self.settings.batch_files} is too large"
            raise DefinitionError("HR812", which, found, f"on AWS a job takes at most {MOST_FILES} objects")
        if self.landing_bucket is not None and self.landing_bucket == self.lake_bucket:
            found = f"landing_bucket and lake_bucket are both {self.lake_bucket!r}"
            raise DefinitionError("HR812", which, found, "give two: what the lake writes must trigger nothing")
        if "memory_limit" in given:
            found = "memory_limit does not apply: a function's memory is its limit"
            raise DefinitionError("HR812", which, found, "set ingest_memory or publish_memory")
        return self

    def memory(self, role: Role) -> int:
        """MB of that function."""
        return {"ingest": self.ingest_memory, "publish": self.publish_memory}[role]

    def timeout(self, role: Role) -> int:
        """Seconds after which that function is killed."""
        return {"ingest": self.ingest_timeout, "publish": self.publish_timeout}[role]

    def storage(self, role: Role) -> int:
        """MB of that function's /tmp."""
        return {"ingest": self.ingest_storage, "publish": self.publish_storage}[role]

    def settings_for(self, role: Role) -> Settings:
        """The engine's settings inside that function: what Lambda grants it is its limit."""
        memory = self.memory(role)
        return replace(
            self.settings,
            memory_limit=f"{memory - RUNTIME_MEMORY}MiB",
            threads=max(1, -(-memory // VCPU)),
            child_timeout=min(self.settings.child_timeout, self.timeout(role) * 0.8),
            visibility=float(self.visibility),
            scan_every=float(self.scan_every),
            scratch_bytes=self.settings.scratch_bytes or self.storage(role) * 10**6 // 2,  # beside what comes of it
            revision_bytes=self.settings.revision_bytes or self.storage(role) * 10**6 // 8,  # beside what it meets
        )

    @property
    def visibility(self) -> int:
        """Seconds for which a delivered event is hidden: six timeouts of its function, as AWS asks of such queues."""
        return 6 * self.ingest_timeout + self.batch_window


_EXAMPLE = 'e.g. stack = "lv-prod", region = "eu-west-2"'


def _read(which: str, name: str, value: Any, read: Reader) -> Any:
    try:
        return read(value)
    except ValueError as exc:
        raise DefinitionError("HR812", which, f"{name} = {value!r} cannot be used", f"give {exc}") from exc


def _suggest(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), 1)
    return f"did you mean {close[0]!r}?" if close else f"options are {', '.join(sorted(known))}"
