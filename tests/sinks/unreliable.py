"""A DynamoDB that fails now and then: a proxy in a thread before a reliable one, for tests of what writes items.

Of the BatchWriteItem requests a share is throttled, answered by 500 (before or after it was carried out), left partly
unprocessed, or cut off without an answer after it was carried out. Everything else passes.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

TROUBLES = ("throttled", "refused", "lost", "partial")


class Unreliable(ThreadingHTTPServer):
    """`share` of the batches meet one of `troubles`; `seen` counts which, `connections` by what each was first for."""

    daemon_threads = True

    def __init__(self, behind: str, share: float, troubles: tuple[str, ...] = TROUBLES, seed: int = 1) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind, self.share, self.troubles = urlsplit(behind).netloc, share, troubles
        self.seen: Counter[str] = Counter()
        self.connections: Counter[str] = Counter()
        self.items = 0
        self._chance, self._lock = random.Random(seed), threading.Lock()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def trouble(self, target: str) -> str:
        with self._lock:
            self.seen[target] += 1
            if target != "BatchWriteItem" or self._chance.random() >= self.share:
                return ""
            found = self._chance.choice(self.troubles)
            self.seen[found] += 1
            return found

    def handle_error(self, request: Any, address: Any) -> None:
        """A client that was killed goes without a word."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Unreliable

    known = False

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        target = self.headers["X-Amz-Target"].rsplit(".", 1)[-1]
        self.server.connections[target] += not self.known
        self.known = True
        trouble = self.server.trouble(target)
        match trouble:
            case "throttled":
                self._answer(400, {"__type": "com.amazonaws#ThrottlingException", "message": "slow down"})
            case "refused":
                self._answer(500, {"__type": "com.amazonaws#InternalServerError", "message": "no"})
            case "lost":
                self._forward(body)
                self.close_connection = True
            case "partial":
                told = json.loads(body)
                ((table, requests),) = told["RequestItems"].items()
                left = requests[: 1 + len(requests) // 2]
                told["RequestItems"][table] = requests[len(left) :]
                if told["RequestItems"][table]:
                    self._forward(json.dumps(told).encode())
                self._answer(200, {"UnprocessedItems": {table: left}})
            case "strange":
                self._write(200, b"<html>welcome</html>")
            case "empty":
                self._write(200, b"{}")
            case "gateway":
                self._write(502, b"<html>bad gateway</html>")
            case _:
                status, data = self._forward(body)
                self._write(status, data)

    def _forward(self, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.server.behind, timeout=30)
        names = ("Content-Type", "X-Amz-Date", "X-Amz-Target", "Authorization")
        connection.request("POST", "/", body, {name: self.headers[name] for name in names if self.headers[name]})
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, data

    def _answer(self, status: int, told: dict[str, Any]) -> None:
        self._write(status, json.dumps(told).encode())

    def _write(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a test says what it found."""


@contextmanager
def unreliable(behind: str, share: float, troubles: tuple[str, ...] = TROUBLES) -> Iterator[Unreliable]:
    server = Unreliable(behind, share, troubles)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
