"""Objects in a bucket: the landing place of a target on AWS. It reads, lists and puts; it decides nothing.

A key is S3's key as it is: nothing is decoded. What is no object in a folder is none here, so that a pipeline takes
the same from both: names that begin with a dot, names that end in `.part` or `.tmp`, and the empty objects that end in
`/` and stand for folders.

| code | means | kind |
|---|---|---|
| HR311 | a key that S3's own path rules would bend, or that names no object | BadObject |
| HR312 | a key of more than 1,024 bytes | BadObject |
| HR313 | a key whose name says that it is still being written | BadObject |

HR301 to HR304 as in `aws.bucket`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from headrace.aws.bucket import Bucket, Found, on_disk, side_by_side
from headrace.aws.session import Session
from headrace.model.errors import BadObject, ObjectMoving
from headrace.model.keys import MOST_BYTES, ignored
from headrace.model.loads import Page, Stat
from headrace.ports import Clock

ARCHIVE = ".headrace/archive/"
"""Where `archive` moves objects: in the landing bucket, and outside every source, since its name begins with a dot."""


def hidden(key: str) -> bool:
    """Whether a key is none of a pipeline's, whatever its prefix is."""
    return key.endswith("/") or any(map(ignored, key.split("/")))


class S3Store:
    """headrace.ports.Store over a bucket, with or without versions. Constructing asks nothing. Safe for threads.

    The fingerprint is the VersionId; where the bucket keeps no versions, ETag, size and time. `created` is S3's
    LastModified, of whole seconds: of a multipart upload, when it began.
    """

    def __init__(self, session: Session, bucket: str, clock: Clock | None = None) -> None:
        """`clock` is the twin's: here S3's own gives every time."""
        self.bucket = bucket
        self._bucket = Bucket(session, bucket)

    def stat(self, key: str) -> Stat | None:
        self._name(key)
        found = None if hidden(key) else self._bucket.head(key)
        return None if found is None else _stat(found)

    def list(self, prefix: str) -> Iterator[Stat]:
        """Every object under `prefix`, in key order. An error on the way is raised: a list that ends is complete.

        Older versions and delete markers are read past: a thousand of them cost a request.
        """
        return (stat for page in self.pages(prefix) for stat in page.stats)

    def pages(self, prefix: str, after: str = "") -> Iterator[Page]:
        """`list` of what is beyond the key `after`, page by page, however few objects are among older versions."""
        for some, upto in self._bucket.versions(prefix, after):
            yield Page(tuple(_stat(found) for found in some if not hidden(found.key)), upto)

    def fetch(self, key: str, into: Path) -> tuple[Stat, str]:
        """Copy the object to `into` while hashing it. Returns what it was, and its version: the SHA-256 of the copy.

        All bytes are of the one version that the stat names, whatever is put meanwhile. Raises ObjectMoving if it is
        gone, or if a bucket without versions got another in the middle of it.
        """
        self._seen(key)
        found, version = self._bucket.receive(key, into)
        return _stat(found), version

    def digest(self, key: str) -> tuple[Stat, str]:
        """Like `fetch`, without a copy: for telling whether a changed fingerprint is a changed object."""
        self._seen(key)
        found, version = self._bucket.receive(key, None)
        return _stat(found), version

    def put(self, key: str, source: Path) -> Stat:
        """Store a copy durably, whole or not at all. The time is S3's."""
        return self.put_many([(key, source)])[0]

    def put_many(self, items: Iterable[tuple[str, Path]]) -> Sequence[Stat]:
        """`put` for many, side by side. S3 gives the times, in whole seconds: within one, keys decide the order.

        Each object is whole or not there; if one fails, others may have been stored.
        """
        ready = [(self._free(key), source) for key, source in items]
        for key, source in ready:
            with on_disk(key):
                os.stat(source)  # what is not there is said before anything is stored
        return side_by_side(lambda item: self._put(*item), ready)

    def _put(self, key: str, source: Path) -> Stat:
        found = self._bucket.head(key, self._bucket.send(key, source))
        if found is None:
            raise ObjectMoving("HR302", key, "it was removed as soon as it was put", "put it again")
        return _stat(found)

    def _free(self, key: str) -> str:
        """Refuses what would not be seen."""
        self._name(key)
        if key.endswith("/"):
            raise BadObject("HR311", repr(key), "it names a folder", "put an object in it")
        if hidden(key):
            raise BadObject("HR313", key, "this name marks a file that is still being written", "choose another name")
        return key

    def archive(self, key: str, version: str) -> None:
        """Move the object to `.headrace/archive/<first 16 of version>/<key>` if it still is that version.

        Raises ObjectMoving otherwise. First the copy is there, then the object goes: a crash in between leaves both.
        Where versions are kept it goes by a delete marker, and can be brought back.
        """
        self._seen(key)
        found, now = self._bucket.receive(key, None)
        if now != version:
            raise ObjectMoving("HR302", key, "it is another version by now", "nothing was moved")
        self._bucket.copy(found, _archived(key, version))
        if not self._bucket.delete_if(found):
            raise ObjectMoving("HR302", key, "it was replaced while it was archived", "the newer one stays")

    def has_archived(self, key: str, version: str) -> bool:
        """Whether `fetch_archived` would find something; it is not read."""
        self._name(key)
        return self._bucket.head(_archived(key, version)) is not None

    def fetch_archived(self, key: str, version: str, into: Path) -> bool:
        """Copy what `archive` moved away to `into`; False if it is not there any more, or not what it was."""
        self._name(key)
        try:
            return self._bucket.receive(_archived(key, version), into)[1] == version
        except ObjectMoving:
            return False

    def remove(self, key: str) -> None:
        """Delete the object; harmless if it is gone. Only tests and the demo need this."""
        self._name(key)
        self._bucket.delete([key])

    def check(self) -> None:
        """Raise StoreUnavailable unless the bucket is there and may be listed."""
        self._bucket.check()

    def _seen(self, key: str) -> None:
        """Refuses what cannot be asked for; what is hidden is not there."""
        self._name(key)
        if hidden(key):
            raise ObjectMoving("HR302", key, "it is gone", "its removal has an event of its own")

    def _name(self, key: str) -> None:
        """`.` and `..` are names to S3, but not to the URLs it is asked by: another object would be meant."""
        parts = key.split("/")
        if not key or "\0" in key or any(part in (".", "..") for part in parts):
            raise BadObject("HR311", repr(key), "a key is a path of names below the bucket", "rename it")
        try:
            size = len(key.encode())
        except UnicodeEncodeError as exc:
            raise BadObject("HR311", repr(key), "the name is not UTF-8", "rename it") from exc
        if size > MOST_BYTES:
            raise BadObject("HR312", key[:80] + "…", f"it has {size} bytes", f"a bucket holds {MOST_BYTES}")


def _stat(found: Found) -> Stat:
    fingerprint = found.version or f"{found.etag}:{found.size}:{found.modified.isoformat()}"
    return Stat(found.key, found.size, found.modified, fingerprint, found.version)


def _archived(key: str, version: str) -> str:
    """A key that is too long with the archive's own before it is named by its hash."""
    name = f"{ARCHIVE}{version[:16]}/{key}"
    if len(name.encode()) <= MOST_BYTES:
        return name
    return f"{ARCHIVE}{version[:16]}/~{hashlib.sha256(key.encode()).hexdigest()}"
