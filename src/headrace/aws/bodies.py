"""Bodies of ledger items: immutable values of any size, inside the item while they are small, else an object of S3.

Written before anything refers to them, under names that are never reused for another value; so a cached one is right.
"""

from __future__ import annotations

import json
import zlib
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any

from botocore.exceptions import ClientError

from headrace.aws.session import Session, code_of
from headrace.aws.table import Item
from headrace.model.errors import InfrastructureError

INLINE = 48_000
"""Packed bytes up to which a body is part of its item. Twelve units to read; beyond, an object costs less."""
KEPT = 16
"""How many objects are remembered unpacked."""


class Bodies:
    """Where the bodies of one pipeline's ledger live: `prefix` is a folder of the bucket."""

    def __init__(self, session: Session, bucket: str, prefix: str) -> None:
        self._session, self._bucket, self._prefix = session, bucket, prefix
        self._cached: OrderedDict[str, Any] = OrderedDict()
        self._lock = Lock()

    def keep(self, name: str, value: Any) -> dict[str, Any]:
        """Attributes of an item that hold the value or say where it is; durable when this returns."""
        packed = zlib.compress(json.dumps(value, separators=(",", ":")).encode(), 1)
        if len(packed) <= INLINE:
            return {"body": packed}
        key = f"{self._prefix}/{name}"
        with self._wrapped():
            self._session.client("s3").put_object(Bucket=self._bucket, Key=key, Body=packed)
        return {"object": key}

    def read(self, item: Item) -> Any:
        """The value of an item. Shared: not to be changed."""
        if "body" in item:
            return json.loads(zlib.decompress(item["body"]))
        key = str(item["object"])
        with self._lock:
            if key in self._cached:
                self._cached.move_to_end(key)
                return self._cached[key]
        value = json.loads(zlib.decompress(self._fetch(key)))
        with self._lock:
            self._cached[key] = value
            while len(self._cached) > KEPT:
                self._cached.popitem(last=False)
        return value

    def read_if_there(self, item: Item, there: Callable[[], bool]) -> Any | None:
        """The value of an item that others may delete meanwhile; None if it is not there any more."""
        try:
            return self.read(item)
        except InfrastructureError as exc:
            if exc.code not in ("HR802", "HR873") or there():  # who may not list is denied what is not there
                raise
            return None

    def drop(self, item: Item) -> None:
        """Delete what nothing refers to any more."""
        if "object" in item:
            with self._wrapped():
                self._session.client("s3").delete_object(Bucket=self._bucket, Key=item["object"])

    def _fetch(self, key: str) -> bytes:
        with self._wrapped():
            try:
                answer = self._session.client("s3").get_object(Bucket=self._bucket, Key=key)
                return bytes(answer["Body"].read())
            except ClientError as exc:
                if code_of(exc) != "NoSuchKey":
                    raise
                raise InfrastructureError(
                    "HR873",
                    f"s3://{self._bucket}/{key}",
                    "a part of the ledger is gone",
                    "restore an older version of it",
                ) from exc

    def _wrapped(self) -> Any:
        return self._session.wrapped(f"bucket {self._bucket}", "`headrace verify` looks at it")
