"""The archive of ports.Store: objects that stood, moved out of the way; here beside a folder, on a real file system."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headrace.local.archive import Archive
from headrace.local.store import FolderStore
from headrace.model.errors import ObjectMoving


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore.create(tmp_path / "landing")


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "copy"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than the others."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def drop(store: FolderStore, key: str, text: str) -> Path:
    path = store.root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def keys(store: FolderStore) -> list[str]:
    return [found.key for found in store.list("")]


def test_an_object_is_archived_if_it_still_is_that_version(store: FolderStore, spool: Path) -> None:
    drop(store, "a/b.csv", "one")
    _, version = store.fetch("a/b.csv", spool)
    store.archive("a/b.csv", version)
    assert store.stat("a/b.csv") is None
    assert (store.archived / version[:16] / "a/b.csv").read_text() == "one"
    drop(store, "a/b.csv", "two")
    with pytest.raises(ObjectMoving, match="HR302"):
        store.archive("a/b.csv", version)
    assert keys(store) == ["a/b.csv"]


def test_what_lies_in_the_archive_and_is_no_such_file_is_not_found_there(store: FolderStore, spool: Path) -> None:
    folder = store.archived / ("a" * 16)
    store.archived.mkdir()
    for make in (lambda: folder.write_text("a file"), lambda: (folder / "x.csv").mkdir(parents=True)):
        make()
        assert not store.has_archived("x.csv", "a" * 64)
        assert not store.fetch_archived("x.csv", "a" * 64, spool)
        if folder.is_file():
            folder.unlink()


def test_an_object_that_goes_or_changes_while_it_is_archived_is_left_as_it_is(store: FolderStore, spool: Path) -> None:
    """Between the look and the moving: nothing of a newer version is lost, and none is taken for the older."""

    def meanwhile(happens: Callable[[], object]) -> None:
        path = drop(store, "a.csv", "one")
        _, version = store.fetch("a.csv", spool)

        class Late(Archive):
            def take(self, source: Path, key: str, version: str, fingerprint: str) -> None:
                happens()
                super().take(source, key, version, fingerprint)

        late = FolderStore(store.root)
        late._archive = Late(late.archived)
        with pytest.raises(ObjectMoving, match="HR302"):
            late.archive("a.csv", version)
        assert [p for p in store.root.iterdir() if p.name.endswith(".part")] == []
        path.unlink(missing_ok=True)

    meanwhile((store.root / "a.csv").unlink)
    (store.root / "new").write_text("two")
    meanwhile(lambda: os.replace(store.root / "new", store.root / "a.csv"))
    meanwhile(lambda: (store.root / "a.csv").write_text("three"))
    assert {p.read_text() for p in store.archived.rglob("a.csv")} <= {"one"}


def test_an_object_on_another_file_system_is_archived_by_copying(tmp_path: Path, spool: Path, elsewhere: Path) -> None:
    root = FolderStore.create(elsewhere / "landing").root
    store = FolderStore(root, archive=tmp_path / "archive")
    drop(store, "a/b.csv", "one")
    _, version = store.fetch("a/b.csv", spool)
    store.archive("a/b.csv", version)
    assert (keys(store), store.has_archived("a/b.csv", version)) == ([], True)
    assert sorted(p.name for p in (store.root / "a").iterdir()) == []


def test_a_link_is_archived_as_what_it_shows(store: FolderStore, spool: Path) -> None:
    drop(store, "real.csv", "one")
    (store.root / "link.csv").symlink_to("real.csv")
    _, version = store.fetch("link.csv", spool)
    store.archive("link.csv", version)
    assert keys(store) == ["real.csv"]
    assert store.fetch_archived("link.csv", version, spool) and spool.read_text() == "one"
