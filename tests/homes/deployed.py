"""A deployed stack as its users see it: objects come and go, functions run when they are told to, and people look.

What only a trial may do stands below "what only a trial may do": crash functions, let time pass, tell events again.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any, Literal, get_args

import boto3

from emulator import FOREIGN, REGION, ROOT, MiniStack
from headrace.aws.declare.names import Names
from headrace.aws.places import PipelinePlaces, Places
from headrace.engine.home import Home
from headrace.model.pipeline import Keyed, Lake
from headrace.project.opened import Project, open_project

from . import iceberg
from .facts import Facts, facts

Role = Literal["ingest", "publish"]
COMMAND = "import sys; from headrace.cli import main; sys.exit(main())"
BACK = 3
"""Seconds after which an event that a killed function had comes back; minutes in production."""
LONG_AGO = "2000-01-01T00:00:00.000000Z"
CALLS = "calls"
"""The one policy of a function's role."""
BATCHED = {"sqs:SendMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"}


class Stack:
    """One project's stack on one emulator."""

    def __init__(self, aws: MiniStack, project: Path, scratch: Path, target: str = "aws") -> None:
        self.aws, self.folder, self.scratch, self.target = aws, project, scratch, target
        self.environment = {name: value for name, value in os.environ.items() if name.upper() not in FOREIGN}
        self.environment |= aws.client_environment(scratch)
        self.environment["PYTHONPATH"] = str(ROOT / "src")

    # -- as a user ---------------------------------------------------------------------------------------------------

    def command(self, *words: str, exit: int | None = 0, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """`headrace WORDS` with this target; fails the test if it ends otherwise than with `exit`."""
        line = [sys.executable, "-c", COMMAND, *words, "--project", str(self.folder), "--target", self.target]
        done = subprocess.run(line, env=self.environment, capture_output=True, text=True, timeout=timeout)
        told = f"headrace {' '.join(words)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert exit is None or done.returncode == exit, told
        return done

    @classmethod
    def of_copy(cls, aws: MiniStack, project: Path, home: Path) -> Stack:
        """Of a copy of a project, not deployed yet."""
        shutil.copytree(project, home / "project", ignore=shutil.ignore_patterns(".headrace", "__pycache__", "input"))
        return cls(aws, home / "project", home)

    @contextmanager
    def standing(self) -> Iterator[Stack]:
        """Deployed as a user deploys it, and ready."""
        try:
            self.deploy()
            self.settle()
            yield self
        finally:
            self.close()

    def deploy(self) -> None:
        self.command("deploy", "--yes")
        self.__dict__.pop("places", None)
        self.name_batches()

    def client(self, service: str) -> Any:
        """A client that has nothing to do with the project's own session."""
        return boto3.client(
            service,
            endpoint_url=self.aws.endpoint,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            verify=self.aws.certificate and str(self.aws.certificate),
        )

    @cached_property
    def s3(self) -> Any:
        return self.client("s3")

    @cached_property
    def sqs(self) -> Any:
        return self.client("sqs")

    @cached_property
    def functions(self) -> Any:
        return self.client("lambda")

    @cached_property
    def project(self) -> Project:
        return open_project(self.folder, self.target)

    @cached_property
    def places(self) -> Places:
        [told] = self.client("cloudformation").describe_stacks(StackName=self.stack)["Stacks"]
        return Places.from_outputs({one["OutputKey"]: one["OutputValue"] for one in told["Outputs"]})

    @property
    def stack(self) -> str:
        return str(self.project.place.settings["stack"])

    def names(self) -> Names:
        return Names(self.stack, REGION, self.places.account)

    def of(self, pipeline: str) -> PipelinePlaces:
        return self.places.pipeline(pipeline)

    def home(self, pipeline: str) -> Home:
        return self.project.homes[pipeline]

    # -- objects -----------------------------------------------------------------------------------------------------

    def put(self, key: str, body: bytes) -> datetime:
        """Returns the creation time that S3 gave it."""
        self.s3.put_object(Bucket=self.places.landing, Key=key, Body=body)
        created: datetime = self.s3.head_object(Bucket=self.places.landing, Key=key)["LastModified"]
        return created

    def delete(self, key: str) -> None:
        self.s3.delete_object(Bucket=self.places.landing, Key=key)

    # -- looking -----------------------------------------------------------------------------------------------------

    def quiet(self, *pipelines: str, patience: float = 90) -> None:
        """Wait until nothing waits and every sink has all that was decided: twice in a row, since looks are not one."""
        calm, until = 0, time.monotonic() + patience
        while calm < 2:
            busy = {name: why for name in pipelines if (why := self.busy(name))}
            calm = 0 if busy else calm + 1
            assert time.monotonic() < until, f"it never became quiet: {busy}"
            time.sleep(0.2)

    def busy(self, pipeline: str) -> str:
        """What still goes on in one pipeline."""
        place = self.of(pipeline)
        for name, url in (("events", place.queue), ("bell", place.bell)):
            if waiting := self.waiting(url):
                return f"{waiting} in the queue of {name}"
        ledger = self.home(pipeline).ledger
        hints = set(ledger.hints()) - set(ledger.held())
        if hints or ledger.any_in_state("seen", "staged"):
            return f"hints {hints}, or loads under way"
        head = ledger.head()
        behind = {sink: number for sink, number in ledger.sinks().items() if number != head}
        return f"sinks {behind} behind {head}" if behind else ""

    def waiting(self, url: str) -> int:
        """Messages of a queue, whether anybody sees them or not."""
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return sum(int(found[f"ApproximateNumberOfMessages{what}"]) for what in ("", "NotVisible", "Delayed"))

    def facts(self, pipeline: str, prefix: str) -> Facts:
        return facts(self.home(pipeline), prefix, self.lake(pipeline), self.items(pipeline))

    def lake(self, pipeline: str) -> list[dict[str, Any]]:
        """What any reader of Iceberg finds through Glue."""
        [sink] = [s for s in self.project.pipelines[pipeline].sinks if isinstance(s, Lake)]
        return iceberg.rows(self.aws, self.places.database, sink.table)

    def partition_keys(self, pipeline: str) -> list[Any]:
        """The partition key of every item of the keyed table but the one that counts revisions, as they come."""
        [sink] = [s for s in self.project.pipelines[pipeline].sinks if isinstance(s, Keyed)]
        names = {"#key": self.project.pipelines[pipeline].record.__options__.key[0], "#file": "_source_file"}
        pages = (
            self.client("dynamodb")
            .get_paginator("scan")
            .paginate(
                TableName=self.of(pipeline).tables[sink.table],
                ConsistentRead=True,
                ProjectionExpression="#key, #file",
                ExpressionAttributeNames=names,
            )
        )
        found = [item[names["#key"]] for page in pages for item in page["Items"] if "_source_file" in item]
        return [int(value["N"]) if "N" in value else value["S"] for value in found]

    def items(self, pipeline: str) -> list[dict[str, Any]]:
        """What lookups see, key by key: as many as there are in the table."""
        [sink] = [s for s in self.project.pipelines[pipeline].sinks if isinstance(s, Keyed)]
        keys = self.partition_keys(pipeline)
        rows = [row for key in sorted(set(keys)) for row in self.project.get(sink.table, key)]
        assert len(rows) == len(keys), f"{len(keys)} items, and lookups see {len(rows)}"
        return rows

    def lines(self, pipeline: str, role: Role) -> list[dict[str, Any]]:
        """The structured lines that a function logged, oldest first."""
        told = (text for message in self.said(pipeline, role) for text in message.splitlines())
        return [json.loads(text) for text in told if text.startswith("{") and '"event"' in text]

    def said(self, pipeline: str, role: Role, since: int = 0) -> list[str]:
        """All that a function wrote since then (milliseconds of the epoch), oldest first."""
        pages = self.client("logs").get_paginator("filter_log_events")
        group = self.names().log_group(pipeline, role)
        return [
            event["message"] for page in pages.paginate(logGroupName=group, startTime=since) for event in page["events"]
        ]

    # -- what only a trial may do --------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Once the functions have heard S3's test events, let new processes of theirs be cheap, and time be short.

        (A function that changes while it works is killed, and what it had comes back after minutes.)
        """
        urls = [url for place in self.places.pipelines.values() for url in (place.queue, place.bell)]
        wait_until(lambda: not any(map(self.waiting, urls)), "S3's test events to be heard")
        self.lighten()
        self.hurry()

    def hurry(self) -> None:
        """Events that a dead function had come back within seconds."""
        for place in self.places.pipelines.values():
            for url in (place.queue, place.bell):
                self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": str(BACK)})

    def name_batches(self) -> None:
        """Allow in batches what is allowed one by one.

        To AWS they are one action (SQS's developer guide, on permissions); MiniStack takes a batch for one of its own.
        """
        iam = self.client("iam")
        for pipeline in self.places.pipelines:
            for role in get_args(Role):
                name = self.role(pipeline, role)
                policy = iam.get_role_policy(RoleName=name, PolicyName=CALLS)["PolicyDocument"]
                batches = [
                    {**one, "Sid": f"{one['Sid']}Batch", "Action": [f"{action}Batch" for action in actions]}
                    for one in policy["Statement"]
                    if (actions := BATCHED.intersection(as_list(one["Action"])))
                ]
                document = json.dumps({**policy, "Statement": batches})
                iam.put_role_policy(RoleName=name, PolicyName="batches", PolicyDocument=document)

    def role(self, pipeline: str, role: Role) -> str:
        """The name of a function's role."""
        found = self.functions.get_function_configuration(FunctionName=getattr(self.of(pipeline), role))
        return str(found["Role"].rpartition("/")[2])

    def lighten(self) -> None:
        """Let the libraries of the functions' packages lie unpacked beside them.

        MiniStack unpacks a package for each process of a function; 200 MB for every one that a trial kills.
        """
        [told] = self.client("cloudformation").describe_stacks(StackName=self.stack)["Stacks"]
        keys = {one["ParameterKey"]: one["ParameterValue"] for one in told["Parameters"]}
        for role in ("ingest", "publish"):
            body = self.s3.get_object(Bucket=self.places.artifacts, Key=keys[f"{role.capitalize()}Code"])["Body"].read()
            libraries = self.scratch / f"libraries-{role}"
            small = io.BytesIO()
            own = ("headrace/", *(path.name for path in self.folder.iterdir()))
            with zipfile.ZipFile(io.BytesIO(body)) as package, zipfile.ZipFile(small, "w") as light:
                package.extractall(libraries, [name for name in package.namelist() if not name.startswith(own)])
                for name in package.namelist():
                    if name.startswith(own):
                        light.writestr(name, package.read(name))
            for place in self.places.pipelines.values():
                function = getattr(place, role)
                self.functions.update_function_code(FunctionName=function, ZipFile=small.getvalue())
                self.configure(function, PYTHONPATH=str(libraries))

    def let_leases_end(self, pipeline: str) -> None:
        """Let so much time pass that a publisher which was killed is known to be dead."""
        items = self.client("dynamodb")
        head = {"pk": {"S": pipeline}, "sk": {"S": "head"}}
        self._end(items, self.places.ledger, head, {"S": LONG_AGO})
        for table in self.of(pipeline).tables.values():
            for item in items.scan(TableName=table, ConsistentRead=True)["Items"]:
                if "until" in item and "_source_file" not in item:
                    names = [one["AttributeName"] for one in self._schema(items, table)]
                    self._end(items, table, {name: item[name] for name in names}, {"N": "1"})

    def _schema(self, items: Any, table: str) -> Sequence[Mapping[str, str]]:
        schema: Sequence[Mapping[str, str]] = items.describe_table(TableName=table)["Table"]["KeySchema"]
        return schema

    def _end(self, items: Any, table: str, key: Mapping[str, Any], ended: Mapping[str, str]) -> None:
        try:
            items.update_item(
                TableName=table,
                Key=key,
                UpdateExpression="SET #until = :until",
                ConditionExpression="attribute_exists(#until)",
                ExpressionAttributeNames={"#until": "until"},
                ExpressionAttributeValues={":until": ended},
            )
        except items.exceptions.ConditionalCheckFailedException:
            pass  # nobody holds it

    def environment_of(self, function: str) -> dict[str, str]:
        found: dict[str, str] = self.functions.get_function_configuration(FunctionName=function)["Environment"][
            "Variables"
        ]
        return found

    @contextmanager
    def changed(self, function: str, timeout: int | None = None, **variables: str) -> Any:
        """A function with other variables, or another timeout, until the block ends."""
        before = self.functions.get_function_configuration(FunctionName=function)
        kept = before["Environment"]["Variables"]
        self._configure(function, timeout or before["Timeout"], {**kept, **variables})
        try:
            yield
        finally:
            self._configure(function, before["Timeout"], kept)

    def configure(self, function: str, **variables: str) -> None:
        """Give a function more variables, for good."""
        before = self.functions.get_function_configuration(FunctionName=function)
        self._configure(function, before["Timeout"], {**before["Environment"]["Variables"], **variables})

    def _configure(self, function: str, timeout: int, variables: Mapping[str, str]) -> None:
        self.functions.update_function_configuration(
            FunctionName=function, Timeout=timeout, Environment={"Variables": dict(variables)}
        )

    def failures(self, function: str) -> int:
        """How often an event source saw this function fail until now."""
        return self.aws.log.read_text(errors="replace").count(f"ESM: Lambda {function} failed processing")

    def crashing(
        self, pipeline: str, role: Role, fault: str, timeout: int | None = None
    ) -> AbstractContextManager[None]:
        """Kill that function wherever it passes the fault point, until the block ends."""
        function: str = getattr(self.of(pipeline), role)
        crashing: AbstractContextManager[None] = self.changed(function, timeout, HEADRACE_FAULT=fault)
        return crashing

    def paused(self, pipeline: str) -> AbstractContextManager[None]:
        """Nobody takes events until the block ends."""
        return self._paused(self.of(pipeline).ingest)

    @contextmanager
    def _paused(self, function: str) -> Any:
        [mapping] = self.functions.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
        self.functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        try:
            yield
        finally:
            self.functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)

    def taken(self, pipeline: str, at_least: int) -> list[str]:
        """Take the messages out of a paused pipeline's queue, and return their bodies."""
        url, bodies = self.of(pipeline).queue, []
        wait_until(lambda: self.waiting(url) >= at_least, "the notifications")
        while messages := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            for message in messages:
                bodies.append(message["Body"])
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return bodies

    def tell(self, pipeline: str, bodies: Iterable[str]) -> None:
        """Send these to the pipeline's queue."""
        found = list(bodies)
        for n in range(0, len(found), 10):
            entries = [{"Id": str(i), "MessageBody": body} for i, body in enumerate(found[n : n + 10])]
            self.sqs.send_message_batch(QueueUrl=self.of(pipeline).queue, Entries=entries)

    def close(self) -> None:
        if "project" in self.__dict__:
            self.project.close()


def as_list(given: str | list[str]) -> list[str]:
    return [given] if isinstance(given, str) else given


def wait_until(holds: Callable[[], bool], what: str, patience: float = 60) -> None:
    until = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.1)


def shuffled(bodies: Sequence[str], random: Random, most: int = 3) -> list[str]:
    """Each between once and `most` times, in no order; now and then two notifications in one message."""
    told = [body for body in bodies for _ in range(random.randint(1, most))]
    random.shuffle(told)
    records = [json.loads(body) for body in told]
    joined = []
    while records:
        one = records.pop()
        if records and random.random() < 0.2 and "Records" in one and "Records" in records[-1]:
            one = {"Records": [*one["Records"], *records.pop()["Records"]]}
        joined.append(json.dumps(one))
    return joined
