"""The contract of ports.Base, held to by a folder and by a bucket with copies here.

What the bucket has of its own is in tests/aws_home/test_s3_base.py.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from headrace.aws.base import S3Base
from headrace.aws.clock import SystemClock
from headrace.local.base import FolderBase
from headrace.local.clock import ManualClock
from headrace.model.loads import DataFile
from headrace.ports import Base

HIVE = "lake/lv/data/source=a%2Fb c/month=__HIVE_DEFAULT_PARTITION__/é+1.parquet"


@dataclass
class Place:
    """A base, the folder that its files are written to and read from, and the same base on another machine."""

    base: Base
    root: Path
    elsewhere: Callable[[], tuple[Base, Path]]

    def write(self, path: str, data: bytes = b"rows") -> DataFile:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        return DataFile(path, "data", 1, len(data), {"lv.1": 1})

    def kept(self, *paths: str) -> list[DataFile]:
        files = [self.write(path, path.encode()) for path in paths]
        self.base.keep(files)
        return files


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    root = tmp_path / "root"
    root.mkdir()
    if request.param == "folder":
        return Place(FolderBase(root), root, lambda: (FolderBase(root), root))
    session = request.getfixturevalue("aws")
    bucket = f"lake-{secrets.token_hex(6)}"
    location = {"LocationConstraint": session.region}
    session.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=location)
    later = ManualClock(SystemClock().now() + timedelta(hours=2))

    def elsewhere() -> tuple[Base, Path]:
        other = tmp_path / secrets.token_hex(4)
        return S3Base(session, bucket, other, 10**9, later), other

    return Place(S3Base(session, bucket, root, 10**9, later), root, elsewhere)


def test_what_is_kept_is_there_to_be_read_on_whichever_machine(place: Place) -> None:
    files = place.kept("staged/lv/data/1.parquet", "lake/lv/data/year=2024/2.parquet", HIVE)
    for base, root in (place.base, place.root), place.elsewhere():
        assert base.bring(files) == []
        assert [(root / file.path).read_bytes() for file in files] == [file.path.encode() for file in files]
    assert place.base.lost(file.path for file in files) == set()


def test_nothing_is_asked_for_nothing(place: Place) -> None:
    place.base.keep([])
    place.base.delete([])
    assert (place.base.bring([]), place.base.lost([])) == ([], set())


def test_what_is_gone_is_told_and_the_others_are_brought(place: Place) -> None:
    files = place.kept("lake/lv/data/1.parquet", "lake/lv/data/2.parquet", "lake/lv/data/3.parquet")
    place.base.delete([files[1].path])
    never = DataFile("lake/lv/data/never.parquet", "data", 1, 4, {})
    for base, root in (place.base, place.root), place.elsewhere():
        assert base.bring([*files, never]) == [files[1], never]
        assert base.lost([*(x.path for x in files), never.path]) == {files[1].path, never.path}
        assert (root / files[2].path).read_bytes() == files[2].path.encode()
        assert not (root / files[1].path).exists()


def test_deleting_is_for_good_and_passes_over_what_is_not_there(place: Place) -> None:
    files = place.kept(*(f"lake/lv/data/{n}.parquet" for n in range(5)))
    place.base.delete(iter([*(x.path for x in files[:4]), "lake/lv/data/never.parquet"]))
    place.base.delete([files[0].path])
    assert place.base.lost(x.path for x in files) == {x.path for x in files[:4]}
    assert list(place.base.paths("lake/lv")) == [files[4].path]


def test_every_file_below_a_folder_is_told_whoever_wrote_it(place: Place) -> None:
    mine = place.kept("lake/lv/data/a=1/1.parquet", "lake/lv/losers/2.parquet", "lake/lv/rejected/3.parquet")
    place.kept("lake/lv_data/data/4.parquet", "lake/lv/metadata/5.parquet", "staged/lv/data/6.parquet")
    for base, _ in (place.base, place.root), place.elsewhere():
        assert sorted(base.paths("lake/lv")) == [file.path for file in mine]
        assert list(base.paths("lake/none")) == []
