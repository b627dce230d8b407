"""What writing items to DynamoDB costs the client, beside boto3: CPU of the client's process alone, against a stub."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import Usage, last_json, middle
from benchmarks.peers.item_writers import AT_ONCE, write_rows
from benchmarks.place import scratch
from benchmarks.report import Line, Table

GOAL = 8.0
CLIENTS = {
    "headrace": "Headrace, Parquet to items",
    "batch_writer": "boto3 `batch_writer`",
    "low_level": "boto3 client, attributes typed by hand",
}


def keyed_client(items: int, runs: int) -> Table:
    path = scratch("keyed_client") / "rows.parquet"
    write_rows(path, items)
    table = Table(f"DynamoDB client: {items:,} items of 12 columns and lineage", CLIENTS["headrace"])
    with _stub() as endpoint:
        taken = {client: middle([_run(client, path, items, endpoint) for _ in range(runs)]) for client in CLIENTS}
    own = taken["headrace"].cpu
    for client, used in taken.items():
        figure = f"{used.cpu / items * 1e6:.1f} µs/item"
        times = used.cpu / own
        goal = f"≥ {GOAL:g} × Headrace" if client == "batch_writer" else ""
        if client != "headrace":
            figure += f", {times:.1f} × Headrace"
        table.lines.append(Line("keyed-client", CLIENTS[client], used, figure, goal, times >= GOAL if goal else None))
    return table


def _run(client: str, path: Path, items: int, endpoint: str) -> Usage:
    environment = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "x" * 40,
        "AWS_DEFAULT_REGION": "eu-west-2",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    command = [sys.executable, "-m", "benchmarks.peers.item_writers", client, str(path), str(items)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    told = last_json(done.stdout)
    if done.returncode or not told:
        raise AssertionError(f"{client}: {done.stdout}{done.stderr}")
    given = int(urllib.request.urlopen(endpoint).read())
    assert given == items + AT_ONCE, f"{client} sent {given} items instead of {items + AT_ONCE}"
    return Usage(told["wall"], told["cpu"], int(told["rss"]), told)


@contextmanager
def _stub() -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.dynamo_stub"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        finally:
            server.terminate()
