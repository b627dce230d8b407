"""Connections to one endpoint that are kept open, each with at most one request under way; one thread drives them all.

A request leaves as one piece and its answer is read as it comes: three system calls for both. An HTTP client with a
thread per request makes a dozen, and hands the interpreter over at each. Connecting, tunnels through a proxy and TLS
are the standard library's, as is every answer that is not of the plain form. Used by `aws.wire` alone.
"""

from __future__ import annotations

import base64
import http.client
import io
import os
import selectors
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

CONNECT, READ = 5.0, 10.0
"""Seconds to wait for a connection, and for an answer."""

PIECE = 1 << 16
"""Bytes read at once: more than a TLS record holds, so that none of it is left unseen in the TLS layer."""

PLAIN = (b"http/1.1 2", b"http/1.1 4", b"http/1.1 5")
NOT_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

Cargo = TypeVar("Cargo")


class Answer(NamedTuple):
    status: int
    data: bytes


class Landed(NamedTuple, Generic[Cargo]):
    """What became of a request: an answer, or why there is none. Without one, it may have been carried out."""

    cargo: Cargo
    answer: Answer | None
    trouble: Exception | None = None


class Lanes(Generic[Cargo]):
    """Up to `count` connections, made as they are needed, to what `endpoint` says: an address like https://host:port."""

    def __init__(self, endpoint: Callable[[], str], count: int) -> None:
        self._endpoint, self._count = endpoint, count
        self._idle: list[_Lane] = []
        self._flying: dict[_Lane, Cargo] = {}
        self._selector = selectors.DefaultSelector()

    @cached_property
    def _route(self) -> _Route:
        return _Route(self._endpoint())

    @property
    def under_way(self) -> int:
        return len(self._flying)

    def post(self, headers: Mapping[str, str], body: bytes, cargo: Cargo) -> None:
        """Send a POST to /, while fewer than `count` are under way. Raises OSError if nothing could be sent."""
        assert len(self._flying) < self._count
        lane = self._idle.pop() if self._idle else self._opened()
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"{self._route.opening}{lines}Content-Length: {len(body)}\r\n\r\n"
        self._flying[lane] = cargo
        lane.begin(head.encode("ascii") + body)
        self._push(lane)

    def landed(self, seconds: float) -> list[Landed[Cargo]]:
        """What has come by now, or the first that comes within that time. An empty list when nothing did."""
        now = time.monotonic()
        until = min([now + seconds, *(lane.since + READ for lane in self._flying)])
        found: list[Landed[Cargo]] = []
        for key, events in self._selector.select(max(0.0, until - now)):
            lane: _Lane = key.data
            if lane not in self._flying:
                self._drop(lane)  # only an end comes to where nothing was asked
                continue
            if events & selectors.EVENT_WRITE:
                self._push(lane)
            if events & selectors.EVENT_READ:
                self._pull(lane, found)
        self._give_up(found)
        return found

    def close(self) -> None:
        """Close all connections. The next request makes new ones."""
        for lane in [*self._flying, *self._idle]:
            self._drop(lane)

    def _opened(self) -> _Lane:
        lane = _Lane(self._route.connected())
        self._selector.register(lane.socket, selectors.EVENT_READ, lane)
        return lane

    def _push(self, lane: _Lane) -> None:
        """Send what the connection takes, and look for room while something is left."""
        with suppress(OSError):  # a broken connection is readable: reading tells what there is to tell
            lane.push()
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if lane.left else 0)
        if events != lane.events:
            self._selector.modify(lane.socket, events, lane)
            lane.events = events

    def _pull(self, lane: _Lane, found: list[Landed[Cargo]]) -> None:
        """Read what has come. Nothing is told before the answer is whole, or cannot become so."""
        try:
            ended = lane.pull()
            reply = _reply(lane.held, ended)
        except (OSError, http.client.HTTPException, ValueError) as exc:
            found.append(Landed(self._drop(lane), None, exc))
            return
        if reply is None:
            if ended:
                found.append(Landed(self._drop(lane), None, ConnectionError("closed before an answer came")))
            return
        answer, again = reply
        if again and not ended and not lane.left:
            cargo = self._flying.pop(lane)
            self._idle.append(lane)
        else:
            cargo = self._drop(lane)
        found.append(Landed(cargo, answer))

    def _give_up(self, found: list[Landed[Cargo]]) -> None:
        """End what has waited too long. Only after reading: whoever calls may have been away for longer."""
        late = time.monotonic() - READ
        for lane in [lane for lane in self._flying if lane.since <= late]:
            found.append(Landed(self._drop(lane), None, TimeoutError(f"no answer within {READ:.0f} s")))

    def _drop(self, lane: _Lane) -> Any:
        """Close it. Returns what it carried."""
        self._selector.unregister(lane.socket)
        lane.socket.close()
        if lane in self._flying:
            return self._flying.pop(lane)
        self._idle.remove(lane)
        return None


class _Lane:
    """One connection: what is left to be sent, and what has come of the answer."""

    def __init__(self, connected: Any) -> None:
        self.socket = connected
        self.events: int = selectors.EVENT_READ
        self.since = 0.0  # when, by the monotonic clock, it last got on
        self.left: bytes | memoryview = b""
        self.held = bytearray()

    def begin(self, request: bytes) -> None:
        self.since, self.left, self.held = time.monotonic(), request, bytearray()

    def push(self) -> None:
        with suppress(*NOT_YET):
            while self.left:
                sent = self.socket.send(self.left)
                self.left = memoryview(self.left)[sent:] if sent < len(self.left) else b""
                self.since = time.monotonic()

    def pull(self) -> bool:
        """Whether the other side has ended."""
        try:
            piece = self.socket.recv(PIECE)
        except NOT_YET:
            return False
        self.held += piece
        self.since = time.monotonic()
        return not piece


class _Route:
    """How to get to an endpoint, as botocore would: through the environment's proxy, trusting the same certificates."""

    def __init__(self, endpoint: str) -> None:
        url = urlsplit(endpoint)
        self._secure = url.scheme == "https"
        self._host, self._port = url.hostname or "", url.port or (443 if self._secure else 80)
        self._proxy = urlsplit(get_environ_proxies(endpoint).get(url.scheme) or "")
        self._trusted: ssl.SSLContext | None = None
        self.opening = "POST / HTTP/1.1\r\n"
        if self._proxy.hostname and not self._secure:
            told = "".join(f"{name}: {value}\r\n" for name, value in self._credentials().items())
            self.opening = f"POST http://{url.netloc}/ HTTP/1.1\r\n{told}"

    def connected(self) -> Any:
        """A socket that does not block. Raises OSError."""
        host, port = self._proxy.hostname or self._host, self._proxy.port or self._port
        connection = self._connection(host, port)
        if self._secure and self._proxy.hostname:
            connection.set_tunnel(self._host, self._port, self._credentials())
        try:
            connection.connect()
        except http.client.HTTPException as exc:
            raise ConnectionError(f"{type(exc).__name__}: {exc}") from exc
        connection.sock.setblocking(False)
        return connection.sock

    def _connection(self, host: str, port: int) -> http.client.HTTPConnection:
        if not self._secure:
            return http.client.HTTPConnection(host, port, timeout=CONNECT)
        if self._trusted is None:
            bundle = os.environ.get("AWS_CA_BUNDLE") or get_cert_path(True)
            self._trusted = ssl.create_default_context(cafile=bundle)
        return http.client.HTTPSConnection(host, port, timeout=CONNECT, context=self._trusted)

    def _credentials(self) -> dict[str, str]:
        """What the proxy is told of who asks."""
        if not self._proxy.username:
            return {}
        said = f"{unquote(self._proxy.username)}:{unquote(self._proxy.password or '')}"
        return {"Proxy-Authorization": f"Basic {base64.b64encode(said.encode()).decode()}"}


def _reply(held: bytearray, ended: bool) -> tuple[Answer, bool] | None:
    """The answer, and whether the connection can be used again; None while it is not whole. Raises as http.client does.

    The plain form is HTTP/1.1 with a Content-Length, as every service sends it (RFC 9112, section 6.3).
    """
    end = held.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = held[:end].lower()
    _, found, rest = head.partition(b"\r\ncontent-length:")
    if not found or b"\r\ntransfer-encoding:" in head or not head.startswith(PLAIN):
        return _parsed(held, ended)
    length = int(rest.partition(b"\r\n")[0])
    if len(held) < end + 4 + length:
        return None
    again = b"\r\nconnection: close" not in head and len(held) == end + 4 + length
    return Answer(int(head[9:12]), bytes(held[end + 4 : end + 4 + length])), again


def _parsed(held: bytearray, ended: bool) -> tuple[Answer, bool] | None:
    """The same for every other form; the connection is then closed, as its end may be what ends the answer."""
    reply = http.client.HTTPResponse(_Held(held))  # type: ignore[arg-type]
    try:
        reply.begin()
        data = reply.read()
    except (http.client.IncompleteRead, http.client.RemoteDisconnected):
        return None
    whole = ended or reply.length is not None or reply.chunked
    return (Answer(reply.status, data), False) if whole else None


class _Held:
    """What has come, as http.client wants to read it."""

    def __init__(self, data: bytearray) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)
