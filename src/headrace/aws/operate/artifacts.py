"""The bucket that a stack's code and template are read from, and what is put there under its own hash.

It comes before the stack and goes after it, so it is no part of it: made directly, each step repeatable. Called by
`deploy.py`; `destroy.py` removes it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from headrace.aws.session import Session, code_of, status_of
from headrace.engine.faults import point
from headrace.model.errors import InfrastructureError

AMERICA = "us-east-1"
"""The region whose buckets must be made without naming it."""


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
        """Have the bucket, private, encrypted and reached by TLS alone; whether it was made now.

        Raises InfrastructureError HR832 where its name is somebody else's.
        """
        made = self._create()
        point("deploy.bucket-made")
        with self.session.wrapped(self.bucket, "run `headrace deploy` again"):
            for operation, values in self._protections():
                getattr(self._client, operation)(**self._mine, **values)
        return made

    def _create(self) -> bool:
        place = {} if self.session.region == AMERICA else {"LocationConstraint": self.session.region}
        with self.session.wrapped(self.bucket, "run `headrace deploy` again"):
            try:
                self._client.head_bucket(**self._mine)
                return False
            except ClientError as exc:
                if status_of(exc) == 403:
                    raise taken(self.bucket) from exc
                if status_of(exc) != 404:
                    raise
            try:
                self._client.create_bucket(
                    Bucket=self.bucket, **({"CreateBucketConfiguration": place} if place else {})
                )
            except ClientError as exc:
                if code_of(exc) == "BucketAlreadyOwnedByYou":
                    return False
                if code_of(exc) == "BucketAlreadyExists":
                    raise taken(self.bucket) from exc
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
            ("put_bucket_policy", {"Policy": json.dumps(_tls_only(self.bucket))}),
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

    def url(self, key: str) -> str:
        """Where CloudFormation reads an object."""
        return f"{self._client.meta.endpoint_url}/{self.bucket}/{key}"


def taken(bucket: str) -> InfrastructureError:
    return InfrastructureError(
        "HR832", f"bucket {bucket!r}", "the name belongs to somebody else", "give another name in the target's table"
    )


def _tls_only(bucket: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }
