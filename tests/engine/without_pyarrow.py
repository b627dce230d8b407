"""A publisher in a process that has no PyArrow: `python without_pyarrow.py HOME ROOT`, with tests/ on the path.

It stages through the confined child, which has it, and prints how many revisions it made. HOME is `local` or `aws`; the
latter is made in whatever AWS the environment names, under the name that is ROOT's last part.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

from headrace import Pipeline, Record, files, keyed, lake
from headrace.engine import ingest
from headrace.engine.compact import compact
from headrace.engine.home import Home
from headrace.engine.publish import publish
from headrace.engine.reconcile import scan
from headrace.engine.replay import rebuild
from headrace.engine.retain import prune
from headrace.engine.sandbox import Sandbox
from headrace.engine.settings import Settings

FILES = {
    "a.csv": "asset,day,value\nx,2025-01-01,1\ny,2025-01-02,2\n",
    "b.csv": "asset,day,value\nx,2025-01-01,10\nz,2026-01-03,3\nz,never,4\n",
    "c.csv": "asset,day,value\nw,2026-01-04,5\n",
}
REGION = "eu-west-2"


class NoPyArrow(MetaPathFinder):
    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname.partition(".")[0] == "pyarrow":
            raise ImportError(f"{fullname} is not installed here")


class Reading(Record, key=("asset", "day")):
    asset: str
    day: str
    value: int


Change = Callable[[str, str | None], object]
"""Write an object below the prefix, or delete it (None)."""


def pipeline(*more: Any) -> Pipeline:
    sinks = [lake("t", partition_by="asset"), *more]
    return Pipeline("p", source=files("in/", on_delete="retract"), record=Reading, sinks=sinks)


def local(root: Path, settings: Settings) -> tuple[Home, Change]:
    """Without a keyed sink: the one on SQLite takes its rows as Arrow."""
    from headrace.local.target import LocalTarget

    target = LocalTarget(root, settings)
    landing = target.landing / "in"
    landing.mkdir()

    def change(name: str, text: str | None) -> None:
        (landing / name).unlink() if text is None else (landing / name).write_text(text)

    return target.home(pipeline()), change


def aws(root: Path, settings: Settings) -> tuple[Home, Change]:
    from headrace.aws.keyed_layout import Layout, table_schema
    from headrace.aws.options import AwsOptions
    from headrace.aws.places import PipelinePlaces, Places
    from headrace.aws.session import Session
    from headrace.aws.target import AwsTarget

    session, name = Session(REGION), root.name
    s3, dynamodb = session.client("s3"), session.client("dynamodb")
    for bucket in (f"{name}-landing", f"{name}-lake"):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    session.client("glue").create_database(DatabaseInput={"Name": name})
    columns = [("asset", "VARCHAR"), ("day", "VARCHAR"), ("value", "BIGINT")]
    definitions, keys, _ = table_schema(Layout.of(("asset", "day"), columns))
    rows = {"AttributeDefinitions": definitions, "KeySchema": keys}
    parts = {"pk": "HASH", "sk": "RANGE"}
    state = {
        "AttributeDefinitions": [{"AttributeName": part, "AttributeType": "S"} for part in parts],
        "KeySchema": [{"AttributeName": part, "KeyType": kind} for part, kind in parts.items()],
    }
    for table, schema in {f"{name}-k": rows, f"{name}-ledger": state}.items():
        dynamodb.create_table(TableName=table, BillingMode="PAY_PER_REQUEST", **schema)
    queue = session.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    topic = session.client("sns").create_topic(Name=name)["TopicArn"]
    places = Places(
        stack=name,
        region=REGION,
        account="000000000000",
        landing=f"{name}-landing",
        lake=f"{name}-lake",
        ledger=f"{name}-ledger",
        topic=topic,
        operations=topic,
        database=name,
        workgroup="",
        artifacts="",
        pipelines={"p": PipelinePlaces(queue, "", "", "", "", {"k": f"{name}-k"})},
    )
    options = AwsOptions.from_mapping({"stack": name, "region": REGION})

    def change(file: str, text: str | None) -> None:
        place = {"Bucket": places.landing, "Key": f"in/{file}"}
        s3.delete_object(**place) if text is None else s3.put_object(**place, Body=text.encode())

    return AwsTarget(session, places, options, root, settings).home(pipeline(keyed("k"))), change


def work(home: Home, sandbox: Sandbox) -> None:
    scan(home)
    ingest.ingest(home, sandbox, home.queue.lease("p", 10, timedelta(minutes=1)))
    publish(home)


def main(where: str, root: Path) -> None:
    sys.meta_path.insert(0, NoPyArrow())
    settings = Settings(threads=1, memory_limit="400MB")
    home, change = (local if where == "local" else aws)(root, settings)
    with Sandbox(settings) as sandbox:
        for name, text in FILES.items():  # one after the other: a row of the second takes its key from the first
            change(name, text)
            work(home, sandbox)
        change("c.csv", None)
        work(home, sandbox)
    for sink in home.writers:
        rebuild(home, sink)
    compact(home)
    prune(home)
    home.writers["t"].maintain()
    assert "pyarrow" not in sys.modules
    print(home.ledger.head())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
