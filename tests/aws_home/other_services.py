"""Services that misbehave: one that answers as it is told, and ways to a real one that break or lose an answer."""

from __future__ import annotations

import http.client
import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

Answer = tuple[int, dict[str, str], str]
Wanted = Callable[[str, str, Any], bool]
"""Whether a request (method, path, headers) is the one."""


@contextmanager
def service(answers: Callable[[int, dict[str, str], bytes], Answer]) -> Iterator[str]:
    """A service on this machine that answers the n-th request as told: what no emulator can be asked to say."""
    asked: list[int] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            given = self.rfile.read(int(self.headers.get("content-length", 0)))
            asked.append(1)
            status, headers, body = answers(len(asked), dict(self.headers), given)
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body.encode()))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body.encode())

        do_GET = do_HEAD = do_PUT = do_POST

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Line:
    """A connection to a service, byte by byte, which breaks: after `most` bytes of an answer, `breaks` times."""

    def __init__(self, endpoint: str) -> None:
        url = urlsplit(endpoint)
        self._to = (str(url.hostname), int(url.port or 80))
        self.most, self.breaks = 0, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        """From now on nobody is there."""
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._to)
                self._open |= {near, far}
                threading.Thread(target=self._pump, args=(near, far), daemon=True).start()
                threading.Thread(target=self._pump, args=(far, near, True), daemon=True).start()

    def _pump(self, source: socket.socket, to: socket.socket, breaking: bool = False) -> None:
        sent = 0
        with suppress(OSError):
            while data := source.recv(65536):
                to.sendall(data)
                sent += len(data)
                if breaking and self.breaks and sent > self.most:
                    self.breaks -= 1
                    break
            for one in (source, to):
                one.shutdown(socket.SHUT_RDWR)


@contextmanager
def losing(endpoint: str, wanted: Wanted) -> Iterator[str]:
    """A way to MiniStack on which the answer to the first wanted request is lost: it is done there, nobody hears."""
    to = urlsplit(endpoint)
    lost: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            if self.headers.get("expect"):
                self.send_response_only(100)
                self.end_headers()
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            there = http.client.HTTPConnection(str(to.hostname), to.port)
            there.request(self.command, self.path, body, dict(self.headers))
            answer = there.getresponse()
            content = answer.read()
            if not lost and wanted(self.command, self.path, self.headers):
                lost.append(self.path)
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_DELETE = do_POST

        def handle_expect_100(self) -> bool:
            return True

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
    assert lost, "no such request was made"
