"""The files of one Iceberg table in the lake bucket. Used by `sinks.lake`. Twin of `local/folder.py`.

Without PyIceberg: `number` asks for the metadata's bytes alone, and must not wait for that import.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from headrace.aws.bucket import Bucket
from headrace.aws.session import Session

SCHEME = "s3://"
AGAIN = "it is tried again"


class S3Folder:
    """`ports.TableFolder` for what has the prefix `below` in a bucket. A path of the base is the object's key."""

    def __init__(self, session: Session, bucket: str, below: str) -> None:
        self.session, self.bucket = session, bucket
        self.location = self.locate(below)

    def locate(self, path: str) -> str:
        return f"{SCHEME}{self.bucket}/{path}"

    def path(self, location: str) -> str:
        bucket, key = key_of(location)
        if bucket != self.bucket:
            raise ValueError(f"{location} is not in the bucket {self.bucket}")
        return key

    def read(self, location: str) -> bytes | None:
        return get(self.session, location)

    def metadata(self) -> Iterator[tuple[str, datetime]]:
        prefix = f"{self.path(self.location)}/metadata/"
        with self.session.wrapped(self.location, AGAIN):
            pages = self.session.client("s3").get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=prefix):
                for found in page.get("Contents", ()):
                    yield self.locate(found["Key"]), found["LastModified"]

    def delete(self, locations: Iterable[str]) -> None:
        """Raises InfrastructureError if S3 keeps any of them."""
        delete(self.session, locations)

    def io(self) -> Any:
        from headrace.aws.metadata import S3FileIO

        return S3FileIO(self.session)


def key_of(location: str) -> tuple[str, str]:
    """Bucket and key of a location. Locations are not URL-encoded: `%20` is part of a key."""
    bucket, _, key = location.removeprefix(SCHEME).partition("/")
    return bucket, key


def get(session: Session, location: str) -> bytes | None:
    """An object's content; None if there is no such object."""
    bucket, key = key_of(location)
    client = session.client("s3")
    with session.wrapped(location, AGAIN):
        try:
            content: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except client.exceptions.NoSuchKey:
            return None
    return content


def delete(session: Session, locations: Iterable[str]) -> None:
    """Delete objects of one bucket."""
    found = [key_of(location) for location in locations]
    if found:
        Bucket(session, found[0][0]).delete(key for _, key in found)
