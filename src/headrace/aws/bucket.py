"""The objects of one bucket: received, sent, copied and deleted whole, at bounded memory, with errors that say which.

It knows no landing place and no base: `store`, `base` and whoever keeps bodies in S3 stand on it.

| code | means | kind |
|---|---|---|
| HR301 | there is no such bucket | StoreUnavailable: retried, never a deletion |
| HR302 | an object changed or went while it was read | ObjectMoving |
| HR303 | one object cannot be read, though its bucket can | InfrastructureError: retried |
| HR304 | a local file cannot be read or written | InfrastructureError: retried |
| HR801–HR804 | the bucket cannot be reached, or may not be read | StoreUnavailable |
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from botocore import exceptions as foreign

from headrace.aws.session import ATTEMPTS, UNREACHABLE, Session, code_of, status_of
from headrace.engine import log
from headrace.model.errors import InfrastructureError, ObjectMoving, StoreUnavailable

CHUNK = 1 << 20
PART = 16 << 20
"""Bytes of one part of an upload; what is no larger is sent in one piece."""
MOST_PARTS = 10_000
COPY_WHOLE = 5 << 30
"""S3 copies no more than this in one request."""
COPY_PART = 1 << 30
SIDE_BY_SIDE = 16
"""Objects under way at a time."""
PARTS_AT_ONCE = 4
GONE = ("NoSuchKey", "NoSuchVersion", "404", "412", "PreconditionFailed", "416", "InvalidRange")
"""What S3 says when the object that was asked for is not, or no more, the one that was seen."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Found:
    """An object as S3 tells it. `version` is None where the bucket keeps none; `modified` has whole seconds."""

    key: str
    size: int
    etag: str
    modified: datetime
    version: str | None = None


class Bucket:
    """Safe for threads. Constructing asks nothing."""

    def __init__(self, session: Session, name: str) -> None:
        self.session = session
        self.name = name

    @property
    def client(self) -> Any:
        return self.session.client("s3")

    def check(self) -> None:
        """Raise StoreUnavailable unless the bucket is there and may be listed."""
        try:
            self.client.head_bucket(Bucket=self.name)
        except (foreign.BotoCoreError, foreign.ClientError) as exc:
            if status_of(exc) == 404:
                raise self._missing() from exc
            raise self.session.error(exc, self.name, "nothing is taken for deleted", StoreUnavailable) from exc

    def head(self, key: str, version: str | None = None) -> Found | None:
        """What is under a key, or None. A 404 tells of the key only if the bucket is there: that is asked too."""
        pinned = {"VersionId": version} if version else {}
        try:
            with self.speaking(key, passing=("404", "NoSuchKey", "NoSuchVersion", "405", "MethodNotAllowed")):
                return found_in(key, self.client.head_object(Bucket=self.name, Key=key, **pinned))
        except foreign.ClientError as exc:
            headers = exc.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            if headers.get("x-amz-delete-marker") != "true":
                self.check()
            return None

    def receive(self, key: str, into: Path | None) -> tuple[Found, str]:
        """Copy an object to a file while hashing it (SHA-256); None only hashes. Raises ObjectMoving HR302.

        All bytes are of one version. A connection that breaks is taken up where it broke.
        """
        hasher, done = hashlib.sha256(), 0
        found: Found | None = None
        with open(os.devnull, "wb") if into is None else _made(key, into) as target:
            for _ in range(ATTEMPTS):
                body, found, skip = self._get(key, found, done)
                with closing(body):
                    done += self._drain(key, body, skip, hasher, target)
                if done == found.size:
                    return found, hasher.hexdigest()
        which, next = f"{self.name}/{key}", "look at the network, then try again"
        raise StoreUnavailable("HR803", which, f"the connection broke {ATTEMPTS} times while it was read", next)

    def _get(self, key: str, known: Found | None, done: int) -> tuple[Any, Found, int]:
        """The object from byte `done` on; the last is how many bytes come before that: a range may be ignored."""
        asked: dict[str, Any] = {}
        if known is not None:
            asked = {"IfMatch": known.etag, "Range": f"bytes={done}-"}
            asked |= {"VersionId": known.version} if known.version else {}
        try:
            with self.speaking(key, passing=GONE):
                answer = self.client.get_object(Bucket=self.name, Key=key, **asked)
        except foreign.ClientError as exc:
            raise ObjectMoving("HR302", key, "it is gone", "its removal has an event of its own") from exc
        return answer["Body"], known or found_in(key, answer), 0 if "ContentRange" in answer else done

    def _drain(self, key: str, body: Any, skip: int, hasher: Any, target: BinaryIO) -> int:
        """How many bytes came before the end or the break."""
        done = 0
        with self.speaking(key):
            try:
                while skip and (chunk := body.read(min(CHUNK, skip))):
                    skip -= len(chunk)
                while chunk := body.read(CHUNK):
                    hasher.update(chunk)
                    with on_disk(key):
                        target.write(chunk)
                    done += len(chunk)
            except UNREACHABLE as exc:
                log.event("s3.broken", bucket=self.name, key=key, after=done, error=type(exc).__name__)
            return done

    def send(self, key: str, source: Path) -> str | None:
        """Store a file under a key, whole or not at all; returns its version where the bucket keeps versions."""
        with on_disk(key), source.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            with self.speaking(key):
                if size <= PART:
                    answer = self.client.put_object(Bucket=self.name, Key=key, Body=file)
                else:
                    answer = self._send_parts(key, file, size)
        return version_in(answer)

    def _send_parts(self, key: str, file: BinaryIO, size: int) -> Any:
        def send(upload: str, number: int, start: int, end: int) -> Any:
            body = io.BufferedReader(Slice(file.fileno(), start, end), CHUNK)
            asked = {"Bucket": self.name, "Key": key, "UploadId": upload, "PartNumber": number}
            return self.client.upload_part(**asked, Body=body, ContentLength=end - start)

        return self._in_parts(key, size, max(PART, -(-size // MOST_PARTS)), send)

    def copy(self, found: Found, key: str) -> None:
        """Copy what was found to another key of the bucket, within S3. Raises ObjectMoving if it is another by now."""
        source = {"Bucket": self.name, "Key": found.key} | ({"VersionId": found.version} if found.version else {})
        same = {"CopySource": source, "CopySourceIfMatch": found.etag}

        def part(upload: str, number: int, start: int, end: int) -> Any:
            asked = {"Bucket": self.name, "Key": key, "UploadId": upload, "PartNumber": number}
            answer = self.client.upload_part_copy(**asked, **same, CopySourceRange=f"bytes={start}-{end - 1}")
            return answer["CopyPartResult"]

        try:
            with self.speaking(found.key, passing=GONE):
                if found.size <= COPY_WHOLE:
                    self.client.copy_object(Bucket=self.name, Key=key, **same)
                else:
                    self._in_parts(key, found.size, COPY_PART, part)
        except foreign.ClientError as exc:
            raise ObjectMoving("HR302", found.key, "it is another version by now", "nothing was moved") from exc

    def _in_parts(self, key: str, size: int, each: int, send: Callable[[str, int, int, int], Any]) -> Any:
        """An upload of many parts, a few at a time. What fails is aborted: nobody ever sees a part of an object."""
        asked = {"Bucket": self.name, "Key": key}
        upload = self.client.create_multipart_upload(**asked, ChecksumAlgorithm="CRC32")["UploadId"]

        def sent(number: int) -> dict[str, Any]:
            start = (number - 1) * each
            answer = send(upload, number, start, min(start + each, size))
            checksum = {name: answer[name] for name in ("ChecksumCRC32",) if name in answer}
            return {"PartNumber": number, "ETag": answer["ETag"], **checksum}

        try:
            parts = side_by_side(sent, range(1, -(-size // each) + 1), PARTS_AT_ONCE)
            return self.client.complete_multipart_upload(**asked, UploadId=upload, MultipartUpload={"Parts": parts})
        except BaseException:
            self._abort(key, upload)
            raise

    def _abort(self, key: str, upload: str) -> None:
        """Its parts cost money until they go; what cannot be aborted now, the bucket's lifecycle does later."""
        try:
            self.client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=upload)
        except (foreign.BotoCoreError, foreign.ClientError) as exc:
            log.event("s3.not-aborted", bucket=self.name, key=key, error=code_of(exc) or type(exc).__name__)

    def versions(self, prefix: str, after: str = "") -> Iterator[tuple[list[Found], str | None]]:
        """What is under each key of a prefix beyond `after` now, in key order, with its version: in pages.

        With each page, the key up to which it tells all (the newest version of a key comes first); None at the end.
        """
        asked = {"Bucket": self.name, "Prefix": prefix} | ({"KeyMarker": after} if after else {})
        for page in self._pages(prefix, self.client.get_paginator("list_object_versions").paginate(**asked)):
            found = [
                Found(x["Key"], x["Size"], x["ETag"], whole(x["LastModified"]), version_in(x))
                for x in page.get("Versions", ())
                if x["IsLatest"] and x["Key"] > after
            ]
            yield found, page["NextKeyMarker"] if page.get("IsTruncated") else None

    def objects(self, prefix: str) -> Iterator[Found]:
        """What is under each key of a prefix, in key order: without versions, so older ones cost nothing."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        yield from (
            Found(x["Key"], x["Size"], x["ETag"], whole(x["LastModified"]))
            for page in self._pages(prefix, pages)
            for x in page.get("Contents", ())
        )

    def _pages(self, prefix: str, pages: Iterable[Any]) -> Iterator[Any]:
        """An error on the way is raised: a list that ends is complete."""
        remaining = iter(pages)
        while True:
            with self.speaking(prefix, kind=StoreUnavailable):
                page = next(remaining, None)
            if page is None:
                return
            yield page

    def delete_if(self, found: Found) -> bool:
        """Delete what is under a key if it still is what was found; False if it is not."""
        try:
            with self.speaking(found.key, passing=GONE):
                self.client.delete_object(Bucket=self.name, Key=found.key, IfMatch=found.etag)
        except foreign.ClientError:
            return False
        return True

    def delete(self, keys: Iterable[str]) -> None:
        """Delete what is under these keys; what is not there is passed over. Where versions are kept, older ones stay
        until the bucket's lifecycle takes them.
        """
        given = list(keys)
        for start in range(0, len(given), 1000):
            some = [{"Key": key} for key in given[start : start + 1000]]
            with self.speaking(some[0]["Key"]):
                answer = self.client.delete_objects(Bucket=self.name, Delete={"Objects": some, "Quiet": True})
            for failed in answer.get("Errors", ()):
                found = f"it was not deleted: {failed.get('Code')} {failed.get('Message', '')}".strip()
                code = "HR802" if failed.get("Code") == "AccessDenied" else "HR805"
                raise InfrastructureError(code, f"{self.name}/{failed.get('Key')}", found, "it is tried again")

    @contextmanager
    def speaking(
        self, key: str, *, passing: Sequence[str] = (), kind: type[InfrastructureError] | None = None
    ) -> Iterator[None]:
        """Wrap what S3 says about a key, but for the codes that the caller expects.

        What concerns the whole bucket is StoreUnavailable; what concerns this object alone is HR303, or `kind`.
        """
        try:
            yield
        except (foreign.BotoCoreError, foreign.ClientError) as exc:
            code = code_of(exc)
            if code == "NoSuchBucket":
                raise self._missing() from exc
            if code in passing:
                raise
            ours = self.session.error(exc, f"{self.name}/{key}", "it is tried again", StoreUnavailable)
            if ours.code == "HR802":
                self.check()  # may it be listed, this object alone is forbidden
            if ours.code in ("HR802", "HR805") and kind is None:
                raise InfrastructureError("HR303", ours.which, ours.found, ours.next) from exc
            raise ours from exc

    def _missing(self) -> StoreUnavailable:
        advice = "run `headrace deploy`, or correct the bucket's name; nothing is taken for deleted"
        return StoreUnavailable("HR301", self.name, "there is no such bucket", advice)


class Slice(io.RawIOBase):
    """A part of an open file that is read without moving the others' place in it."""

    def __init__(self, descriptor: int, start: int, end: int) -> None:
        self._descriptor, self._start, self._size, self._at = descriptor, start, end - start, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = max(0, min(len(buffer), self._size - self._at))
        got = os.pread(self._descriptor, wanted, self._start + self._at)
        if wanted and not got:  # S3 would wait a minute for the rest
            raise OSError(errno.EIO, "the file became shorter while it was read")
        buffer[: len(got)] = got
        self._at += len(got)
        return len(got)


def side_by_side(do: Callable[[T], R], items: Iterable[T], most: int = SIDE_BY_SIDE) -> list[R]:
    """`do` for each item, some at a time, with the answers in order. After a failure nothing further is begun."""
    given = list(items)
    if len(given) < 2:
        return [do(item) for item in given]
    with ThreadPoolExecutor(min(most, len(given))) as pool:
        try:
            return list(pool.map(do, given))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def found_in(key: str, answer: Any) -> Found:
    modified = whole(answer["LastModified"])
    return Found(key, answer["ContentLength"], answer["ETag"], modified, version_in(answer))


def version_in(answer: Any) -> str | None:
    """S3 says `null` for what was stored while the bucket kept no versions: it can be overwritten in place."""
    version = answer.get("VersionId")
    return None if version in (None, "null") else str(version)


def whole(instant: datetime) -> datetime:
    """A list may tell fractions of a second that a HEAD does not."""
    return instant.astimezone(UTC).replace(microsecond=0)


@contextmanager
def on_disk(which: str) -> Iterator[None]:
    """Wrap what the local disk says."""
    try:
        yield
    except OSError as exc:
        raise InfrastructureError("HR304", which, exc.strerror or str(exc), "free or grant space, then retry") from exc


@contextmanager
def _made(key: str, into: Path) -> Iterator[BinaryIO]:
    with on_disk(key):
        descriptor = os.open(into, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with on_disk(key), os.fdopen(descriptor, "wb") as file:
        yield file
