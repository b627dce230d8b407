"""Connections kept open: every form that an answer may have, ends at any moment, TLS, and the way through a proxy."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from headrace.aws import lanes as module
from headrace.aws.lanes import Answer, Landed, Lanes

OK = b"HTTP/1.1 200 OK\r\n"
PLAIN = OK + b"Content-Length: 5\r\n\r\nhello"

Talk = Callable[[Any], None]


@contextmanager
def server(*talks: Talk, trust: ssl.SSLContext | None = None) -> Iterator[str]:
    """What each of its connections does, in their order; the last goes for all that follow."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    over = threading.Event()
    told: list[BaseException] = []

    def serve() -> None:
        accepted = 0
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            connection.settimeout(10)
            try:
                spoken = trust.wrap_socket(connection, server_side=True) if trust else connection
                with spoken:
                    talks[min(accepted, len(talks) - 1)](spoken)
            except (ConnectionError, ssl.SSLError):
                pass  # the client went
            except BaseException as exc:
                told.append(exc)
            accepted += 1

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"{'https' if trust else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        thread.join()
        listener.close()
    assert not told


def asked(connection: Any) -> bytes:
    """One whole request."""
    held = bytearray()
    while b"\r\n\r\n" not in held:
        held += _more(connection)
    head = held.index(b"\r\n\r\n")
    length = int(held[:head].lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    while len(held) < head + 4 + length:
        held += _more(connection)
    return bytes(held)


def _more(connection: Any) -> bytes:
    piece: bytes = connection.recv(1 << 20)
    if not piece:
        raise ConnectionResetError
    return piece


def answering(*pieces: bytes, pause: float = 0.02, forever: bool = True) -> Talk:
    """Each request is answered by these pieces."""

    def talk(connection: Any) -> None:
        while True:
            asked(connection)
            for piece in pieces:
                connection.sendall(piece)
                if len(pieces) > 1:
                    time.sleep(pause)
            if not forever:
                return

    return talk


def echo(connection: Any) -> None:
    while True:
        body = asked(connection).partition(b"\r\n\r\n")[2]
        connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)


def posted(endpoint: str, *bodies: bytes, trusted: Path | None = None) -> list[Landed[int]]:
    lanes: Lanes[int] = Lanes(lambda: endpoint, 1, (lambda: str(trusted)) if trusted else module.OWN)
    try:
        return [each for n, body in enumerate(bodies) for each in one(lanes, body, n)]
    finally:
        lanes.close()


def one(lanes: Lanes[int], body: bytes = b"{}", cargo: int = 0) -> list[Landed[int]]:
    lanes.post({"X": "1"}, body, cargo)
    until = time.monotonic() + 10
    while not (found := lanes.landed(1.0)):
        assert time.monotonic() < until
    return found


@pytest.mark.parametrize(
    ("pieces", "forever"),
    [
        ((PLAIN,), True),
        (tuple(PLAIN[n : n + 1] for n in range(len(PLAIN))), True),
        ((b"HTTP/1.1 200 OK\r\ncontent-LENGTH:5\r\n", b"\r\nhel", b"lo"), True),
        ((OK + b"Transfer-Encoding: chunked\r\n\r\n", b"3\r\nhel\r\n", b"2\r\nlo\r\n", b"0\r\n", b"\r\n"), True),
        ((OK + b"\r\nhel", b"lo"), False),  # the end of the connection is the end of the answer
        ((b"HTTP/1.0 200 OK\r\n\r\nhello",), False),
        ((b"HTTP/1.1 100 Continue\r\n\r\n", PLAIN), True),
        ((b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 20", b"0 OK\r\nContent-Length: 5\r\n\r\nhello"), True),
        ((OK + b"Transfer-Encoding: chunked\r\n\r\n0", b"05\r\nhel", b"lo\r\n0\r\n\r\n"), True),
        ((b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN,), True),
        ((OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello",), False),
        ((OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello",), True),
    ],
)
def test_an_answer_is_read_in_every_form(pieces: tuple[bytes, ...], forever: bool) -> None:
    with server(answering(*pieces, forever=forever, pause=0.002)) as endpoint:
        found = posted(endpoint, b"{}", b"{}")
    assert found == [Landed(0, Answer(200, b"hello")), Landed(1, Answer(200, b"hello"))]


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        OK + b"Content-Length: 6\r\n\r\nhello",
        OK + b"Content-Length: many\r\n\r\nhello",
        OK + b"Content-Length: -5\r\n\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
    ],
)
def test_what_is_no_whole_answer_is_none(said: bytes) -> None:
    with server(answering(said, forever=False)) as endpoint:
        (found,) = posted(endpoint, b"{}")
    assert found.answer is None
    assert isinstance(found.trouble, Exception)


def test_a_request_is_one_post_with_its_headers() -> None:
    seen: list[bytes] = []

    def talk(connection: Any) -> None:
        seen.append(asked(connection))
        connection.sendall(PLAIN)

    with server(talk) as endpoint:
        posted(endpoint, "é".encode())
    assert seen == [b"POST / HTTP/1.1\r\nX: 1\r\nContent-Length: 2\r\n\r\n\xc3\xa9"]


def test_large_requests_and_answers_go_through() -> None:
    size = 8_000_000
    with server(echo) as endpoint:
        (found,) = posted(endpoint, b"x" * size)
    assert found == Landed(0, Answer(200, b"x" * size))


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", PLAIN])
@pytest.mark.parametrize("looked", [False, True])
def test_a_connection_that_ended_or_spoke_meanwhile_is_not_used_again(said: bytes, looked: bool) -> None:
    """What was said before a request is never taken for its answer."""
    ended = threading.Event()

    def talk(connection: Any) -> None:
        asked(connection)
        connection.sendall(PLAIN)
        time.sleep(0.05)  # the answer is read by itself
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        ended.set()
        connection.recv(1)

    with server(talk) as endpoint:
        lanes: Lanes[int] = Lanes(lambda: endpoint, 1)
        for cargo in range(3):
            assert one(lanes, cargo=cargo) == [Landed(cargo, Answer(200, b"hello"))]
            assert ended.wait(10)
            ended.clear()
            if looked:
                assert lanes.landed(5.0) == []
        lanes.close()


def test_an_answer_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ", 0.2)
    over = threading.Event()
    with server(lambda connection: over.wait(10)) as endpoint:
        (found,) = posted(endpoint, b"{}")
        over.set()
    assert isinstance(found.trouble, TimeoutError)


def test_an_answer_that_was_there_is_read_however_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ", 0.1)
    answered = threading.Event()

    def talk(connection: Any) -> None:
        asked(connection)
        connection.sendall(PLAIN)
        answered.set()
        connection.recv(1)

    with server(talk) as endpoint:
        lanes: Lanes[int] = Lanes(lambda: endpoint, 1)
        lanes.post({}, b"{}", 7)
        assert answered.wait(10)
        time.sleep(0.2)
        assert lanes.landed(1.0) == [Landed(7, Answer(200, b"hello"))]
        lanes.close()


def test_an_answer_before_the_request_is_whole_ends_the_connection() -> None:
    def talk(connection: Any) -> None:
        connection.recv(100)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        over.wait(10)

    over = threading.Event()
    with server(talk, answering(PLAIN)) as endpoint:
        lanes: Lanes[int] = Lanes(lambda: endpoint, 1)
        assert one(lanes, b"x" * 20_000_000) == [Landed(0, Answer(413, b""))]
        over.set()
        assert one(lanes, b"{}", 1) == [Landed(1, Answer(200, b"hello"))]
        lanes.close()


def test_a_connection_that_breaks_within_a_request_is_told() -> None:
    def talk(connection: Any) -> None:
        connection.recv(100)

    with server(talk) as endpoint:
        (found,) = posted(endpoint, b"x" * 20_000_000)
    assert found.answer is None
    assert isinstance(found.trouble, OSError)


def test_requests_are_under_way_together_and_closing_ends_them() -> None:
    over = threading.Event()
    with server(lambda connection: over.wait(10)) as endpoint:
        lanes: Lanes[int] = Lanes(lambda: endpoint, 3)
        for cargo in range(3):
            lanes.post({}, b"{}", cargo)
        assert lanes.under_way == 3
        assert lanes.landed(0.0) == []
        lanes.close()
        assert lanes.under_way == 0
        over.set()


def test_nothing_was_sent_where_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    lanes: Lanes[int] = Lanes(lambda: f"http://127.0.0.1:{port}", 1)
    with pytest.raises(ConnectionRefusedError):
        lanes.post({}, b"{}", 0)
    assert lanes.under_way == 0
    lanes.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out crt -days 1 -subj /CN=127.0.0.1"
    command += " -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder / "crt"


@pytest.fixture
def secure(certificate: Path) -> ssl.SSLContext:
    """A server's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key"))
    return context


@pytest.mark.parametrize("size", [2, 16_384, 100_000, 3_000_000])
def test_it_speaks_tls(secure: ssl.SSLContext, certificate: Path, size: int) -> None:
    with server(echo, trust=secure) as endpoint:
        found = posted(endpoint, b"x" * size, b"y" * size, trusted=certificate)
    assert found == [Landed(0, Answer(200, b"x" * size)), Landed(1, Answer(200, b"y" * size))]


def test_a_server_that_is_not_trusted_gets_nothing(secure: ssl.SSLContext) -> None:
    with server(answering(PLAIN), trust=secure) as endpoint, pytest.raises(ssl.SSLCertVerificationError):
        posted(endpoint, b"{}")


def through(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the environment name this proxy for everything."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.setenv("HTTPS_PROXY", proxy)


@pytest.mark.parametrize("whole", [True, False])
def test_a_proxy_is_asked_for_a_tunnel(
    secure: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    seen: list[bytes] = []

    def tunnel(connection: Any) -> None:
        held = b""
        while not held.endswith(b"\r\n\r\n"):
            held += _more(connection)
        seen.append(held)
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with secure.wrap_socket(connection, server_side=True) as spoken:
            answering(PLAIN)(spoken)

    with server(tunnel) as proxy:
        through(proxy.replace("//", "//user:p%40ss@") if whole else proxy.removeprefix("http://"), monkeypatch)
        (found,) = posted("https://127.0.0.1:4443", b"{}", trusted=certificate)
    assert found.answer == Answer(200, b"hello")
    assert seen[0].startswith(b"CONNECT 127.0.0.1:4443 HTTP/1.")
    assert (b"Proxy-Authorization: Basic dXNlcjpwQHNz\r\n" in seen[0]) == whole


def test_a_proxy_that_refuses_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(connection: Any) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

    with server(refuse) as proxy:
        through(proxy, monkeypatch)
        with pytest.raises(OSError, match="407"):
            posted("https://127.0.0.1:4443", b"{}")


def test_a_proxy_behind_tls_is_refused_before_anything_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    through("https://user:pass@127.0.0.1:1", monkeypatch)
    with pytest.raises(ConnectionError, match="over TLS"):
        posted("https://127.0.0.1:4443", b"{}")


def test_a_proxy_without_a_port_is_asked_at_that_of_http(monkeypatch: pytest.MonkeyPatch) -> None:
    through("http://127.0.0.1", monkeypatch)
    wanted: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], *_: Any) -> socket.socket:
        wanted.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(ConnectionRefusedError):
        posted("https://127.0.0.1:4443", b"{}")
    assert wanted == [("127.0.0.1", 80)]


def test_a_proxy_whose_address_cannot_be_read_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    through("http://127.0.0.1:many", monkeypatch)
    with pytest.raises(ConnectionError, match="cannot be read"):
        posted("https://127.0.0.1:4443", b"{}")


def test_without_tls_a_proxy_gets_the_whole_address(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    def talk(connection: Any) -> None:
        seen.append(asked(connection))
        connection.sendall(PLAIN)

    with server(talk) as proxy:
        through(proxy.replace("//", "//user:pass@"), monkeypatch)
        posted("http://127.0.0.1:4443", b"{}")
    assert seen[0].startswith(b"POST http://127.0.0.1:4443/ HTTP/1.1\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n")
