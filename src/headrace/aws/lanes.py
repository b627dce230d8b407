"""Connections to one endpoint that are kept open, each with at most one request under way; one thread drives them all.

A request leaves as one piece and its answer is read as it comes: four system calls for both. An HTTP client with a
thread per request makes a dozen, and hands the interpreter over at each. Connecting, tunnels through a proxy and TLS
are the standard library's, as is every answer that is not of the plain form. Used by `aws.wire` alone.
"""

from __future__ import annotations

import http.client
import io
import selectors
import socket
import ssl
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property, partial
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import urlsplit

from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.utils import get_environ_proxies

CONNECT, READ = 5.0, 10.0
"""Seconds to wait for a connection, and for the next byte to go or come."""

PIECE = 1 << 16
"""Bytes read at once: more than a TLS record holds, so that none of it is left unseen in the TLS layer."""

NOT_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""What a socket that does not block raises instead of waiting."""

DISCARD = struct.pack("ii", 1, 0)
"""SO_LINGER for zero seconds: what is not sent when the socket is closed never will be (socket(7))."""

OWN = partial(get_cert_path, True)
"""The certificates that botocore brings along."""

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
    """Up to `count` connections, made as they are needed, to what `endpoint` says: an address like https://host:port.

    `certificates` says which file has those that are trusted.
    """

    def __init__(self, endpoint: Callable[[], str], count: int, certificates: Callable[[], str] = OWN) -> None:
        self._endpoint, self._count, self._certificates = endpoint, count, certificates
        self._idle: list[_Lane] = []
        self._flying: dict[_Lane, Cargo] = {}
        self._open: selectors.BaseSelector | None = None

    @cached_property
    def _route(self) -> _Route:
        return _Route(self._endpoint(), self._certificates)

    @property
    def under_way(self) -> int:
        """How many requests have not landed."""
        return len(self._flying)

    def post(self, headers: Mapping[str, str], body: bytes, cargo: Cargo) -> None:
        """Send a POST to /, while fewer than `count` are under way.

        Raises OSError if no connection could be made: nothing was sent then.
        """
        assert len(self._flying) < self._count
        lane = self._rested() or self._connected()
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
                self._drop(lane)  # nothing was asked there: an end, or nothing that could be an answer
                continue
            if events & selectors.EVENT_WRITE:
                self._push(lane)
            if events & selectors.EVENT_READ:
                self._pull(lane, found)
        self._give_up(found)
        return found

    def close(self) -> None:
        """Close all connections; what is under way is lost. The next request makes new ones."""
        opened, self._open = self._open, None
        self._flying, self._idle = {}, []
        if opened is not None:
            for key in list(opened.get_map().values()):
                key.data.discard()
            opened.close()

    @property
    def _selector(self) -> selectors.BaseSelector:
        if self._open is None:
            self._open = selectors.DefaultSelector()
        return self._open

    def _connected(self) -> _Lane:
        lane = _Lane(self._route.connected())
        self._selector.register(lane.socket, selectors.EVENT_READ, lane)
        return lane

    def _rested(self) -> _Lane | None:
        """A connection that is open still, and has nothing to say of its own."""
        while self._idle:
            lane = self._idle[-1]
            if lane.quiet():
                return self._idle.pop()
            self._drop(lane)
        return None

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
            found.append(Landed(self._flying[lane], None, exc))
            self._drop(lane)
            return
        if reply is not None:
            answer, again = reply
            found.append(Landed(self._flying[lane], answer))
            if again and not ended and not lane.left:
                self._idle.append(lane)
                del self._flying[lane]
            else:
                self._drop(lane)
        elif ended:
            found.append(Landed(self._flying[lane], None, ConnectionError("closed before an answer came")))
            self._drop(lane)

    def _give_up(self, found: list[Landed[Cargo]]) -> None:
        """End what has waited too long. Only after reading: whoever calls may have been away for longer."""
        late = time.monotonic() - READ
        for lane in [lane for lane in self._flying if lane.since <= late]:
            found.append(Landed(self._flying[lane], None, TimeoutError(f"nothing went or came for {READ:.0f} s")))
            self._drop(lane)

    def _drop(self, lane: _Lane) -> None:
        self._selector.unregister(lane.socket)
        lane.discard()
        self._flying.pop(lane, None)
        if lane in self._idle:
            self._idle.remove(lane)


class _Lane:
    """One connection: what is left to be sent, and what has come of the answer."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.events: int = selectors.EVENT_READ
        self.since = 0.0  # when, by the monotonic clock, a byte last went or came
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

    def quiet(self) -> bool:
        """Whether it is open, and nothing has come. In TLS this takes in what is no answer, such as session tickets."""
        try:
            self.socket.recv(1)
        except NOT_YET:
            return True
        except OSError:
            pass
        return False

    def discard(self) -> None:
        """Close it. What the system still holds of a request is not sent any more: it would come too late."""
        with suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, DISCARD)
        self.socket.close()


class _Route:
    """How to get to an endpoint, as botocore would: through the environment's proxy."""

    def __init__(self, endpoint: str, certificates: Callable[[], str]) -> None:
        url = urlsplit(endpoint)
        self._secure = url.scheme == "https"
        self._host, self._port = url.hostname or "", url.port or (443 if self._secure else 80)
        self._certificates = certificates
        self._trusted: ssl.SSLContext | None = None
        configured = ProxyConfiguration(get_environ_proxies(endpoint))
        proxy = configured.proxy_url_for(endpoint)
        self._proxy = urlsplit(proxy) if proxy else None
        self._told: dict[str, str] = configured.proxy_headers_for(proxy) if proxy else {}  # who asks the proxy
        self.opening = "POST / HTTP/1.1\r\n"
        if proxy and not self._secure:
            told = "".join(f"{name}: {value}\r\n" for name, value in self._told.items())
            self.opening = f"POST http://{url.netloc}/ HTTP/1.1\r\n{told}"

    def connected(self) -> socket.socket:
        """A socket that does not block. Raises OSError."""
        try:
            connection = self._connection()
        except ValueError as exc:  # a port that is none
            raise ConnectionError(f"the proxy's address cannot be read: {exc}") from exc
        try:
            connection.connect()
        except http.client.HTTPException as exc:
            connection.close()
            raise ConnectionError(f"{type(exc).__name__}: {exc}") from exc
        found: socket.socket = connection.sock
        found.setblocking(False)
        return found

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._host, self._port
        if self._proxy is not None:
            if self._proxy.scheme == "https":
                raise ConnectionError("a proxy that is itself spoken to over TLS cannot be used: name it as http://")
            host, port = self._proxy.hostname or "", self._proxy.port or 80
        if not self._secure:
            return http.client.HTTPConnection(host, port, timeout=CONNECT)
        if self._trusted is None:
            self._trusted = ssl.create_default_context(cafile=self._certificates())
        connection = http.client.HTTPSConnection(host, port, timeout=CONNECT, context=self._trusted)
        if self._proxy is not None:
            connection.set_tunnel(self._host, self._port, self._told)
        return connection


def _reply(held: bytearray, ended: bool) -> tuple[Answer, bool] | None:
    """The answer, and whether the connection can be used again; None while it is not whole. Raises as http.client does.

    The plain form is HTTP/1.1 with a Content-Length, as every service sends it (RFC 9112, section 6.3).
    """
    end = held.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = held[:end].lower()
    if head.startswith(b"http/1.1 1"):  # "go on": the answer follows
        return _reply(held[end + 4 :], ended)
    _, plain, rest = head.partition(b"\r\ncontent-length:")
    if not plain or b"\r\ntransfer-encoding:" in head or not head.startswith(b"http/1.1 "):
        return _parsed(held, ended)
    length, status = rest.partition(b"\r\n")[0].strip(), head[9:12]
    if not length.isdigit() or not status.isdigit():
        raise ValueError(f"no answer of HTTP: {bytes(held[:60])!r}")
    after = end + 4 + int(length)
    if len(held) < after:
        return None
    again = len(held) == after and b"\r\nconnection: close" not in head
    return Answer(int(status), bytes(held[end + 4 : after])), again


def _parsed(held: bytearray, ended: bool) -> tuple[Answer, bool] | None:
    """The same for every other form; the connection is then closed, as its end may be what ends the answer."""
    reply = http.client.HTTPResponse(_Held(held))  # type: ignore[arg-type]
    reply.begin()
    bounded = held.endswith(b"\r\n\r\n") if reply.chunked else reply.length is not None
    if not bounded and not ended:
        return None
    try:
        return Answer(reply.status, reply.read()), False
    except http.client.IncompleteRead:
        return None


class _Held:
    """What has come, as http.client wants to read it."""

    def __init__(self, data: bytearray) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)
