"""Where rows go: an opened sink, what a lake stands on, and how items are looked up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Protocol

from headrace.model.loads import (
    DataFile,
    Revision,
)


class Writer(Protocol):
    """An opened sink. It keeps the number of the last revision it applied, in the same transaction as the rows."""

    name: str

    def number(self) -> int:
        """The last revision applied; 0 for a new sink."""
        ...

    def apply(self, revision: Revision) -> None:
        """Take `removed` out and put `added` in, with the revision's number, all at once.

        Applying a number that is already there changes nothing; one that is not the next raises InfrastructureError
        (HR512). After a crash at any instant the sink is at the old number or at the new one, whole; or, where the
        store cannot take a revision at once (DynamoDB), at the old number, and applying it again completes it.
        """
        ...

    def rebuild(self, number: int, files: Sequence[DataFile], columns: Sequence[tuple[str, str]]) -> None:
        """Replace everything by the rows of `files`, at `number`. Also how a new sink is filled."""
        ...

    def oldest(self) -> int:
        """The oldest revision that a reader of this sink may still be looking at: it needs the files of that one."""
        ...

    def warm(self) -> None:
        """Do beforehand what the first revision would have to wait for."""
        ...

    def maintain(self) -> None:
        """Housekeeping that changes no row: expire snapshots, checkpoint. Called now and then, never needed."""
        ...

    def close(self) -> None: ...


class Catalog(Protocol):
    """Which metadata file one Iceberg table has. Whoever else reads the table asks the same catalog."""

    def read(self) -> str | None:
        """The location of the metadata file, wherever that is; None if the catalog knows no such table."""
        ...

    def swap(self, before: str | None, after: str, columns: Sequence[tuple[str, str]]) -> None:
        """Name the file `after`, durably, if the catalog still names `before` (None: it knows no table).

        `columns` are the table's from now on, as (name, Iceberg type), for catalogs that show them. Raises
        InfrastructureError: HR511 another commit came first. Any other error leaves open whether the catalog names
        `after`: ask it.
        """
        ...


class TableFolder(Protocol):
    """Where the files of one Iceberg table lie: Parquet files of the base, and metadata, all immutable.

    Locations are how Iceberg names files: absolute, not URL-encoded. `location` is the table's own; its metadata is in
    `<location>/metadata/`.
    """

    @property
    def location(self) -> str: ...

    def locate(self, path: str) -> str:
        """The location of a file of the base (`DataFile.path`)."""
        ...

    def path(self, location: str) -> str:
        """The file of the base that has this location."""
        ...

    def read(self, location: str) -> bytes | None:
        """A metadata file's content; None if it is not there."""
        ...

    def metadata(self) -> Iterator[tuple[str, datetime]]:
        """Every metadata file: its location, and when it was written."""
        ...

    def delete(self, locations: Iterable[str]) -> None:
        """Delete metadata files; what is not there is passed over."""
        ...

    def io(self) -> Any:
        """A PyIceberg FileIO for metadata: a file is durable when its stream is closed. Imports PyIceberg."""
        ...


class Lookup(Protocol):
    """What `headrace get` asks of a keyed sink."""

    def get(
        self,
        table: str,
        key: Any,
        *,
        at: Any = None,
        begins_with: str | None = None,
        start: Any = None,
        end: Any = None,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """Items of one partition key in sort order; `start` and `end` are inclusive bounds of the sort key."""
        ...
