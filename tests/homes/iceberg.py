"""What any reader of Iceberg finds through Glue, with nothing of ours."""

from __future__ import annotations

from typing import Any

import pyarrow.fs
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.io.pyarrow import PyArrowFileIO

from emulator import REGION, MiniStack

CERTIFICATE = "trial.certificate"


class TrustingFileIO(PyArrowFileIO):
    """PyIceberg's own, which knows no way to name the certificate of an endpoint."""

    def _initialize_s3_fs(self, netloc: str | None) -> pyarrow.fs.FileSystem:
        return pyarrow.fs.S3FileSystem(
            access_key=self.properties["s3.access-key-id"],
            secret_key=self.properties["s3.secret-access-key"],
            region=self.properties["s3.region"],
            endpoint_override=self.properties["s3.endpoint"],
            tls_ca_file_path=self.properties[CERTIFICATE],
        )


def rows(aws: MiniStack, database: str, table: str) -> list[dict[str, Any]]:
    """Every row of a table; none where there is no such table."""
    given = {
        "glue.endpoint": aws.endpoint,
        "client.region": REGION,
        "client.access-key-id": "test",
        "client.secret-access-key": "test",
        "s3.endpoint": aws.endpoint,
        "s3.region": REGION,
        "s3.access-key-id": "test",
        "s3.secret-access-key": "test",
        "py-io-impl": f"{__name__}.{TrustingFileIO.__name__}",
        CERTIFICATE: str(aws.certificate),
    }
    try:
        found = GlueCatalog("trial", **given).load_table((database, table))
    except NoSuchTableError:
        return []
    told: list[dict[str, Any]] = found.scan().to_arrow().to_pylist()
    return told
