"""A rough way to DynamoDB: now and then a request is throttled, or only part of a batch is done. Seeded."""

from __future__ import annotations

import http.client
import http.server
import json
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from emulator import REGION

THROTTLED = json.dumps(
    {
        "__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
        "message": "The level of configured provisioned throughput for the table was exceeded.",
    }
).encode()


class Rough:
    """What was done to whom: operation → how often it was throttled, or items that were left undone."""

    def __init__(self, share: float, seed: int) -> None:
        self.share = share
        self.throttled: Counter[str] = Counter()
        self.undone = 0
        self._random, self._lock = Random(seed), threading.Lock()

    def unlucky(self) -> bool:
        with self._lock:
            return self._random.random() < self.share

    def halved(self, body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """A batch in two: what is done, and what is left undone."""
        done: dict[str, Any] = {}
        undone: dict[str, Any] = {}
        for table, requests in body["RequestItems"].items():
            middle = len(requests) // 2
            done[table], undone[table] = requests[: len(requests) - middle], requests[len(requests) - middle :]
        return done, {table: requests for table, requests in undone.items() if requests}


@contextmanager
def rough(
    endpoint: str, trust: ssl.SSLContext | None = None, share: float = 0.02, seed: int = 1
) -> Iterator[tuple[str, Rough]]:
    """The endpoint of the rough way to `endpoint`, and what it did, until the block ends. `trust`: where it is TLS."""
    told, to = Rough(share, seed), urlsplit(endpoint)

    def connect() -> http.client.HTTPConnection:
        if trust is None:
            return http.client.HTTPConnection(str(to.hostname), to.port, timeout=60)
        return http.client.HTTPSConnection(str(to.hostname), to.port, timeout=60, context=trust)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            self.there = connect()  # as long as the client's own

        def finish(self) -> None:
            self.there.close()
            super().finish()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            operation = self.headers.get("x-amz-target", "").rpartition(".")[2]
            unlucky = told.unlucky()
            if unlucky and operation == "BatchWriteItem":
                self._partly(body)
            elif unlucky:
                told.throttled[operation] += 1
                self._answer(400, THROTTLED)
            else:
                self._answer(*self._forward(body))

        def _partly(self, body: bytes) -> None:
            request = json.loads(body)
            done, undone = told.halved(request)
            part = json.dumps({**request, "RequestItems": done}).encode()
            status, content = self._forward(part, self._signed(part))
            if status == 200:
                answer = json.loads(content)
                left = answer.setdefault("UnprocessedItems", {})
                for table, requests in undone.items():
                    left.setdefault(table, []).extend(requests)
                    told.undone += len(requests)
                content = json.dumps(answer).encode()
            self._answer(status, content)

        def _signed(self, body: bytes) -> dict[str, str]:
            """Headers for another body than the client signed: in the name of the account's root."""
            told = {name: self.headers[name] for name in ("host", "content-type", "x-amz-target")}
            asked = AWSRequest("POST", endpoint, data=body, headers=told)
            SigV4Auth(Credentials("test", "test"), "dynamodb", REGION).add_auth(asked)
            return dict(asked.headers)

        def _forward(self, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
            own = {name: value for name, value in self.headers.items() if name.lower() != "content-length"}
            self.there.request("POST", self.path, body, headers or own)
            answer = self.there.getresponse()
            return answer.status, answer.read()

        def _answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/x-amz-json-1.0")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
