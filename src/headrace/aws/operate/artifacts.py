"""The bucket that a stack's code and template are read from, what is put there under its own hash, and one note.

It comes before the stack and goes after it, so it is no part of it: made directly, each step repeatable. Called by
`deploy.py`; `destroy.py` removes it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Set
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from headrace.aws.operate.owned import Scope, foreign, owner_of
from headrace.aws.operate.stack import STACK_TAG
from headrace.aws.session import Session, code_of, status_of
from headrace.engine.faults import point
from headrace.model.errors import InfrastructureError

AMERICA = "us-east-1"
"""The region whose buckets must be made without naming it."""

TAKEN_UP = "taken-up.json"
"""The note of what a deploy takes up, which is there until it is as declared."""

OTHER_STACK = "give another `stack` in the target's table"
"""What helps where this bucket's name cannot be had: it follows from the stack's."""


class Artifacts:
    """One bucket, by its name. Constructing it asks nothing."""

    def __init__(self, session: Session, bucket: str, account: str, tags: dict[str, str]) -> None:
        self.session, self.bucket, self.account, self._tags = session, bucket, account, tags

    @property
    def _client(self) -> Any:
        return self.session.client("s3")

    @property
    def _mine(self) -> dict[str, str]:
        """Refused where the bucket is somebody else's, who may have taken its name beforehand."""
        return {"Bucket": self.bucket, "ExpectedBucketOwner": self.account}

    def make(self) -> bool:
        """Have the bucket, private, encrypted and reached by TLS alone; whether it was made now. Raises as `there`."""
        made = self._create()
        point("deploy.bucket-made")
        with self.session.wrapped(self.bucket, "run `headrace deploy` again"):
            for operation, values in self._protections():
                getattr(self._client, operation)(**self._mine, **values)
        return made

    def there(self) -> bool:
        """Whether there is such a bucket, and it is the stack's.

        Raises InfrastructureError HR832 for one that cannot be looked at, HR848 for one with things of somebody else.
        """
        with self.session.wrapped(self.bucket, "run `headrace deploy` again"):
            try:
                self._client.head_bucket(**self._mine)
            except ClientError as exc:
                if status_of(exc) == 403:
                    raise closed(self.bucket, OTHER_STACK) from exc
                if status_of(exc) != 404:
                    raise
                return False
            stack = self._tags[STACK_TAG]
            owner = owner_of(self.session, Scope(stack, self.account, self.bucket), ("bucket", self.bucket))
        if owner != stack:
            raise foreign(("bucket", self.bucket), stack, owner, OTHER_STACK)
        return True

    def _create(self) -> bool:
        if self.there():
            return False
        place = {} if self.session.region == AMERICA else {"LocationConstraint": self.session.region}
        with self.session.wrapped(self.bucket, "run `headrace deploy` again"):
            try:
                self._client.create_bucket(
                    Bucket=self.bucket, **({"CreateBucketConfiguration": place} if place else {})
                )
            except ClientError as exc:
                if code_of(exc) == "BucketAlreadyOwnedByYou":
                    return False
                if code_of(exc) == "BucketAlreadyExists":
                    raise InfrastructureError(
                        "HR832", f"bucket {self.bucket!r}", "the name belongs to somebody else", OTHER_STACK
                    ) from exc
                raise
        return True

    def _protections(self) -> list[tuple[str, dict[str, Any]]]:
        blocked = dict.fromkeys(
            ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
        )
        encrypted = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
        unfinished = {
            "ID": "unfinished-uploads",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
        }
        return [
            ("put_bucket_tagging", {"Tagging": {"TagSet": [{"Key": k, "Value": v} for k, v in self._tags.items()]}}),
            ("put_public_access_block", {"PublicAccessBlockConfiguration": blocked}),
            ("put_bucket_encryption", {"ServerSideEncryptionConfiguration": encrypted}),
            ("put_bucket_policy", {"Policy": json.dumps(_tls_only(self.bucket, self.session.partition))}),
            ("put_bucket_lifecycle_configuration", {"LifecycleConfiguration": {"Rules": [unfinished]}}),
        ]

    def keep(self, path: Path, suffix: str) -> tuple[str, bool]:
        """Upload a file under its sha256, once; its key, and whether it was uploaded now."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
            file.seek(0)
            return self._put(digest.hexdigest() + suffix, file, path.stat().st_size, digest.digest())

    def keep_bytes(self, body: bytes, suffix: str) -> tuple[str, bool]:
        digest = hashlib.sha256(body)
        return self._put(digest.hexdigest() + suffix, body, len(body), digest.digest())

    def _put(self, key: str, body: Any, size: int, digest: bytes) -> tuple[str, bool]:
        with self.session.wrapped(f"{self.bucket}/{key}", "run `headrace deploy` again"):
            try:
                if self._client.head_object(**self._mine, Key=key)["ContentLength"] == size:
                    return key, False
            except ClientError as exc:
                if status_of(exc) != 404:
                    raise
            # S3 itself compares the hash with what arrived: a key never names other bytes.
            checksum = base64.b64encode(digest).decode()
            self._client.put_object(**self._mine, Key=key, Body=body, ChecksumSHA256=checksum)
        return key, True

    def taken_up(self) -> set[str]:
        """Logical ids of what a deploy took up and did not bring to what is declared: it was cut off."""
        with self.session.wrapped(f"{self.bucket}/{TAKEN_UP}", "run `headrace deploy` again"):
            try:
                body = self._client.get_object(**self._mine, Key=TAKEN_UP)["Body"].read()
            except ClientError as exc:
                if status_of(exc) != 404:
                    raise
                return set()
        return set(json.loads(body))

    def note_taken_up(self, ids: Set[str]) -> None:
        """Have the next deploy know. With nothing to know, the note goes."""
        with self.session.wrapped(f"{self.bucket}/{TAKEN_UP}", "run `headrace deploy` again"):
            if ids:
                self._client.put_object(**self._mine, Key=TAKEN_UP, Body=json.dumps(sorted(ids)).encode())
            else:
                self._client.delete_object(**self._mine, Key=TAKEN_UP)

    def url(self, key: str) -> str:
        """Where CloudFormation reads an object."""
        return f"{self._client.meta.endpoint_url}/{self.bucket}/{key}"


def closed(bucket: str, next: str) -> InfrastructureError:
    """S3 answers 403 in both cases, so that nobody learns whose a bucket is."""
    found = "cannot be looked at (403): its name belongs to somebody else, or s3:ListBucket is denied to you"
    return InfrastructureError("HR832", f"bucket {bucket!r}", found, f"allow that, or {next}")


def _tls_only(bucket: str, partition: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [f"arn:{partition}:s3:::{bucket}", f"arn:{partition}:s3:::{bucket}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }
