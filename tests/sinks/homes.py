"""The two homes of a lake, for tests: its writer, and the table as anybody else opens it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pyiceberg.catalog.glue import GlueCatalog as PublicGlueCatalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from headrace.aws.catalog import GlueCatalog
from headrace.aws.folder import S3Folder
from headrace.aws.session import Session
from headrace.model.loads import DataFile
from headrace.sinks.lake import LakeWriter
from sinks.glue import REGION, make_place
from sinks.writing import local_lake


class Home(Protocol):
    root: Path

    def lake(self, partitions: Sequence[tuple[str, str]] = (), **given: Any) -> LakeWriter:
        """A writer of table `t`."""
        ...

    def reopened(self) -> Table:
        """The table through PyIceberg's own catalog and file access, nothing of ours."""
        ...

    def keep(self, files: Sequence[DataFile]) -> None:
        """Files that were written below the root are where readers look for them."""
        ...

    def stray(self, name: str) -> None:
        """Somebody leaves a file in the folder of the metadata."""
        ...


@dataclass
class LocalHome:
    root: Path

    def lake(self, partitions: Sequence[tuple[str, str]] = (), **given: Any) -> LakeWriter:
        return local_lake(self.root, partitions, **given)

    def reopened(self) -> Table:
        return SqlCatalog("headrace", uri=f"sqlite:///{self.root}/catalog.db").load_table("lake.t")

    def keep(self, files: Sequence[DataFile]) -> None: ...

    def stray(self, name: str) -> None:
        (self.root / "lake/t/metadata" / name).write_text("{}")


@dataclass
class AwsHome:
    """A bucket and a Glue database of its own on MiniStack."""

    root: Path
    endpoint: str
    name: str = field(default_factory=lambda: f"lake{secrets.token_hex(5)}")

    def __post_init__(self) -> None:
        self.session = Session(REGION)
        make_place(self.session, self.name)
        self.folder = S3Folder(self.session, self.name, "lake/t")

    def catalog(self) -> GlueCatalog:
        return GlueCatalog(self.session, self.name, "t", self.folder.location)

    def lake(self, partitions: Sequence[tuple[str, str]] = (), **given: Any) -> LakeWriter:
        folder, catalog = given.pop("folder", self.folder), given.pop("catalog", None) or self.catalog()
        return LakeWriter(folder, catalog, "t", partitions, **given)

    def reopened(self) -> Table:
        return public_catalog(self.endpoint).load_table((self.name, "t"))

    def keep(self, files: Sequence[DataFile]) -> None:
        for file in files:
            content = (self.root / file.path).read_bytes()
            self.session.client("s3").put_object(Bucket=self.name, Key=file.path, Body=content)

    def stray(self, name: str) -> None:
        self.session.client("s3").put_object(Bucket=self.name, Key=f"lake/t/metadata/{name}", Body=b"{}")

    def described(self) -> dict[str, Any]:
        """The table as Glue tells it."""
        found: dict[str, Any] = self.session.client("glue").get_table(DatabaseName=self.name, Name="t")["Table"]
        return found


def public_catalog(endpoint: str) -> PublicGlueCatalog:
    """PyIceberg's own Glue catalog and S3 files, on MiniStack."""
    access = {"access-key-id": "test", "secret-access-key": "test", "region": REGION, "endpoint": endpoint}
    given = {f"{service}.{name}": value for service in ("glue", "s3") for name, value in access.items()}
    return PublicGlueCatalog("other", **given)
