"""What a stack costs: each month as it stands, and for each million rows, from dated list prices and a metered sample.

An estimate to decide by, not a bill: every assumption is said with it. Pure; called by `plan` and by the cost guide.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from headrace.aws.declare.prices import CURRENCY, FACTORS, HOME, OPERATIONS, PRICES, UNITS, price
from headrace.aws.declare.resources.values import Alarm, Dashboard, Mapped, Resource, Rule
from headrace.aws.options import AwsOptions
from headrace.model.errors import DefinitionError

MONTH = 730 * 3600
"""Seconds of AWS's month."""

MEASURED = "units"
"""`dynamodb:units` in a sample: units that were measured, where they were."""

POLLS = 15
"""ReceiveMessage calls a minute by which Lambda watches an idle queue: five pollers that wait 20 seconds each."""

SWEEP_SECONDS, SCAN_SECONDS = 0.25, 2.0
"""How long a sweep that finds nothing takes, and a scan of a thousand objects."""

SWEEP_CALLS: Mapping[tuple[str, str], float] = {("dynamodb", "GetItem"): 2, ("dynamodb", "Query"): 4}
"""What a sweep that finds nothing asks."""

LOG_BYTES = 1500
"""Bytes that an invocation logs: Lambda's own lines and two of ours."""

MILLION = 10**6


@dataclass(frozen=True, slots=True)
class Sample:
    """What a measured run used. `calls` counts (service, operation); seconds are billed ones of each function.

    `landed`, `lake` and `items` are bytes that stay in the landing bucket, the lake bucket and DynamoDB.
    """

    about: str
    rows: int
    files: int
    calls: Mapping[tuple[str, str], int]
    invocations: Mapping[str, int]
    seconds: Mapping[str, float]
    landed: int
    lake: int
    items: int

    @staticmethod
    def from_mapping(raw: Mapping[str, Any]) -> Sample:
        """From JSON: calls as {"s3:GetObject": 30}. Raises DefinitionError HR809 for what is no sample."""
        try:
            calls = {_operation(name): int(n) for name, n in raw["calls"].items()}
            return Sample(**{**raw, "calls": calls})
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise DefinitionError("HR809", "sample", f"cannot be read: {exc}", "measure one anew") from exc

    def to_mapping(self) -> dict[str, Any]:
        """What `from_mapping` reads."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**fields, "calls": {f"{service}:{name}": n for (service, name), n in sorted(self.calls.items())}}


def shipped() -> Sample:
    """The one that this version was measured with: the example's real files (`python -m benchmarks.metered`)."""
    return Sample.from_mapping(json.loads((files("headrace.aws.declare") / "sample.json").read_text("utf-8")))


def _operation(name: str) -> tuple[str, str]:
    service, _, operation = name.rpartition(":")
    if not service:
        raise ValueError(f"{name!r} is no service:Operation")
    return service, operation


@dataclass(frozen=True, slots=True)
class Line:
    """One position: US dollars, and how they come about."""

    what: str
    amount: float
    basis: str


@dataclass(frozen=True, slots=True)
class Cost:
    """`standing`: a month without a file. `loading`: a million rows, once. `keeping`: a million rows, for a month."""

    region: str
    standing: tuple[Line, ...]
    loading: tuple[Line, ...]
    keeping: tuple[Line, ...]
    assumptions: tuple[str, ...]

    @property
    def monthly(self) -> float:
        return sum(line.amount for line in self.standing)

    @property
    def per_million_rows(self) -> float:
        return sum(line.amount for line in self.loading)

    @property
    def per_million_rows_kept(self) -> float:
        return sum(line.amount for line in self.keeping)

    def of(self, rows_a_month: float, rows_kept: float = 0) -> float:
        """US dollars of a month in which so many rows are loaded and so many kept."""
        loaded = self.per_million_rows * rows_a_month + self.per_million_rows_kept * rows_kept
        return self.monthly + loaded / MILLION

    def public(self) -> dict[str, Any]:
        """The stable shape of `plan --json`."""
        return {
            "currency": CURRENCY,
            "region": self.region,
            "prices_as_of": sorted({one.as_of for one in PRICES.values()}),
            "monthly": round(self.monthly, 2),
            "per_million_rows": round(self.per_million_rows, 4),
            "per_million_rows_kept_per_month": round(self.per_million_rows_kept, 4),
            "standing": [_public(line) for line in self.standing],
            "loading": [_public(line) for line in self.loading],
            "keeping": [_public(line) for line in self.keeping],
            "assumptions": list(self.assumptions),
        }


def _public(line: Line) -> dict[str, Any]:
    return {"what": line.what, "amount": round(line.amount, 4), "basis": line.basis}


def cost(resources: Sequence[Resource], options: AwsOptions, sample: Sample | None = None) -> Cost:
    """What these resources cost. Without a sample only what stands is told.

    Raises DefinitionError HR809 for a region without prices, and for a sample with a request that has none.
    """
    ask = _Prices(options.region)
    standing = tuple(_standing(ask, resources, options))
    loading = tuple(_loading(ask, options, sample)) if sample else ()
    keeping = tuple(_keeping(ask, sample)) if sample else ()
    return Cost(options.region, standing, loading, keeping, tuple(_assumptions(options, sample)))


@dataclass(frozen=True, slots=True)
class _Prices:
    region: str

    def of(self, name: str, amount: float) -> float:
        return price(name, self.region) * amount

    def compute(self, options: AwsOptions, role: str, invocations: float, seconds: float) -> float:
        """Invocations of one function that take so many seconds together."""
        memory = {"ingest": options.ingest_memory, "publish": options.publish_memory}[role] / 1024
        storage = {"ingest": options.ingest_storage, "publish": options.publish_storage}[role] / 1024 - 0.5
        return (
            self.of(f"lambda.{options.architecture}", memory * seconds)
            + self.of("lambda.storage", max(storage, 0) * seconds)
            + self.of("lambda.request", invocations)
        )


# a month without a file


def _standing(ask: _Prices, resources: Sequence[Resource], options: AwsOptions) -> Iterator[Line]:
    alarms, boards = _count(resources, Alarm), _count(resources, Dashboard)
    yield Line("alarms", ask.of("cloudwatch.alarm", alarms), f"{alarms} of them")
    yield Line("dashboard", ask.of("cloudwatch.dashboard", boards), f"{boards}; an account's first three are free")
    queues = _count(resources, Mapped)
    polls = queues * POLLS * MONTH / 60
    yield Line("watching queues", ask.of("sqs.request", polls), f"{queues} queues, {polls:,.0f} requests by Lambda")
    sweeps = sum(_runs(rule) for rule in resources if isinstance(rule, Rule) and rule.input.get("do") != "scan")
    scans = sum(_runs(rule) for rule in resources if isinstance(rule, Rule) and rule.input.get("do") == "scan")
    asked = ask_for(options.region, {operation: n * sweeps for operation, n in SWEEP_CALLS.items()})
    amount = ask.compute(options, "publish", sweeps, sweeps * SWEEP_SECONDS) + sum(asked.values())
    yield Line("sweeps", amount, f"{sweeps:,.0f} that find nothing, {SWEEP_SECONDS:g} s each")
    amount = ask.compute(options, "publish", scans, scans * SCAN_SECONDS) + ask.of("s3.write", scans)
    yield Line("scans", amount, f"{scans:,.0f} of up to 1,000 objects, {SCAN_SECONDS:g} s each")
    logged = (sweeps + scans) * LOG_BYTES / 1e9
    yield Line("logs", ask.of("logs.ingest", logged) + _stored(ask, options, logged), f"{logged:.3f} GB")


def _count(resources: Iterable[Resource], kind: type[Resource]) -> int:
    return sum(isinstance(one, kind) for one in resources)


def _stored(ask: _Prices, options: AwsOptions, logged: float) -> float:
    return ask.of("logs.storage", logged * options.log_days / 30)


def _runs(rule: Rule) -> float:
    """How often a month a rule fires."""
    many, unit = rule.schedule.removeprefix("rate(").removesuffix(")").split()
    seconds = {"minute": 60, "hour": 3600, "day": 86_400}[unit.removesuffix("s")]
    return MONTH / (int(many) * seconds)


# a million rows


def ask_for(region: str, calls: Mapping[tuple[str, str], float]) -> dict[str, float]:
    """US dollars of these calls, by service. Raises DefinitionError HR809 for an operation that has no price."""
    found: dict[str, float] = defaultdict(float)
    for (service, operation), n in calls.items():
        if service.endswith(f":{MEASURED}"):
            continue
        if (service, operation) in UNITS:
            name, each = UNITS[service, operation]
            units = calls.get((f"{service}:{MEASURED}", operation), n * each)
            found[service] += price(name, region) * units
        elif (service, operation) in OPERATIONS:
            found[service] += price(OPERATIONS[service, operation], region) * n
        else:
            next = "add it to aws/prices.py"
            raise DefinitionError("HR809", f"{service}:{operation}", "has no price", next)
    return dict(found)


def _loading(ask: _Prices, options: AwsOptions, sample: Sample) -> Iterator[Line]:
    share = MILLION / sample.rows
    for role in sorted(sample.seconds):
        seconds, times = sample.seconds[role] * share, sample.invocations[role] * share
        basis = f"{times:,.0f} invocations, {seconds:,.0f} s"
        yield Line(f"Lambda: {role}", ask.compute(options, role, times, seconds), basis)
    for service, amount in sorted(ask_for(ask.region, sample.calls).items()):
        n = sum(count for (of, _), count in sample.calls.items() if of == service) * share
        yield Line(_NAMES.get(service, service), amount * share, f"{n:,.0f} requests")
    logged = sum(sample.invocations.values()) * share * LOG_BYTES / 1e9
    yield Line("logs", ask.of("logs.ingest", logged) + _stored(ask, options, logged), f"{logged:.4f} GB")


_NAMES = {"s3": "S3 requests", "sqs": "SQS", "dynamodb": "DynamoDB", "glue": "Glue catalog", "sns": "SNS"}


def _keeping(ask: _Prices, sample: Sample) -> Iterator[Line]:
    share = MILLION / sample.rows / 1e9
    landed, lake, items = sample.landed * share, sample.lake * share, sample.items * share
    yield Line("landing bucket", ask.of("s3.standard", landed), f"{landed:.3f} GB, half as much after 90 days")
    yield Line("lake bucket", ask.of("s3.standard", lake), f"{lake:.3f} GB, half as much after 90 days")
    if items:
        amount = ask.of("dynamodb.storage", items) + ask.of("dynamodb.restore", items)
        yield Line("items", amount, f"{items:.3f} GB, with point-in-time recovery")


def _assumptions(options: AwsOptions, sample: Sample | None) -> Iterator[str]:
    dates = ", ".join(sorted({one.as_of for one in PRICES.values()}))
    yield f"list prices of {HOME} of {dates}, in {CURRENCY}: no free tier, no discount, no tax, no traffic out"
    if options.region != HOME:
        yield f"{options.region} taken as {FACTORS[options.region]:g} times {HOME}: within about a fifth"
    yield f"Lambda watches an idle queue with {POLLS} requests a minute"
    yield f"a sweep that finds nothing takes {SWEEP_SECONDS:g} s, a scan {SCAN_SECONDS:g} s"
    yield f"an invocation logs {LOG_BYTES:,} bytes, kept for {options.log_days} days"
    yield f"queries: {price('athena.scan', options.region):g} {CURRENCY} per TB that Athena scans, on top"
    if sample is None:
        yield "without a metered sample nothing is said of rows"
        return
    yield f"the sample: {sample.about} ({sample.rows:,} rows in {sample.files:,} files)"
    guessed = [op for (service, op) in sample.calls if (service, op) in UNITS]
    unmeasured = sorted(op for op in guessed if (f"dynamodb:{MEASURED}", op) not in sample.calls)
    if unmeasured:
        told = ", ".join(f"{op} {UNITS['dynamodb', op][1]:g}" for op in unmeasured)
        yield f"units of DynamoDB that were not measured, per call: {told}"
    yield "cost grows with requests rather than rows: files smaller than the sample's cost more per row"
