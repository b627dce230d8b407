"""What the base in a bucket has of its own: copies that take no more room than they may, and files of wrong size.

The contract that it shares with a folder is in tests/ports/test_base.py.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from emulator import MiniStack
from headrace.aws.base import S3Base
from headrace.aws.clock import SystemClock
from headrace.aws.session import Session
from headrace.engine import log
from headrace.model.errors import InfrastructureError, StoreUnavailable
from headrace.model.loads import DataFile

pytestmark = pytest.mark.usefixtures("aws_environment")
SIZE = 1000


class Moment:
    """A clock that is a span ahead."""

    def __init__(self, ahead: timedelta = timedelta(0)) -> None:
        self.ahead = ahead

    def now(self) -> Any:
        return SystemClock().now() + self.ahead


@pytest.fixture
def session() -> Session:
    return Session("eu-west-2")


@pytest.fixture
def bucket(session: Session) -> str:
    name = f"lake-{secrets.token_hex(6)}"
    session.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": session.region})
    return name


def stored(session: Session, bucket: str, n: int, size: int = SIZE) -> list[DataFile]:
    """Files of the base that another machine kept."""
    found = []
    for i in range(n):
        path = f"lake/lv/data/{i}.parquet"
        session.client("s3").put_object(Bucket=bucket, Key=path, Body=bytes([i]) * size)
        found.append(DataFile(path, "data", 1, size, {}))
    session.report()
    return found


def here(base: S3Base) -> set[str]:
    return {path.stem for path in base.root.rglob("*.parquet")}


def test_a_copy_is_asked_for_once(session: Session, bucket: str, tmp_path: Path) -> None:
    files = stored(session, bucket, 3)
    base = S3Base(session, bucket, tmp_path, 10 * SIZE)
    base.bring(files)
    assert session.report() == {"s3:GetObject": 3}
    base.bring([*files, files[0]])
    assert session.report() == {}


def test_the_copies_that_were_unused_longest_make_room(session: Session, bucket: str, tmp_path: Path) -> None:
    files = stored(session, bucket, 5)
    base = S3Base(session, bucket, tmp_path, 3 * SIZE)
    base.bring(files[:3])
    base.bring([files[0]])
    base.bring([files[3]])
    assert here(base) == {"0", "2", "3"}
    base.bring([files[4]])
    assert here(base) == {"0", "3", "4"}


def test_what_one_call_needs_stays_though_it_is_more_than_there_should_be(
    session: Session, bucket: str, tmp_path: Path
) -> None:
    files = stored(session, bucket, 5)
    base = S3Base(session, bucket, tmp_path, 2 * SIZE)
    assert base.bring(files) == [] and here(base) == {"0", "1", "2", "3", "4"}
    assert base.bring(files[3:]) == [] and here(base) == {"3", "4"}


def test_files_that_were_kept_count_and_go_like_others(session: Session, bucket: str, tmp_path: Path) -> None:
    (other,) = stored(session, bucket, 1)
    base = S3Base(session, bucket, tmp_path, 2 * SIZE)
    mine = []
    for n in (7, 8):
        path = tmp_path / f"lake/lv/data/{n}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * SIZE)
        mine.append(DataFile(f"lake/lv/data/{n}.parquet", "data", 1, SIZE, {}))
        base.keep(mine[-1:])
    assert here(base) == {"7", "8"}
    base.bring([other])
    assert here(base) == {"0", "8"}
    assert base.bring(mine) == [] and here(base) == {"7", "8"}


def test_copies_of_a_call_that_failed_make_room_as_well(session: Session, bucket: str, tmp_path: Path) -> None:
    files = stored(session, bucket, 5)
    base = S3Base(session, bucket, tmp_path, 2 * SIZE)
    (tmp_path / "lake" / "lv").mkdir(parents=True)
    (tmp_path / "lake" / "lv" / "taken").touch()
    impossible = DataFile("lake/lv/taken/5.parquet", "data", 1, SIZE, {})
    with pytest.raises(InfrastructureError, match="HR304"):
        base.bring([*files[:4], impossible])
    with pytest.raises(InfrastructureError, match="HR304"):
        base.keep([impossible])
    assert base.bring(files[4:]) == []
    assert len(here(base)) == 2


def test_what_an_earlier_process_left_is_used_and_makes_room(session: Session, bucket: str, tmp_path: Path) -> None:
    files = stored(session, bucket, 4)
    S3Base(session, bucket, tmp_path, 9 * SIZE).bring(files[:3])
    session.report()
    for n, age in ((0, 3000), (1, 5000)):  # the third is so young that another process may be writing it
        os.utime(tmp_path / files[n].path, (time.time() - age, time.time() - age))
    base = S3Base(session, bucket, tmp_path, 3 * SIZE)
    base.bring([files[3]])
    assert session.report() == {"s3:GetObject": 1}
    assert here(base) == {"0", "2", "3"}


def left_by_a_killed_child(base: S3Base, name: str, size: int = SIZE) -> None:
    path = base.root / f"lake/lv/data/{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


def test_whatever_lies_on_the_disk_takes_room_of_the_copies(session: Session, bucket: str, tmp_path: Path) -> None:
    files = stored(session, bucket, 3)
    base = S3Base(session, bucket, tmp_path, 3 * SIZE)
    base.bring(files[:2])
    left_by_a_killed_child(base, "left")
    base.bring([files[2]])
    assert here(base) == {"1", "2", "left"}


def test_what_failed_is_cleared_away_and_copies_stay(session: Session, bucket: str, tmp_path: Path) -> None:
    files = stored(session, bucket, 2)
    base, staging = S3Base(session, bucket, tmp_path, 3 * SIZE), S3Base(session, bucket, tmp_path / "staging", 0)
    base.bring(files)
    for one in (base, staging):
        left_by_a_killed_child(one, "left", 100 * SIZE)
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool/7.parquet").write_bytes(b"what arrived is no file of the base")
    base.clear()
    staging.clear()
    assert here(base) == {"0", "1", "7"} and here(staging) == set()
    session.report()
    assert base.bring(files) == [] and session.report() == {}


def test_a_copy_that_is_cut_off_is_made_again(session: Session, bucket: str, tmp_path: Path) -> None:
    (file,) = stored(session, bucket, 1)
    base = S3Base(session, bucket, tmp_path, 9 * SIZE)
    base.bring([file])
    os.truncate(tmp_path / file.path, 10)
    assert base.bring([file]) == []
    assert (tmp_path / file.path).read_bytes() == bytes([0]) * SIZE


def test_an_object_of_another_size_than_the_ledger_knows_is_lost(session: Session, bucket: str, tmp_path: Path) -> None:
    good, bad = stored(session, bucket, 2)
    session.client("s3").put_object(Bucket=bucket, Key=bad.path, Body=b"short")
    base = S3Base(session, bucket, tmp_path, 9 * SIZE)
    said: list[tuple[str, Mapping[str, Any]]] = []
    with log.listening(lambda what, fields: said.append((what, fields)), logging.ERROR):
        assert base.bring([good, bad]) == [bad]
    assert said == [("base.damaged", {"path": bad.path, "bytes": 5, "expected": SIZE})]
    assert here(base) == {"0"} and not list(tmp_path.rglob(".*.part"))


def test_a_file_that_changed_since_it_was_finished_is_not_stored(session: Session, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"1234")
    base = S3Base(session, bucket, tmp_path, SIZE)
    with pytest.raises(InfrastructureError, match=r"HR882 a\.parquet: it has 4 bytes here and should have 5"):
        base.keep([DataFile("a.parquet", "data", 1, 5, {})])
    with pytest.raises(InfrastructureError, match=r"HR304 b\.parquet"):
        base.keep([DataFile("b.parquet", "data", 1, 5, {})])
    assert base.lost(["a.parquet"]) == {"a.parquet"}


def test_a_young_file_is_nobodys_yet_and_told_of_later(session: Session, bucket: str, tmp_path: Path) -> None:
    """Its attempt may be about to tell the ledger of it: who clears away must not take it."""
    (file,) = stored(session, bucket, 1)
    now, later = Moment(), Moment(timedelta(hours=1, seconds=2))
    assert list(S3Base(session, bucket, tmp_path, SIZE, now).paths("lake/lv")) == []
    assert list(S3Base(session, bucket, tmp_path, SIZE, later).paths("lake/lv")) == [file.path]


def test_more_than_a_thousand_files_are_told_looked_for_and_deleted(
    session: Session, bucket: str, tmp_path: Path
) -> None:
    base = S3Base(session, bucket, tmp_path, 10**9, Moment(timedelta(hours=2)))
    files = []
    for n in range(1001):
        path = tmp_path / f"lake/lv/data/{n:04}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        files.append(DataFile(f"lake/lv/data/{n:04}.parquet", "data", 1, 1, {}))
    base.keep(files)
    assert sorted(base.paths("lake/lv")) == [x.path for x in files]
    session.report()
    assert base.lost([*(x.path for x in files), "lake/lw/data/0.parquet"]) == {"lake/lw/data/0.parquet"}
    assert session.report() == {"s3:ListObjectsV2": 2}
    base.delete(x.path for x in files)
    assert session.report() == {"s3:DeleteObjects": 2}
    assert list(base.paths("lake/lv")) == [] and here(base) == set()


def test_a_bucket_that_cannot_be_asked_has_lost_nothing(
    ministack_alone: MiniStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", ministack_alone.endpoint)
    session = Session("eu-west-2", attempts=1)
    file = DataFile("lake/lv/data/1.parquet", "data", 1, SIZE, {})
    base = S3Base(session, "lake", tmp_path, SIZE)
    for code in ("HR301", "HR803"):  # there is no such bucket, then no such service
        for ask in (lambda: base.lost([file.path]), lambda: base.bring([file]), lambda: list(base.paths("lake"))):
            with pytest.raises(StoreUnavailable, match=code):
                ask()
        ministack_alone.stop()
