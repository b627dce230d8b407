"""The contract of ports.Store, held to by a folder and by buckets with and without versions.

What each has of its own is in tests/local/test_folder_store.py and tests/aws_home/test_s3_store.py.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.aws.store import S3Store
from headrace.local.clock import SystemClock
from headrace.local.store import FolderStore
from headrace.model.errors import BadObject, HeadraceError, ObjectMoving
from headrace.ports import Store


class Folder:
    """A landing folder, and how others drop objects into it."""

    def __init__(self, root: Path) -> None:
        self.store: Any = FolderStore.create(root)

    def drop(self, key: str, data: bytes | str = "a,b\n1,2\n") -> None:
        path = self.store.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{secrets.token_hex(4)}")
        part.write_bytes(data.encode() if isinstance(data, str) else data)
        os.replace(part, path)


class Bucket:
    """A landing bucket, and how others drop objects into it."""

    def __init__(self, session: Any, versions: bool) -> None:
        self.client = session.client("s3")
        self.name = f"landing-{secrets.token_hex(6)}"
        place = {"LocationConstraint": session.region}
        self.client.create_bucket(Bucket=self.name, CreateBucketConfiguration=place)
        if versions:
            self.client.put_bucket_versioning(Bucket=self.name, VersioningConfiguration={"Status": "Enabled"})
        self.store: Any = S3Store(session, self.name, SystemClock())

    def drop(self, key: str, data: bytes | str = "a,b\n1,2\n") -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data)


Place = Folder | Bucket


@pytest.fixture(params=["folder", "bucket with versions", "bucket without"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return Folder(tmp_path / "landing")
    return Bucket(request.getfixturevalue("aws"), versions=request.param == "bucket with versions")


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "copy"


def keys(store: Store, prefix: str = "") -> list[str]:
    return [found.key for found in store.list(prefix)]


def test_an_object_is_found_with_its_size_and_the_time_that_it_came(place: Place) -> None:
    before = SystemClock().now().replace(microsecond=0)
    place.drop("raw/a.csv", "12345")
    found = place.store.stat("raw/a.csv")
    assert found is not None
    assert (found.key, found.size, found.fresh) == ("raw/a.csv", 5, isinstance(place, Folder))
    assert before <= found.created <= SystemClock().now()
    assert list(place.store.list("")) == [found]


def test_a_fetch_copies_the_bytes_and_names_them_by_their_hash(place: Place, spool: Path) -> None:
    data = os.urandom(3_000_000)
    place.drop("a.bin", data)
    stat, version = place.store.fetch("a.bin", spool)
    assert (spool.read_bytes(), version, stat.size) == (data, hashlib.sha256(data).hexdigest(), len(data))
    assert place.store.digest("a.bin") == (stat, version)


def test_an_empty_object_is_an_object(place: Place, spool: Path) -> None:
    place.drop("a.csv", "")
    spool.write_text("of before")
    assert place.store.fetch("a.csv", spool)[1] == hashlib.sha256(b"").hexdigest()
    assert spool.read_bytes() == b""


def test_the_same_bytes_restored_have_the_same_version(place: Place, spool: Path) -> None:
    seen = []
    for text in ("A", "B", "A"):
        place.drop("a.csv", text)
        seen.append(place.store.fetch("a.csv", spool))
    (first, second, third) = seen
    assert first[1] == third[1] != second[1]
    assert len({stat.fingerprint for stat, _ in seen}) >= 2
    if getattr(place, "name", "") == "" or first[0].version:  # without versions, S3 tells two seconds apart at best
        assert len({stat.fingerprint for stat, _ in seen}) == 3


def test_a_list_holds_everything_below_the_prefix_in_key_order(place: Place) -> None:
    names = ["raw/b.csv", "raw/a/z.csv", "raw/a-b.csv", "raw/a.csv", "rawer/x.csv", "other/y.csv", "top.csv", "é.csv"]
    for name in names:
        place.drop(name)
        place.drop(name, "again")
    assert keys(place.store) == sorted(names)
    assert keys(place.store, "raw/") == sorted(n for n in names if n.startswith("raw/"))
    assert keys(place.store, "raw") == sorted(n for n in names if n.startswith("raw"))
    assert keys(place.store, "raw/a") == sorted(n for n in names if n.startswith("raw/a"))
    assert keys(place.store, "nothing/here/") == []


def test_a_list_is_gone_on_with_from_any_key(place: Place) -> None:
    names = ["in/" + name for name in ("a", "a.d/b", "a-b", "b", "gone", "z", "é", "\U0001f600")]
    for name in names:
        place.drop(name)
        place.drop(name, "again")
    place.store.remove("in/gone")
    whole = list(place.store.list("in/"))
    for after in ["", "in/", "in/aa", "in/gone", "in/zz", *names]:
        pages = list(place.store.pages("in/", after))
        assert [stat for page in pages for stat in page.stats] == [stat for stat in whole if stat.key > after]
        assert [page.upto for page in pages[:-1]] == sorted(page.upto for page in pages[:-1]) and pages[-1].upto is None


def test_what_is_listed_is_what_is_found_by_itself(place: Place, spool: Path) -> None:
    """A scan passes by what it knows by its fingerprint: it must be the one that a look gives."""
    for key in ("a.csv", "b/c d+é.csv", "b/z.csv"):
        place.drop(key, key)
    place.store.remove("b/z.csv")
    for found in place.store.list(""):
        looked = place.store.stat(found.key)
        assert (looked.fingerprint, looked.created, looked.size) == (found.fingerprint, found.created, found.size)
        assert place.store.fetch(found.key, spool)[0].fingerprint == found.fingerprint


def test_files_that_are_still_being_written_are_no_objects(place: Place, spool: Path) -> None:
    spool.write_text("x")
    for name in ["a.csv.part", "b.csv.tmp", ".c.csv", ".hidden/d.csv", "d.part/e.csv"]:
        place.drop(name)
        assert place.store.stat(name) is None
        with pytest.raises(BadObject, match="HR313"):
            place.store.put(name, spool)
    assert keys(place.store) == []


ODD = [
    "a b.csv",
    "a b+1.csv",
    "a+b%2Fc.csv",
    "%2e%2e/x.csv",
    "%20.csv",
    "données/ü.csv",
    "日本/…csv",
    "a\\b.csv",
    "a\nb",
]
ODD += ["it's.csv", 'say "x".csv', "wow!(1)*.csv", "a&b=c?d#e;f,g:h@i$j.csv", "<x>.csv", "~a.csv", "e\u0301.csv"]


@pytest.mark.parametrize("key", ODD)
def test_a_key_is_the_name_as_it_is_with_nothing_decoded(place: Place, spool: Path, key: str) -> None:
    place.drop(key, key)
    assert keys(place.store) == [key]
    assert place.store.stat(key).key == key
    _, version = place.store.fetch(key, spool)
    assert spool.read_text() == key
    place.store.put(key, spool)
    place.store.archive(key, version)
    assert (keys(place.store), place.store.fetch_archived(key, version, spool)) == ([], True)
    assert spool.read_text() == key


@pytest.mark.parametrize("key", ["../a", "a/../../b", "", ".", "a/./b", "a\0b", ".."])
def test_a_key_that_would_lead_elsewhere_is_refused(place: Place, spool: Path, key: str) -> None:
    asking: list[Callable[[], Any]] = [
        lambda: place.store.stat(key),
        lambda: place.store.fetch(key, spool),
        lambda: place.store.digest(key),
        lambda: place.store.put(key, spool),
        lambda: place.store.archive(key, "0" * 64),
        lambda: place.store.has_archived(key, "0" * 64),
        lambda: place.store.fetch_archived(key, "0" * 64, spool),
    ]
    for ask in asking:
        with pytest.raises(BadObject, match="HR311"):
            ask()


def test_a_key_of_1024_bytes_works_and_a_longer_one_is_refused(place: Place, spool: Path) -> None:
    key = "/".join(["ü" * 127, *["x" * 254] * 3])  # 254 + 3 * 255 = 1,019
    key += "/" + "y" * (1024 - len(key.encode()) - 1)
    assert len(key.encode()) == 1024
    place.drop(key, "deep")
    assert keys(place.store) == [key] and place.store.fetch(key, spool)[0].size == 4
    with pytest.raises(BadObject, match="HR312"):
        place.store.stat(key + "z")
    if isinstance(place, Bucket):  # it has room for the archive's own name as well
        version = place.store.digest(key)[1]
        place.store.archive(key, version)
        assert place.store.fetch_archived(key, version, spool) and spool.read_text() == "deep"


def test_an_object_that_is_gone_is_absent(place: Place, spool: Path) -> None:
    place.drop("a/b.csv")
    place.store.remove("a/b.csv")
    assert place.store.stat("a/b.csv") is None and place.store.stat("a/b.csv/c") is None
    assert place.store.stat("never/was.csv") is None and keys(place.store) == []
    for ask in (lambda: place.store.fetch("a/b.csv", spool), lambda: place.store.digest("a/b.csv")):
        with pytest.raises(ObjectMoving, match="HR302"):
            ask()
    place.store.remove("a/b.csv")  # harmless
    place.drop("a/b.csv", "back")
    assert place.store.stat("a/b.csv").size == 4


def test_an_object_that_is_replaced_while_it_is_copied_is_one_version_or_none(place: Place, spool: Path) -> None:
    """What is returned names the very bytes that were copied, and the stat is theirs."""
    texts = {hashlib.sha256(text).hexdigest(): text for text in (b"old" * 1_000_000, b"new" * 10)}
    stop = threading.Event()

    def replace() -> None:
        while not stop.is_set():
            for text in texts.values():
                place.drop("a.csv", text)

    place.drop("a.csv", b"old" * 1_000_000)
    writer = threading.Thread(target=replace)
    writer.start()
    try:
        for _ in range(30):
            try:
                stat, version = place.store.fetch("a.csv", spool)
            except ObjectMoving:
                continue
            assert spool.read_bytes() == texts[version]
            assert stat.size == len(texts[version])
    finally:
        stop.set()
        writer.join()


def test_many_puts_are_stored_whole_and_told_in_their_order(place: Place, tmp_path: Path) -> None:
    for n in range(30):
        (tmp_path / f"s{n}").write_text(str(n))
    items = [(f"f{n % 3}/{29 - n:02}.csv", tmp_path / f"s{n}") for n in range(30)]
    stats = place.store.put_many(iter(items))
    assert [s.key for s in stats] == [key for key, _ in items]
    if isinstance(place, Folder):  # S3 gives its own times
        assert [s.created for s in stats] == sorted({s.created for s in stats})
    assert list(place.store.list("")) == sorted(stats, key=lambda s: s.key)
    assert [place.store.digest(key)[1] for key, _ in items] == [
        hashlib.sha256(str(n).encode()).hexdigest() for n in range(30)
    ]
    with pytest.raises(HeadraceError, match="HR304"):
        place.store.put_many([("new.csv", tmp_path / "s1"), ("other.csv", tmp_path / "no such file")])
    with pytest.raises(BadObject, match="HR311"):
        place.store.put_many([("new.csv", tmp_path / "s1"), ("../other.csv", tmp_path / "s2")])
    assert len(keys(place.store)) == 30
    assert place.store.put_many([]) == []


def test_an_object_is_archived_if_it_still_is_that_version(place: Place, spool: Path) -> None:
    place.drop("a/b.csv", "one")
    _, version = place.store.fetch("a/b.csv", spool)
    assert not place.store.has_archived("a/b.csv", version)
    assert not place.store.fetch_archived("a/b.csv", version, spool)
    place.store.archive("a/b.csv", version)
    assert place.store.stat("a/b.csv") is None and keys(place.store) == []
    assert place.store.has_archived("a/b.csv", version)
    assert place.store.fetch_archived("a/b.csv", version, spool) and spool.read_text() == "one"
    place.drop("a/b.csv", "two")
    with pytest.raises(ObjectMoving, match="HR302"):
        place.store.archive("a/b.csv", version)
    assert keys(place.store) == ["a/b.csv"]
    assert not place.store.has_archived("a/b.csv", place.store.digest("a/b.csv")[1])


def test_an_object_that_was_archived_before_is_archived_again(place: Place, spool: Path) -> None:
    """A crash in between leaves the copy and the object: the next scan moves it again."""
    for _ in range(2):
        place.drop("a.csv", "one")
        version = place.store.fetch("a.csv", spool)[1]
        place.store.archive("a.csv", version)
    assert keys(place.store) == [] and place.store.fetch_archived("a.csv", version, spool)


def test_what_cannot_be_written_here_is_a_fault_of_this_machine(place: Place, tmp_path: Path) -> None:
    place.drop("a.csv", "one")
    with pytest.raises(HeadraceError, match=r"HR304 a\.csv"):
        place.store.fetch("a.csv", tmp_path / "no such folder" / "copy")
