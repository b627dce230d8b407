"""What a bucket has of its own as a landing place: versions, markers, denials, connections that break.

The contract that it shares with a folder is in tests/ports/test_store.py.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from other_services import Answer, Line, service

from emulator import MiniStack
from headrace.aws.bucket import PART, Bucket
from headrace.aws.session import Session
from headrace.aws.store import S3Store
from headrace.model.errors import InfrastructureError, ObjectMoving, StoreUnavailable

pytestmark = pytest.mark.usefixtures("aws_environment")


@pytest.fixture
def client() -> Any:
    return Session("eu-west-2").client("s3")


@pytest.fixture
def name(client: Any) -> str:
    """A bucket that keeps versions."""
    made = f"landing-{secrets.token_hex(6)}"
    client.create_bucket(Bucket=made, CreateBucketConfiguration={"LocationConstraint": "eu-west-2"})
    client.put_bucket_versioning(Bucket=made, VersioningConfiguration={"Status": "Enabled"})
    return made


@pytest.fixture
def store(name: str) -> S3Store:
    return S3Store(Session("eu-west-2"), name)


@pytest.fixture
def line(aws_environment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """A way to the services that can be broken; a Session made from now on goes that way."""
    line = Line(aws_environment)
    monkeypatch.setenv("AWS_ENDPOINT_URL", line.url)
    yield line
    line.cut()


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "copy"


def calls(store: S3Store) -> dict[str, int]:
    return store._bucket.session.report()


def test_the_fingerprint_is_the_version_and_pins_what_was_read(store: S3Store, client: Any, spool: Path) -> None:
    first = client.put_object(Bucket=store.bucket, Key="a.csv", Body=b"one")["VersionId"]
    second = client.put_object(Bucket=store.bucket, Key="a.csv", Body=b"one")["VersionId"]
    stat, _ = store.fetch("a.csv", spool)
    assert first != second == stat.version == stat.fingerprint
    assert [found.version for found in store.list("")] == [second]


def test_where_versions_are_off_the_fingerprint_tells_contents_apart(client: Any, spool: Path) -> None:
    name = f"landing-{secrets.token_hex(6)}"
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-2"})
    store = S3Store(Session("eu-west-2"), name)
    seen = []
    for text in (b"one", b"two"):
        client.put_object(Bucket=name, Key="a.csv", Body=text)
        stat, _ = store.fetch("a.csv", spool)
        assert stat.version is None and [stat] == list(store.list(""))
        seen.append(stat.fingerprint)
    assert len(set(seen)) == 2


def test_a_delete_marker_is_absence_and_costs_no_further_question(store: S3Store, client: Any) -> None:
    for n in range(3):
        client.put_object(Bucket=store.bucket, Key="a.csv", Body=str(n).encode())
    client.put_object(Bucket=store.bucket, Key="b.csv", Body=b"b")
    client.delete_object(Bucket=store.bucket, Key="a.csv")
    assert store.stat("a.csv") is None
    assert calls(store) == {"s3:HeadObject": 1}
    assert store.stat("never.csv") is None
    assert calls(store) == {"s3:HeadBucket": 1, "s3:HeadObject": 1}
    assert [found.key for found in store.list("")] == ["b.csv"]


def test_a_long_list_comes_page_by_page_and_in_order(store: S3Store, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("x")
    names = [f"in/{n:04}.csv" for n in range(1100)]
    store.put_many([(name, tmp_path / "s") for name in reversed(names)])
    calls(store)
    assert [found.key for found in store.list("in/")] == names
    assert calls(store) == {"s3:ListObjectVersions": 2}


def test_each_page_of_a_list_tells_how_far_it_came_though_nothing_stands_there(store: S3Store, client: Any) -> None:
    """A thousand older versions and delete markers are a page: who has little time must know that it is past them."""
    client.put_object(Bucket=store.bucket, Key="in/a", Body=b"")
    for n in range(3):
        client.put_object(Bucket=store.bucket, Key="in/b", Body=str(n).encode())
    for name in ("in/c", "in/d"):
        client.put_object(Bucket=store.bucket, Key=name, Body=b"")
        client.delete_object(Bucket=store.bucket, Key=name)
    client.put_object(Bucket=store.bucket, Key="in/e", Body=b"")
    store._bucket.client.meta.events.register("provide-client-params.s3.ListObjectVersions", _two_at_a_time)
    pages = list(store.pages("in/"))
    assert [stat.key for page in pages for stat in page.stats] == ["in/a", "in/b", "in/e"]
    assert len(pages) == 5 and [page.upto for page in pages].count(None) == 1
    seen: list[str] = []
    for page in pages[:-1]:
        assert page.upto is not None
        seen += [stat.key for stat in page.stats]
        beyond = [stat.key for some in store.pages("in/", page.upto) for stat in some.stats]
        assert [*seen, *beyond] == ["in/a", "in/b", "in/e"], page.upto


def _two_at_a_time(params: dict[str, Any], **_: Any) -> None:
    params["MaxKeys"] = 2


def test_folders_that_a_console_makes_are_no_objects(store: S3Store, client: Any, spool: Path) -> None:
    client.put_object(Bucket=store.bucket, Key="in/", Body=b"")
    assert store.stat("in/") is None and list(store.list("")) == []
    with pytest.raises(ObjectMoving):
        store.fetch("in/", spool)


def asking(store: S3Store, into: Path) -> list[Callable[[], Any]]:
    return [
        lambda: store.stat("a.csv"),
        lambda: list(store.list("")),
        lambda: store.fetch("a.csv", into),
        lambda: store.digest("a.csv"),
        lambda: store.has_archived("a.csv", "0" * 64),
        lambda: store.fetch_archived("a.csv", "0" * 64, into),
        lambda: store.archive("a.csv", "0" * 64),
        lambda: store.check(),
    ]


def test_a_bucket_that_is_not_there_is_a_fault_and_never_empty(spool: Path, tmp_path: Path) -> None:
    store = S3Store(Session("eu-west-2"), f"nobody-{secrets.token_hex(6)}")
    (tmp_path / "s").write_text("x")
    for ask in (*asking(store, spool), lambda: store.put("a.csv", tmp_path / "s")):
        with pytest.raises(StoreUnavailable, match=r"HR301 nobody-.*: there is no such bucket; run `headrace deploy`"):
            ask()


def test_services_that_go_away_are_a_fault_and_nothing_is_believed_gone(
    ministack_alone: MiniStack, monkeypatch: pytest.MonkeyPatch, spool: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", ministack_alone.endpoint)
    session = Session("eu-west-2", attempts=1)
    place = {"LocationConstraint": session.region}
    session.client("s3").create_bucket(Bucket="landing", CreateBucketConfiguration=place)
    session.client("s3").put_object(Bucket="landing", Key="a.csv", Body=b"one")
    store = S3Store(session, "landing")
    assert store.stat("a.csv") is not None and len(list(store.list(""))) == 1
    ministack_alone.stop()
    for ask in asking(store, spool):
        with pytest.raises(StoreUnavailable, match="HR803"):
            ask()


def test_a_list_that_breaks_off_is_no_short_list(name: str, client: Any, line: Line, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("x")
    store = S3Store(Session("eu-west-2", attempts=1), name)
    store.put_many([(f"{n:04}.csv", tmp_path / "s") for n in range(1001)])
    listing = store.list("")
    assert next(listing).key == "0000.csv"
    line.cut()
    with pytest.raises(StoreUnavailable, match="HR803"):
        list(listing)


def test_a_connection_that_breaks_is_taken_up_where_it_broke(name: str, client: Any, line: Line, spool: Path) -> None:
    data = os.urandom(6_000_000)
    client.put_object(Bucket=name, Key="a.bin", Body=data)
    store = S3Store(Session("eu-west-2"), name)
    line.most, line.breaks = 2_000_000, 2
    _, version = store.fetch("a.bin", spool)
    assert (spool.read_bytes() == data, version) == (True, hashlib.sha256(data).hexdigest())
    assert (line.breaks, calls(store)) == (0, {"s3:GetObject": 3})


def test_an_object_that_is_replaced_while_its_connection_is_broken_is_still_one_version(
    name: str, client: Any, line: Line, spool: Path
) -> None:
    """The rest is asked of the version that was begun, which is there though it is no longer the newest."""
    data = os.urandom(6_000_000)
    client.put_object(Bucket=name, Key="a.bin", Body=data)

    class Late(Bucket):
        def _drain(self, *given: Any) -> int:
            done = super()._drain(*given)
            client.put_object(Bucket=name, Key="a.bin", Body=b"newer" * 2_000_000)
            return done

    store = S3Store(Session("eu-west-2"), name)
    store._bucket = Late(store._bucket.session, name)
    line.most, line.breaks = 2_000_000, 1
    assert store.fetch("a.bin", spool)[1] == hashlib.sha256(data).hexdigest()
    assert spool.read_bytes() == data


def test_without_versions_such_an_object_is_moving(client: Any, line: Line, spool: Path) -> None:
    name = f"landing-{secrets.token_hex(6)}"
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-2"})
    client.put_object(Bucket=name, Key="a.bin", Body=os.urandom(6_000_000))

    class Late(Bucket):
        def _drain(self, *given: Any) -> int:
            done = super()._drain(*given)
            client.put_object(Bucket=name, Key="a.bin", Body=os.urandom(6_000_000))
            return done

    store = S3Store(Session("eu-west-2"), name)
    store._bucket = Late(store._bucket.session, name)
    line.most, line.breaks = 2_000_000, 1
    with pytest.raises(ObjectMoving, match="HR302"):
        store.fetch("a.bin", spool)


def test_a_connection_that_breaks_again_and_again_is_a_fault(name: str, client: Any, line: Line, spool: Path) -> None:
    client.put_object(Bucket=name, Key="a.bin", Body=os.urandom(6_000_000))
    store = S3Store(Session("eu-west-2"), name)
    line.most, line.breaks = 500_000, 99
    with pytest.raises(StoreUnavailable, match=r"HR803 .*a\.bin: the connection broke 6 times while it was read"):
        store.fetch("a.bin", spool)


def denied(only_objects: bool) -> Callable[..., Answer]:
    """A service that denies objects, or everything. HEAD has no body: S3 says no more than 403."""
    asked: list[int] = []

    def answer(n: int, *_: object) -> Answer:
        asked.append(n)
        if only_objects and len(asked) % 2 == 0:
            return 200, {}, ""  # the bucket itself
        said = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        return 403, {"content-type": "application/xml"}, said

    return answer


def test_a_bucket_that_may_not_be_read_is_a_fault_and_never_empty(monkeypatch: pytest.MonkeyPatch, spool: Path) -> None:
    with service(denied(only_objects=False)) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        for ask in asking(S3Store(Session("eu-west-2", attempts=1), "lv"), spool):
            with pytest.raises(StoreUnavailable, match=r"HR802 lv.* is denied to these credentials"):
                ask()


def test_an_object_that_may_not_be_read_is_a_fault_of_its_own(monkeypatch: pytest.MonkeyPatch, spool: Path) -> None:
    """Its bucket is there and may be listed: the others go on."""
    with service(denied(only_objects=True)) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        store = S3Store(Session("eu-west-2", attempts=1), "lv")
        for ask in (lambda: store.stat("a.csv"), lambda: store.fetch("a.csv", spool)):
            with pytest.raises(InfrastructureError, match=r"HR303 lv/a\.csv: .* is denied") as caught:
                ask()
            assert not isinstance(caught.value, StoreUnavailable)


def test_a_large_object_is_sent_in_parts_and_is_the_same(store: S3Store, tmp_path: Path, spool: Path) -> None:
    data = os.urandom(2 * PART + 12_345)
    (tmp_path / "large").write_bytes(data)
    stat = store.put("large.bin", tmp_path / "large")
    assert calls(store)["s3:UploadPart"] == 3
    assert stat.size == len(data)
    assert store.fetch("large.bin", spool)[1] == hashlib.sha256(data).hexdigest()


def test_an_upload_that_fails_leaves_no_parts(name: str, client: Any, tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2 * PART)
    store = S3Store(Session("eu-west-2", attempts=1), name)

    class Shrinking(Bucket):
        def _in_parts(self, key: str, size: int, each: int, send: Any) -> Any:
            def sent(upload: str, number: int, start: int, end: int) -> Any:
                os.truncate(tmp_path / "large", PART // 2)  # somebody writes to the file meanwhile
                return send(upload, number, start, end)

            return super()._in_parts(key, size, each, sent)

    store._bucket = Shrinking(store._bucket.session, name)
    with pytest.raises(InfrastructureError, match=r"HR304 large\.bin: .*shorter"):
        store.put("large.bin", tmp_path / "large")
    assert client.list_multipart_uploads(Bucket=name).get("Uploads", []) == []
    assert store.stat("large.bin") is None


def test_an_archived_object_leaves_its_versions_where_they_are(store: S3Store, client: Any) -> None:
    client.put_object(Bucket=store.bucket, Key="a.csv", Body=b"one")
    version = hashlib.sha256(b"one").hexdigest()
    store.archive("a.csv", version)
    told = client.list_object_versions(Bucket=store.bucket, Prefix="a.csv")
    assert (len(told["Versions"]), len(told["DeleteMarkers"])) == (1, 1)
    kept = client.get_object(Bucket=store.bucket, Key=f".headrace/archive/{version[:16]}/a.csv")["Body"].read()
    assert kept == b"one"


@pytest.mark.parametrize("when", ["before it is copied", "before it is removed"])
def test_an_object_that_is_replaced_while_it_is_archived_stays(
    store: S3Store, client: Any, spool: Path, when: str
) -> None:
    client.put_object(Bucket=store.bucket, Key="a.csv", Body=b"one")

    class Late(Bucket):
        def copy(self, found: Any, key: str) -> None:
            if when == "before it is copied":
                client.put_object(Bucket=store.bucket, Key="a.csv", Body=b"two")
            super().copy(found, key)

        def delete_if(self, found: Any) -> bool:
            client.put_object(Bucket=store.bucket, Key="a.csv", Body=b"two")
            return super().delete_if(found)

    store._bucket = Late(store._bucket.session, store.bucket)
    version = hashlib.sha256(b"one").hexdigest()
    with pytest.raises(ObjectMoving, match="HR302"):
        store.archive("a.csv", version)
    assert store.fetch("a.csv", spool)[1] == hashlib.sha256(b"two").hexdigest()
    assert store.fetch_archived("a.csv", version, spool) and spool.read_bytes() == b"one"


MEASURED = """
import resource, sys
from pathlib import Path
from headrace.aws.session import Session
from headrace.aws.store import S3Store
store = S3Store(Session("eu-west-2"), sys.argv[1])
small, large, copy = (Path(sys.argv[2]) / n for n in ("small", "large", "copy"))
def used():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
def work(source):
    store.put("a.bin", source)
    version = store.fetch("a.bin", copy)[1]
    assert store.digest("a.bin")[1] == version
    store.archive("a.bin", version)
work(small)
before = used()
work(large)
print(used() - before)
"""


def test_64_mb_pass_through_at_bounded_memory(name: str, tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"x" * 100_000)
    (tmp_path / "large").write_bytes(os.urandom(64 << 20))
    command = [sys.executable, "-c", MEASURED, name, str(tmp_path)]
    more = int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)
    assert more < 24, f"{more} MB more than for a small object"
