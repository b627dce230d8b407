"""Lakes on S3 under the Glue catalog, for tests: one per folder, in whatever AWS the environment names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headrace.aws.catalog import GlueCatalog
from headrace.aws.folder import S3Folder
from headrace.aws.session import Session
from headrace.sinks.lake import LakeWriter

REGION = "eu-west-2"


class BesideRoot(S3Folder):
    """A folder on S3 whose base files are below a local root as well, where checks read them."""

    def __init__(self, session: Session, bucket: str, root: Path) -> None:
        super().__init__(session, bucket, "lake/t")
        self.root = root


def make_place(session: Session, name: str) -> None:
    """A bucket and a Glue database of one name, unless they are there."""
    if any(found["Name"] == name for found in session.client("glue").get_databases()["DatabaseList"]):
        return
    where = {"LocationConstraint": session.region}
    session.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration=where)
    session.client("glue").create_database(DatabaseInput={"Name": name})


def open_glue(root: Path, partitions: Sequence[tuple[str, str]] = (), **given: Any) -> LakeWriter:
    """The lake of table `t` that belongs to a folder."""
    session, name = Session(REGION), "t" + hashlib.sha256(str(root).encode()).hexdigest()[:20]
    make_place(session, name)
    folder = BesideRoot(session, name, root)
    return LakeWriter(folder, GlueCatalog(session, name, "t", folder.location), "t", partitions, **given)
