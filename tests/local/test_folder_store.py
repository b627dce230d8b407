"""What a folder has of its own as a landing place: links, mounts, permissions, disks. tests/ports has the contract."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from headrace.local.clock import ManualClock
from headrace.local.disk import copy
from headrace.local.store import SENTINEL, FolderStore
from headrace.model.errors import BadObject, HeadraceError, InfrastructureError, ObjectMoving, StoreUnavailable

as_root = os.geteuid() == 0
NOBODY = 65534


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore.create(tmp_path / "landing")


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "copy"


def drop(store: FolderStore, key: str, text: str = "a,b\n1,2\n") -> Path:
    path = store.root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def keys(store: FolderStore, prefix: str = "") -> list[str]:
    return [found.key for found in store.list(prefix)]


def test_an_object_is_found_with_its_size_and_creation_time(store: FolderStore) -> None:
    path = drop(store, "raw/a.csv", "12345")
    os.utime(path, ns=(0, 1_600_000_000_123_456_789))
    found = store.stat("raw/a.csv")
    assert found is not None
    assert (found.size, found.created) == (5, datetime(2020, 9, 13, 12, 26, 40, 123456, tzinfo=UTC))


def test_pipes_are_no_objects_and_block_nobody(store: FolderStore, spool: Path) -> None:
    os.mkfifo(store.root / "pipe.csv")
    assert keys(store) == [] and store.stat("pipe.csv") is None
    with pytest.raises(BadObject, match="HR311"):
        store.fetch("pipe.csv", spool)


@pytest.mark.parametrize("key", ["../a", "a/../../b", "/etc/passwd", "a//b", "", "a/", ".", "a/./b", "a\0b", ".."])
def test_a_key_that_would_leave_the_root_is_refused(store: FolderStore, spool: Path, key: str) -> None:
    for action in (store.stat, lambda k: store.fetch(k, spool), lambda k: store.put(k, spool)):
        with pytest.raises(BadObject, match="HR311"):
            action(key)
    if key:
        with pytest.raises(BadObject, match="HR311"):
            list(store.list(key.rstrip("/") + "/x/") if not key.endswith("/") else store.list("a//"))


def test_a_key_of_1024_bytes_works_and_a_longer_one_is_refused(store: FolderStore, spool: Path) -> None:
    key = "/".join(["ü" * 127, *["x" * 254] * 3])  # 254 + 3 * 255 = 1,019
    key += "/" + "y" * (1024 - len(key.encode()) - 1)
    assert len(key.encode()) == 1024
    drop(store, key, "deep")
    assert keys(store) == [key] and store.fetch(key, spool)[0].size == 4
    for long in (key + "z", "s" * 256):
        with pytest.raises(BadObject, match="HR312"):
            store.stat(long)


def test_a_link_out_of_the_root_is_shown_and_refused(store: FolderStore, spool: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.csv").write_text("secret")
    (store.root / "file.csv").symlink_to(tmp_path / "outside/secret.csv")
    (store.root / "folder").symlink_to(tmp_path / "outside")
    (store.root / "loop").symlink_to("loop")
    (store.root / "dangling").symlink_to("nothing")
    assert keys(store) == ["file.csv", "folder", "loop"]
    for key in ("file.csv", "folder", "folder/secret.csv", "loop"):
        with pytest.raises(BadObject, match="HR311"):
            store.fetch(key, spool)
    with pytest.raises(BadObject, match="HR311"):
        store.put("folder/new.csv", store.root / SENTINEL)
    assert not spool.exists() and not (tmp_path / "outside/new.csv").exists()


def test_a_link_within_the_root_is_followed(store: FolderStore, spool: Path) -> None:
    drop(store, "real/a.csv", "inside")
    (store.root / "b.csv").symlink_to("real/a.csv")
    store.fetch("b.csv", spool)
    assert spool.read_text() == "inside"


def test_a_name_that_is_not_utf8_is_shown_and_refused(store: FolderStore, spool: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(store.root) + b"/caf\xe9.csv")).write_text("x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (key,) = keys(store)
    assert key == r"caf\xe9.csv"
    with pytest.raises(BadObject, match="HR314"):
        store.fetch(key, spool)


def test_an_unmounted_folder_is_a_fault_and_never_empty(store: FolderStore, spool: Path) -> None:
    drop(store, "a.csv")
    away = store.root.rename(store.root.with_name("away"))
    for mount_point in (False, True):
        if mount_point:
            store.root.mkdir()
        for action in (
            lambda: store.stat("a.csv"),
            lambda: keys(store),
            lambda: store.fetch("a.csv", spool),
            lambda: store.put("b.csv", away / "a.csv"),
        ):
            with pytest.raises(StoreUnavailable, match="HR301"):
                action()


def test_a_landing_folder_that_vanished_is_not_made_again(store: FolderStore) -> None:
    drop(store, "a.csv")
    shutil.rmtree(store.root)
    again = FolderStore.create(store.root)
    with pytest.raises(StoreUnavailable, match="HR301"):
        keys(again)
    store.root.mkdir()
    (store.root / SENTINEL).touch()  # what the message says to do
    assert keys(FolderStore.create(store.root)) == []


def test_a_folder_that_goes_while_it_is_listed_is_a_fault(store: FolderStore) -> None:
    for n in range(5):
        drop(store, f"{n}/a.csv")
    listing = store.list("")
    next(listing)
    shutil.rmtree(store.root)
    with pytest.raises(StoreUnavailable, match="HR301"):
        list(listing)


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder of a user whom permissions bind: for root they mean nothing, so it becomes nobody for a moment."""
    folder = Path(tempfile.mkdtemp())
    if as_root:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    yield folder
    if as_root:
        os.seteuid(0)
    subprocess.run(["chmod", "-R", "u+rwx", str(folder)], check=True)
    shutil.rmtree(folder)


def test_an_unreadable_object_is_a_fault_and_an_unreadable_folder_too(unprivileged: Path) -> None:
    store = FolderStore.create(unprivileged / "landing")
    path = drop(store, "sub/a.csv")
    path.chmod(0)
    with pytest.raises(InfrastructureError, match="HR303"):
        store.fetch("sub/a.csv", unprivileged / "copy")
    path.parent.chmod(0)
    with pytest.raises(InfrastructureError, match="HR303"):
        store.stat("sub/a.csv")
    with pytest.raises(StoreUnavailable, match="HR301"):
        keys(store)
    path.parent.chmod(0o700)
    store.root.chmod(0)  # the landing folder itself is forbidden
    for action in (lambda: store.stat("sub/a.csv"), lambda: keys(store)):
        with pytest.raises(StoreUnavailable, match="HR301"):
            action()
    store.root.chmod(0o500)
    with pytest.raises(InfrastructureError, match="HR304"):
        store.put("new/b.csv", store.root / SENTINEL)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A folder that is a file system of its own, of 2 MB."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if not as_root or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    yield folder
    subprocess.run(["umount", str(folder)], capture_output=True, check=False)


def test_a_disk_that_is_unmounted_is_a_fault_and_its_return_ends_it(mounted: Path, spool: Path) -> None:
    store = FolderStore.create(mounted)
    drop(store, "a.csv")
    away = mounted.with_name("away")
    away.mkdir()
    subprocess.run(["mount", "--move", str(mounted), str(away)], capture_output=True, check=False)
    if (mounted / SENTINEL).exists():  # shared mounts cannot be moved
        subprocess.run(["umount", str(mounted)], check=True)
    for action in (lambda: store.stat("a.csv"), lambda: keys(store), lambda: store.fetch("a.csv", spool)):
        with pytest.raises(StoreUnavailable, match="HR301"):
            action()
    with pytest.raises(StoreUnavailable, match="HR301"):
        keys(FolderStore.create(mounted))  # a new process does not take the bare mount point for the folder
    if subprocess.run(["mount", "--move", str(away), str(mounted)], capture_output=True, check=False).returncode == 0:
        assert keys(store) == ["a.csv"]
    subprocess.run(["umount", str(away)], capture_output=True, check=False)


def test_a_full_disk_is_a_fault_and_leaves_nothing_half_written(mounted: Path, store: FolderStore, spool: Path) -> None:
    spool.write_bytes(b"x" * 3_000_000)
    full = FolderStore.create(mounted / "landing")
    with pytest.raises(InfrastructureError, match=r"HR304 big\.csv: No space left"):
        full.put("big.csv", spool)
    assert keys(full) == [] and [p.name for p in full.root.iterdir()] == [SENTINEL]
    (mounted / "spool").mkdir()
    (store.root / "big.csv").write_bytes(spool.read_bytes())
    with pytest.raises(InfrastructureError, match=r"HR304 big\.csv: No space"):
        store.fetch("big.csv", mounted / "spool/copy")


def test_a_file_that_grows_while_it_is_copied_is_not_used(store: FolderStore, spool: Path) -> None:
    """A writer appends all the while: each fetch either raises, or returns bytes that its version names."""
    path = drop(store, "a.csv", "x" * 4_000_000)
    stop = threading.Event()

    def write() -> None:
        with path.open("a") as file:
            for _ in range(20_000):  # at most 20 MB, however long the test takes
                if stop.is_set():
                    return
                file.write("y" * 1000)
                file.flush()

    writer = threading.Thread(target=write)
    writer.start()
    moved = 0
    try:
        for _ in range(20):
            try:
                stat, version = store.fetch("a.csv", spool)
            except ObjectMoving:
                moved += 1
            else:
                assert hashlib.sha256(spool.read_bytes()).hexdigest() == version
                assert spool.stat().st_size == stat.size
    finally:
        stop.set()
        writer.join()
    assert moved > 0


def test_a_copy_is_no_longer_than_the_file_was_when_it_was_opened(store: FolderStore, spool: Path) -> None:
    """Otherwise whoever appends faster than we copy fills the disk."""
    path = drop(store, "a.csv", "x" * 3_000_000)
    source = os.open(path, os.O_RDONLY)
    size = os.fstat(source).st_size
    path.write_text("x" * 9_000_000)
    version = copy(source, spool, size)
    os.close(source)
    assert spool.stat().st_size == 3_000_000
    assert version == hashlib.sha256(spool.read_bytes()).hexdigest()


def test_a_file_that_is_replaced_while_it_is_copied_is_not_used(store: FolderStore, spool: Path) -> None:
    drop(store, "a.csv", "old" * 1_000_000)
    stop = threading.Event()

    def replace() -> None:
        while not stop.is_set():
            drop(store, "a.csv.part", "new" * 10)
            os.replace(store.root / "a.csv.part", store.root / "a.csv")

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        outcomes = set()
        for _ in range(50):
            try:
                store.fetch("a.csv", spool)
                outcomes.add("whole")
                assert set(spool.read_text().replace("new", "").replace("old", "")) == set()
            except ObjectMoving:
                outcomes.add("moving")
    finally:
        stop.set()
        writer.join()
    assert "moving" in outcomes


def test_puts_are_whole_and_their_times_strictly_increase(tmp_path: Path, spool: Path) -> None:
    store = FolderStore.create(tmp_path / "landing", ManualClock())
    spool.write_text("content")
    stats = [store.put(f"deep/{n % 2}/a.csv", spool) for n in range(4)]
    assert sorted({s.created for s in stats}) == [s.created for s in stats]
    assert (stats[0].created, store.stat("deep/1/a.csv")) == (ManualClock().now(), stats[3])
    assert sorted(p.name for p in store.root.rglob("*") if p.is_file()) == [SENTINEL, "a.csv", "a.csv"]


def test_many_puts_keep_their_order_and_stand_or_fall_together(store: FolderStore, tmp_path: Path) -> None:
    for n in range(30):
        (tmp_path / f"s{n}").write_text(str(n))
    items = [(f"f{n % 3}/{29 - n:02}.csv", tmp_path / f"s{n}") for n in range(30)]
    stats = store.put_many(iter(items))
    assert [s.key for s in stats] == [key for key, _ in items]
    assert [s.created for s in stats] == sorted({s.created for s in stats})
    assert list(store.list("")) == sorted(stats, key=lambda s: s.key)
    with pytest.raises(HeadraceError, match="HR304"):
        store.put_many([("new.csv", tmp_path / "s1"), ("other.csv", tmp_path / "no such file")])
    assert len(keys(store)) == 30 and len(list(store.root.rglob(".*"))) == 1
    assert store.put_many([]) == []


def test_a_put_that_fails_leaves_nothing_behind(store: FolderStore, tmp_path: Path) -> None:
    with pytest.raises(HeadraceError, match="HR304"):
        store.put("a.csv", tmp_path / "no such file")
    assert list(store.root.iterdir()) == [store.root / SENTINEL]


def test_what_was_fresh_when_it_was_looked_at_is_so_however_long_it_takes_to_read(tmp_path: Path, spool: Path) -> None:
    """What is written while it is read may leave the fingerprint as it is."""

    class Slow:
        """Ten seconds go by between two looks at it."""

        def __init__(self) -> None:
            self._now = datetime.now(UTC) - timedelta(seconds=10)

        def now(self) -> datetime:
            self._now += timedelta(seconds=10)
            return self._now

    FolderStore.create(tmp_path / "landing")
    for read in (lambda store: store.fetch("a.csv", spool), lambda store: store.digest("a.csv")):
        store = FolderStore(tmp_path / "landing", Slow())
        drop(store, "a.csv")
        assert read(store)[0].fresh


def test_what_is_listed_is_in_the_order_of_its_keys_whatever_the_bytes_of_its_name(store: FolderStore) -> None:
    for name in (b"a\xff.csv", b"a\xff/b.csv", b"a.csv", b"a/b.csv", b"a^.csv", b"ab.csv", "a\u00e9.csv".encode()):
        path = os.fsencode(store.root) + b"/" + name
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            with open(path, "w") as file:
                file.write("x")
        except OSError:
            pytest.skip("this file system takes no such name")
    assert keys(store) == sorted(keys(store))
    assert all(store.stat(key) is not None for key in keys(store))
