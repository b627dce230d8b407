"""The lake commits on Glue and S3: the first one wins, lost answers and crashes do no harm, words of others stay."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from other_services import Wanted, losing, service

from headrace.aws.catalog import GlueCatalog
from headrace.aws.folder import S3Folder
from headrace.aws.metadata import S3FileIO
from headrace.aws.session import Session
from headrace.model.codes import CODES
from headrace.model.errors import InfrastructureError
from sinks.base_files import Base
from sinks.homes import REGION, AwsHome

COLUMNS = [("a", "string"), ("n", "long"), ("m", "decimal(18, 4)"), ("at", "timestamptz"), ("id", "uuid")]


@pytest.fixture
def home(tmp_path: Path, aws_environment: str) -> AwsHome:
    return AwsHome(tmp_path, aws_environment)


@pytest.fixture
def base(home: AwsHome) -> Base:
    return Base(home.root, keep=home.keep)


def asks(target: str) -> Wanted:
    return lambda method, path, headers: str(headers.get("x-amz-target", "")).endswith(target)


def one_row(base: Base, i: int) -> Any:
    return base.load(f"L{i}", f"('a{i}', TIMESTAMP '2025-01-01' + to_seconds({i}), {i})")


def numbers(home: AwsHome) -> list[str]:
    return [s.summary.additional_properties["headrace.revision"] for s in home.reopened().snapshots()]


def race(home: AwsHome, before: str | None) -> tuple[list[str], list[InfrastructureError]]:
    """Ten processes swap at once; those that did and what the others were told."""
    barrier = threading.Barrier(10)

    def swap(name: str) -> str | InfrastructureError:
        catalog = GlueCatalog(Session(REGION), home.name, "t", home.folder.location)
        assert catalog.read() == before
        barrier.wait()
        try:
            catalog.swap(before, name, COLUMNS)
        except InfrastructureError as exc:
            return exc
        return name

    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(swap, [f"{home.folder.location}/metadata/{before is None}-{i}.json" for i in range(10)]))
    return [f for f in found if isinstance(f, str)], [f for f in found if isinstance(f, InfrastructureError)]


def test_of_many_that_make_or_change_a_table_at_once_exactly_one_does(home: AwsHome) -> None:
    made, told = race(home, None)
    assert (len(made), {e.code for e in told}) == (1, {"HR511"})
    assert home.catalog().read() == made[0]
    changed, told = race(home, made[0])
    assert (len(changed), {e.code for e in told}) == (1, {"HR511"})
    assert home.catalog().read() == changed[0]
    assert home.described()["Parameters"]["previous_metadata_location"] == made[0]


def test_two_publishers_that_apply_one_revision_at_once_make_one_snapshot(home: AwsHome, base: Base) -> None:
    home.lake().apply(base.revision(one_row(base, 1)))
    revision = base.revision(one_row(base, 2))
    barrier = threading.Barrier(2)

    class Together(GlueCatalog):
        def swap(self, before: str | None, after: str, columns: Sequence[tuple[str, str]]) -> None:
            barrier.wait()
            super().swap(before, after, columns)

    writers = [home.lake(catalog=Together(Session(REGION), home.name, "t", home.folder.location)) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda writer: writer.apply(revision), writers))
    assert numbers(home) == ["1", "2"]
    assert home.reopened().scan().to_arrow().num_rows == 2


def test_a_process_that_dies_between_metadata_and_swap_has_changed_nothing(home: AwsHome, base: Base) -> None:
    class Dying(GlueCatalog):
        def swap(self, before: str | None, after: str, columns: Sequence[tuple[str, str]]) -> None:
            raise KeyboardInterrupt(after)

    for i in (1, 2):
        revision = base.revision(one_row(base, i))
        with pytest.raises(KeyboardInterrupt) as died:
            home.lake(catalog=Dying(home.session, home.name, "t", home.folder.location)).apply(revision)
        left = str(died.value)
        assert home.folder.read(left) is not None
        assert home.lake().number() == i - 1
        home.lake().apply(revision)
    assert numbers(home) == ["1", "2"]
    assert sorted(home.reopened().scan().to_arrow()["asset"].to_pylist()) == ["a1", "a2"]
    home.lake(grace_seconds=0).maintain()
    assert home.folder.read(left) is None


@pytest.mark.parametrize(
    "wanted",
    [asks("UpdateTable"), lambda method, path, headers: method == "PUT" and ".metadata.json" in path],
    ids=["the swap", "the metadata"],
)
def test_a_lost_answer_is_resolved_by_looking(
    home: AwsHome, base: Base, ministack: str, monkeypatch: pytest.MonkeyPatch, wanted: Wanted
) -> None:
    home.lake().apply(base.revision(one_row(base, 1)))
    revision = base.revision(one_row(base, 2))
    with losing(ministack, wanted) as way:
        monkeypatch.setenv("AWS_ENDPOINT_URL", way)
        session = Session(REGION)
        far = S3Folder(session, home.name, "lake/t")
        home.lake(catalog=GlueCatalog(session, home.name, "t", far.location), folder=far).apply(revision)
        assert sum(session.retries.values()) == 1
    assert numbers(home) == ["1", "2"]


def test_the_answer_to_making_the_table_may_be_lost_too(
    home: AwsHome, base: Base, ministack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with losing(ministack, asks("CreateTable")) as way:
        monkeypatch.setenv("AWS_ENDPOINT_URL", way)
        home.lake(catalog=GlueCatalog(Session(REGION), home.name, "t", home.folder.location)).apply(
            base.revision(one_row(base, 1))
        )
    assert numbers(home) == ["1"]


def test_people_see_the_columns_and_what_they_wrote_stays(home: AwsHome, base: Base) -> None:
    catalog = home.catalog()
    catalog.swap(None, f"{home.folder.location}/metadata/0.json", COLUMNS)
    found = home.described()
    assert found["TableType"] == "EXTERNAL_TABLE"
    assert found["StorageDescriptor"]["Location"] == f"s3://{home.name}/lake/t"
    assert [(c["Name"], c["Type"]) for c in found["StorageDescriptor"]["Columns"]] == [
        ("a", "string"),
        ("n", "bigint"),
        ("m", "decimal(18,4)"),
        ("at", "timestamp"),
        ("id", "string"),
    ]
    written = {"Name": "t", "Description": "ours", "Owner": "me", "TableType": "EXTERNAL_TABLE"}
    parameters = {**found["Parameters"], "classification": "parquet"}
    home.session.client("glue").update_table(DatabaseName=home.name, TableInput={**written, "Parameters": parameters})
    catalog.swap(f"{home.folder.location}/metadata/0.json", f"{home.folder.location}/metadata/1.json", COLUMNS[:1])
    found = home.described()
    assert (found["Description"], found["Owner"], found["Parameters"]["classification"]) == ("ours", "me", "parquet")
    assert len(found["StorageDescriptor"]["Columns"]) == 1


def test_a_table_of_another_kind_is_not_ours_to_change(home: AwsHome, base: Base) -> None:
    theirs = {"Name": "t", "TableType": "EXTERNAL_TABLE", "Parameters": {"classification": "csv"}}
    home.session.client("glue").create_table(DatabaseName=home.name, TableInput=theirs)
    with pytest.raises(InfrastructureError, match=r"HR861 Glue table lake\w+\.t"):
        home.lake().apply(base.revision(one_row(base, 1)))
    assert home.described()["Parameters"] == {"classification": "csv"}


def test_without_the_database_it_says_what_to_run(home: AwsHome, base: Base) -> None:
    home.session.client("glue").delete_database(Name=home.name)
    assert home.lake().number() == 0
    with pytest.raises(InfrastructureError, match=r"HR860 .*headrace deploy"):
        home.lake().apply(base.revision(one_row(base, 1)))
    assert {"HR860", "HR861"} <= set(CODES)


def test_a_table_that_points_into_another_bucket_is_filled_anew(home: AwsHome, base: Base) -> None:
    elsewhere = "s3://another-bucket/lake/t/metadata/00000-x.metadata.json"
    home.catalog().swap(None, elsewhere, COLUMNS)
    lake = home.lake()
    assert lake.number() == 0
    lake.rebuild(7, one_row(base, 1), base.columns)
    assert lake.number() == 7
    assert home.described()["Parameters"]["previous_metadata_location"] == elsewhere


def test_a_metadata_file_is_never_written_over_by_another(home: AwsHome) -> None:
    place = S3FileIO(home.session).new_output(home.folder.locate("lake/t/metadata/a b%20ü=1.json"))
    with place.create() as file:
        file.write(b"one")
    with place.create() as file:
        file.write(b"one")  # what a second attempt does whose first one's answer was lost
    with pytest.raises(FileExistsError), place.create() as file:
        file.write(b"two")
    again = S3FileIO(home.session).new_input(place.location)
    assert (again.open().read(), len(again), again.exists()) == (b"one", 3, True)
    listed = [location for location, _ in home.folder.metadata()]
    assert listed == [place.location]
    home.folder.delete([*listed, home.folder.locate("lake/t/metadata/never.json")])
    assert (list(home.folder.metadata()), again.exists()) == ([], False)


def test_metadata_that_s3_will_not_delete_is_told(home: AwsHome, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = "<DeleteResult><Error><Key>lake/t/metadata/x.avro</Key><Code>AccessDenied</Code></Error></DeleteResult>"
    with service(lambda n, headers, body: (200, {"content-type": "application/xml"}, refused)) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        folder = S3Folder(Session(REGION), home.name, "lake/t")
        with pytest.raises(InfrastructureError, match=r"HR802 .*/lake/t/metadata/x.avro: .*not deleted: AccessDenied"):
            folder.delete([folder.locate("lake/t/metadata/x.avro")])
