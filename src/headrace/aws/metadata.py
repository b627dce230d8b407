"""Iceberg metadata on S3, whole objects that are written once. Twin of `local/metadata.py`.

`aws.folder` hands this FileIO to the lake; PyIceberg's own would need PyArrow or s3fs. Imports PyIceberg at its top:
imported only to write.
"""

from __future__ import annotations

import io
from typing import Any

from pyiceberg.io import FileIO, InputFile, OutputFile

from headrace.aws.folder import delete, get, key_of
from headrace.aws.session import Session, code_of

AGAIN = "it is tried again"


class S3File(InputFile, OutputFile):
    """One object, to read or to write whole."""

    def __init__(self, session: Session, location: str) -> None:
        super().__init__(location)
        self._session = session
        self._bucket, self._key = key_of(location)
        self._size: int | None = None

    def __len__(self) -> int:
        if self._size is None:
            self._size = len(self.open().getbuffer())
        return self._size

    def exists(self) -> bool:
        return get(self._session, self.location) is not None

    def open(self, seekable: bool = True) -> Any:
        content = get(self._session, self.location)
        if content is None:
            raise FileNotFoundError(self.location)
        return io.BytesIO(content)

    def create(self, overwrite: bool = False) -> Any:
        return Upload(self, overwrite=overwrite)

    def put(self, content: bytes, *, overwrite: bool) -> None:
        """Store the object; unless `overwrite`, only if there is none. Raises FileExistsError if there is another."""
        absent = {} if overwrite else {"IfNoneMatch": "*"}
        client = self._session.client("s3")
        with self._session.wrapped(self.location, AGAIN):
            try:
                client.put_object(Bucket=self._bucket, Key=self._key, Body=content, **absent)
            except client.exceptions.ClientError as exc:
                if code_of(exc) != "PreconditionFailed":
                    raise
                # An attempt whose answer was lost is followed by another, which finds the first one's object.
                if get(self._session, self.location) != content:
                    raise FileExistsError(self.location) from exc
        self._size = len(content)

    def to_input_file(self) -> S3File:
        return self


class Upload(io.BytesIO):
    """Collects what is written; closing stores it. Metadata files are small."""

    def __init__(self, file: S3File, *, overwrite: bool) -> None:
        super().__init__()
        self._file, self._overwrite = file, overwrite

    def close(self) -> None:
        if self.closed:
            return
        self._file.put(self.getvalue(), overwrite=self._overwrite)
        super().close()


class S3FileIO(FileIO):
    """Objects whose content is stored when their stream is closed."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def new_input(self, location: str) -> S3File:
        return S3File(self._session, location)

    def new_output(self, location: str) -> S3File:
        return S3File(self._session, location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        delete(self._session, [location if isinstance(location, str) else location.location])
