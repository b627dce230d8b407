"""The Glue Data Catalog: a table there names the metadata of an Iceberg table. Twin of `local/catalog.py`.

Every commit of the lake is one UpdateTable under Glue's optimistic lock; Athena, Spark and PyIceberg's own Glue catalog
read the table. The first revision makes it, not the stack: updating a stack would write the table's parameters anew,
without the metadata's location, and no reader would find a row. Opened by the target, used by `sinks.lake`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from headrace.aws.session import Session
from headrace.model.errors import InfrastructureError

LOCATION, PREVIOUS = "metadata_location", "previous_metadata_location"
KEPT = ("Description", "Owner", "Retention")
"""What people may set in the catalog beside parameters: an update that leaves it out removes it."""

HIVE_TYPES = {"long": "bigint", "timestamptz": "timestamp", "uuid": "string"}
"""Glue's names of Iceberg types, where they differ. Readers of Iceberg take the types from the metadata."""


class GlueCatalog:
    """`ports.Catalog` for one table of a Glue database, whose files are at `location`."""

    def __init__(self, session: Session, database: str, table: str, location: str) -> None:
        self.session, self.database, self.table, self.location = session, database, table, location
        self._seen: dict[str, Any] | None = None

    def read(self) -> str | None:
        """Raises InfrastructureError (HR861) for a table of that name that is none of Iceberg."""
        with self._wrapped:
            try:
                self._seen = self._glue.get_table(DatabaseName=self.database, Name=self.table)["Table"]
            except self._glue.exceptions.EntityNotFoundException:
                self._seen = None
        return self._pointer()

    def swap(self, before: str | None, after: str, columns: Sequence[tuple[str, str]]) -> None:
        """One CreateTable or UpdateTable, which Glue refuses if the table is not as it was read.

        Raises InfrastructureError (HR860) if there is no such database.
        """
        if (self._seen is None or self._pointer() != before) and self.read() != before:
            raise self._lost()
        told = self._glue.exceptions
        with self._wrapped:
            try:
                self._write(self._input(before, after, columns))
            except (told.AlreadyExistsException, told.ConcurrentModificationException) as exc:
                # An attempt whose answer was lost is followed by another, which finds what the first one did.
                if self.read() != after:
                    raise self._lost() from exc
            except told.EntityNotFoundException as exc:
                if self._seen is not None:
                    raise self._lost() from exc
                raise self._fault("HR860", "there is no such database", "run `headrace deploy`") from exc
        self._seen = None

    def _write(self, table: dict[str, Any]) -> None:
        if self._seen is None:
            self._glue.create_table(DatabaseName=self.database, TableInput=table)
        else:
            self._glue.update_table(
                DatabaseName=self.database,
                TableInput=table,
                VersionId=self._seen["VersionId"],
                SkipArchive=True,  # Iceberg keeps old snapshots itself; Glue's would pile up to its quota
            )

    def _input(self, before: str | None, after: str, columns: Sequence[tuple[str, str]]) -> dict[str, Any]:
        seen = self._seen or {}
        pointers = {LOCATION: after} | ({PREVIOUS: before} if before else {})
        return {
            "Name": self.table,
            "TableType": "EXTERNAL_TABLE",
            "Parameters": {**seen.get("Parameters", {}), "table_type": "ICEBERG", **pointers},
            "StorageDescriptor": {
                "Columns": [{"Name": name, "Type": _hive(kind)} for name, kind in columns],
                "Location": self.location,
            },
            **{name: seen[name] for name in KEPT if seen.get(name)},
        }

    def _pointer(self) -> str | None:
        if self._seen is None:
            return None
        parameters = self._seen.get("Parameters", {})
        if parameters.get("table_type", "").upper() != "ICEBERG" or LOCATION not in parameters:
            found = "a table of that name is there that is no Iceberg table"
            raise self._fault("HR861", found, "delete that table, or give the sink another name")
        return str(parameters[LOCATION])

    @property
    def _glue(self) -> Any:
        return self.session.client("glue")

    @property
    def _wrapped(self) -> AbstractContextManager[None]:
        return self.session.wrapped(f"Glue table {self.database}.{self.table}", "it is tried again")

    def _lost(self) -> InfrastructureError:
        return self._fault("HR511", "another process changed the table meanwhile", "it is tried again")

    def _fault(self, code: str, found: str, next: str) -> InfrastructureError:
        return InfrastructureError(code, f"Glue table {self.database}.{self.table}", found, next)


def _hive(kind: str) -> str:
    """A column's type as the Glue catalog shows it."""
    return HIVE_TYPES.get(kind, kind.replace(" ", ""))
