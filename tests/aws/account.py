"""One stack of the substation example in an account that somebody pays for, as its users see it.

Everything is asked with the `headrace` command or with AWS's own library, so that the trial shares no code with what
it tries. What it may cost and how long it may take stands here; `conftest.py` says who may run it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from emulator import FOREIGN, ROOT, client_environment

EXAMPLE = ROOT / "examples" / "substation_load"
PIPELINE, PREFIX = "lv", "raw/prod/lv/"
COMMAND = "import sys; from headrace.cli import main; sys.exit(main())"

LONGEST = 45 * 60
"""Seconds that a whole trial may take, unmaking apart. A step that would begin later fails instead."""

MOST_ROWS = 20_000
"""Rows that a trial may load: a few cents of write units. Nothing else of it grows with anything."""

BUDGET = 5
"""US dollars a month, as the stack's own budget. A trial costs well under one: see docs/aws/proven.md."""

PATIENCE = 300.0
"""Seconds for an uploaded object to stand: cold functions, notifications that are late, a sweep each minute."""

POLL = 3.0

SEEN: tuple[tuple[str, str, str, str], ...] = (
    ("cloudformation", "list_stacks", "StackSummaries", "StackName"),
    ("s3", "list_buckets", "Buckets", "Name"),
    ("dynamodb", "list_tables", "TableNames", ""),
    ("sqs", "list_queues", "QueueUrls", ""),
    ("lambda", "list_functions", "Functions", "FunctionName"),
    ("lambda", "list_event_source_mappings", "EventSourceMappings", "EventSourceArn"),
    ("sns", "list_topics", "Topics", "TopicArn"),
    ("events", "list_rules", "Rules", "Name"),
    ("glue", "get_databases", "DatabaseList", "Name"),
    ("iam", "list_roles", "Roles", "RoleName"),
    ("logs", "describe_log_groups", "logGroups", "logGroupName"),
    ("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    ("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
    ("athena", "list_work_groups", "WorkGroups", "Name"),
)
"""Service, operation, where its list is, and what names each thing: all that a stack is made of."""


@dataclass(frozen=True)
class Place:
    """Where a trial may work. `endpoint`: an emulator's, or None for AWS itself."""

    account: str
    region: str
    endpoint: str | None = None

    @property
    def real(self) -> bool:
        return self.endpoint is None

    def environment(self, home: Path) -> dict[str, str]:
        """What a command of the trial finds: for an emulator nothing of the user's own."""
        found = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "AWS_DEFAULT_REGION": self.region}
        if self.endpoint is not None:
            found = {name: value for name, value in found.items() if name.upper() not in FOREIGN}
            found |= {**client_environment(self.endpoint, home), "AWS_DEFAULT_REGION": self.region}
        return found

    def client(self, service: str, region: str | None = None, **more: Any) -> Any:
        """A client of AWS's own library, with the user's credentials."""
        if self.endpoint is not None:
            more = {
                "endpoint_url": self.endpoint,
                "aws_access_key_id": "test",
                "aws_secret_access_key": "test",
                "aws_session_token": None,
                **more,
            }
        return boto3.client(service, region_name=region or self.region, **more)

    def left_of(self, stack: str) -> list[str]:
        """Everything in the account that has the stack's name in its own."""
        found = []
        for service, operation, where, name in SEEN:
            client = self.client(service)
            if client.can_paginate(operation):
                pages = list(client.get_paginator(operation).paginate())
            else:
                pages = [getattr(client, operation)()]
            for one in (one for page in pages for one in page.get(where, [])):
                gone = isinstance(one, dict) and one.get("StackStatus") == "DELETE_COMPLETE"
                told = str(one[name] if name else one)
                if not gone and stack in told.replace("_", "-"):  # a database of Glue has no hyphens
                    found.append(f"{service} {told}")
        return found


@dataclass
class Trial:
    """One stack. `deploy` makes it, `destroy` takes it away whatever became of it."""

    place: Place
    folder: Path
    tell: Callable[[str], None]
    stack: str = field(default_factory=lambda: f"hr-trial-{secrets.token_hex(4)}")
    began: float = field(default_factory=time.monotonic)

    def begin(self) -> None:
        """A copy of the example with a target of its own."""
        shutil.copytree(EXAMPLE, self.folder, ignore=shutil.ignore_patterns("__pycache__", ".headrace", "input"))
        more = "" if self.place.real else "extras = false  # the emulator knows neither saved queries nor budgets"
        (self.folder / "headrace.toml").write_text(
            f"""
            [project]
            module = "pipelines"
            [targets.local]
            kind = "local"
            [targets.aws]
            kind = "aws"
            stack = "{self.stack}"
            region = "{self.place.region}"
            budget = {BUDGET}
            log_days = 1
            tags = {{ purpose = "trial" }}
            {more}
            """,
            encoding="utf-8",
        )

    # -- commands ----------------------------------------------------------------------------------------------------

    def command(self, *words: str, target: str = "aws", exit: int | tuple[int, ...] = 0, last: bool = False) -> str:
        """What `headrace WORDS` prints. Fails if it ends otherwise than `exit`, or once the trial took too long.

        `last`: unmaking, for which there is always time.
        """
        left = 1800.0 if last else LONGEST - (time.monotonic() - self.began)
        assert left > 0, f"the trial took longer than {LONGEST // 60} minutes; it goes no further"
        line = [sys.executable, "-c", COMMAND, *words, "--project", str(self.folder), "--target", target]
        environment = self.place.environment(self.folder)
        done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=left)
        expected = exit if isinstance(exit, tuple) else (exit,)
        told = f"headrace {' '.join(words)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert done.returncode in expected, told
        return done.stdout + ("" if "--json" in words else done.stderr)

    def json(self, *words: str, target: str = "aws", exit: int | tuple[int, ...] = 0) -> Any:
        return json.loads(self.command(*words, "--json", target=target, exit=exit))

    def deploy(self, *words: str) -> None:
        self.command("deploy", "--yes", *words)

    def destroy(self) -> None:
        self.command("destroy", "--delete-data", "--yes", "--confirm", self.stack, last=True)

    def left(self) -> list[str]:
        """What is left of it: asked for a minute, since what is deleted may be listed for a while."""
        until = time.monotonic() + 60
        while (found := self.place.left_of(self.stack)) and time.monotonic() < until:
            time.sleep(POLL)
        return found

    # -- objects -----------------------------------------------------------------------------------------------------

    @property
    def tables(self) -> list[str]:
        """The stack's tables: the ledger, and those of rows."""
        pages = self.place.client("dynamodb").get_paginator("list_tables").paginate()
        return [name for page in pages for name in page["TableNames"] if name.startswith(self.stack)]

    def table(self, what: str) -> str:
        [found] = [name for name in self.tables if what in name]
        return found

    def bucket(self, what: str) -> str:
        return f"{self.stack}-{what}-{self.place.account}-{self.place.region}"

    def put(self, key: str, body: bytes) -> None:
        self.place.client("s3").put_object(Bucket=self.bucket("landing"), Key=key, Body=body)

    def delete(self, key: str) -> None:
        self.place.client("s3").delete_object(Bucket=self.bucket("landing"), Key=key)

    def wait(self, expected: Mapping[str, str]) -> float:
        """Wait until the newest load of each key is in that state; the seconds that it took."""
        begun = time.monotonic()
        while True:
            newest = {one["object"]: one["state"] for one in self.json("history", PIPELINE)}
            if all(newest.get(key) == state for key, state in expected.items()):
                return time.monotonic() - begun
            assert time.monotonic() - begun < PATIENCE, f"expected {dict(expected)}, there is {newest}"
            time.sleep(POLL)

    # -- rows --------------------------------------------------------------------------------------------------------

    def items(self) -> list[tuple[Any, ...]]:
        """Every row that the keyed table holds."""
        pages = self.place.client("dynamodb").get_paginator("scan")
        found = [
            item
            for page in pages.paginate(TableName=self.table("asset"), ConsistentRead=True)
            for item in page["Items"]
            if "_layout" not in item
        ]
        return sorted(_row({name: next(iter(value.values())) for name, value in item.items()}) for item in found)

    def lake(self) -> list[tuple[Any, ...]]:
        """Every row of the lake, as any reader of Iceberg finds it through Glue."""
        from pyiceberg.catalog.glue import GlueCatalog

        given = {"client.region": self.place.region}
        if self.place.endpoint is not None:
            given |= {"glue.endpoint": self.place.endpoint, "s3.endpoint": self.place.endpoint}
            given |= {"client.access-key-id": "test", "client.secret-access-key": "test"}
        database = self.stack.replace("-", "_")
        table = GlueCatalog("trial", **given).load_table((database, "lv_data"))
        return sorted(map(_row, table.scan().to_arrow().to_pylist()))

    def sql(self, target: str) -> list[tuple[Any, ...]]:
        """Every row of the lake, as `headrace sql` tells it."""
        columns = "asset_id, timestamp, value, _source_file, _source_version, _source_row"
        return sorted(map(_row, self.json("sql", f"SELECT {columns} FROM lv_data", target=target)))


def _row(found: Mapping[str, Any]) -> tuple[Any, ...]:
    """What two homes must agree on: the key, the value, and where both come from."""
    at = str(found["timestamp"]).replace("T", " ")[:19]
    source = (str(found["_source_file"]), str(found["_source_version"]), int(found["_source_row"]))
    return (str(found["asset_id"]), at, float(found["value"]), *source)
