"""Bytes and directories in S3, checked by digest when they are read.

A directory counts as published once its `manifest.json` exists, which is written last and lists the digest of every
file. A reader therefore never sees a half-written, truncated or altered directory, whatever was killed when, and
no conditional put is needed, which not every S3 server has.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any, Final

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, IncompleteReadError, ResponseStreamingError

from recsys.exceptions import ArtifactError, ServiceUnavailableError

MANIFEST = "manifest.json"
_CHUNK_BYTES = 1 << 20
# One request takes at most 5 GB.
_PARTS = TransferConfig(multipart_threshold=1 << 30, multipart_chunksize=1 << 28, max_concurrency=2)
# A week, the longest that the signature of S3 allows.
LONGEST_PRESIGNED: Final = 604_800
# A session creates one client at a time.
_CREATING: Final = Lock()
_MISSING = {"404", "NoSuchKey", "NoSuchBucket", "NotFound"}


@dataclass(frozen=True)
class StoredObject:
    """An object as the store lists it: bytes, when it was written last, and the store's own mark of its content."""

    key: str
    size: int
    written_at: datetime
    etag: str = ""


@cache
def _share_session() -> boto3.session.Session:
    """Return the session of this process, which parses the description of S3 once: a tenth of a second."""
    return boto3.session.Session()


class ArtifactStore:
    """One bucket of an S3 server; thread-safe.

    Parameters
    ----------
    bucket
        Name of the bucket.
    endpoint_url
        Address of the server; None means Amazon's.
    access_key_id, secret_access_key
        Credentials; None leaves the search to boto3.
    """

    def __init__(
        self,
        bucket: str,
        endpoint_url: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
    ) -> None:
        self.bucket = bucket
        # Checksum trailers are refused by several S3 servers; digests are checked here anyway.
        config = Config(
            connect_timeout=5,
            read_timeout=60,
            retries={"max_attempts": 3, "mode": "standard"},
            s3={"addressing_style": "path" if endpoint_url else "auto"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            signature_version="s3v4",
        )
        with _CREATING:
            # Credentials that a session has found are its own for ever.
            session = _share_session() if access_key_id and secret_access_key else boto3.session.Session()
            self._client: Any = session.client(
                "s3",
                endpoint_url=endpoint_url,
                aws_access_key_id=access_key_id,
                aws_secret_access_key=secret_access_key,
                region_name=session.region_name or ("us-east-1" if endpoint_url else None),
                config=config,
            )

    def uri(self, key: str) -> str:
        """Name a key as `s3://bucket/key`."""
        return f"s3://{self.bucket}/{key}"

    def key(self, uri: str) -> str:
        """Return the key of a URI of this bucket.

        Raises
        ------
        ArtifactError
            If the URI points elsewhere.
        """
        prefix = self.uri("")
        if not uri.startswith(prefix):
            raise ArtifactError(f"{uri!r} is not in the bucket of this store; expected {prefix}...")
        return uri.removeprefix(prefix)

    def presign(self, key: str, *, seconds: int = LONGEST_PRESIGNED) -> str:
        """Return an address at which a browser finds an object, without credentials, for so long."""
        place = {"Bucket": self.bucket, "Key": key}
        return str(self._client.generate_presigned_url("get_object", Params=place, ExpiresIn=seconds))

    def ensure_bucket(self) -> None:
        """Create the bucket if missing."""
        with _translate_errors(self.uri("")):
            try:
                self._client.head_bucket(Bucket=self.bucket)
            except ClientError as error:
                if not _is_missing(error):
                    raise
                self._client.create_bucket(Bucket=self.bucket)

    def write_bytes(self, key: str, content: bytes) -> str:
        """Write one object whole and return its URI; an older one is replaced."""
        with _translate_errors(self.uri(key)):
            self._client.put_object(Bucket=self.bucket, Key=key, Body=content)
        return self.uri(key)

    def read_bytes(self, key: str) -> bytes:
        """Read one object.

        Raises
        ------
        ArtifactError
            If it is missing or the transfer is cut short.
        """
        with _translate_errors(self.uri(key)):
            content: bytes = self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return content

    def upload_file(self, key: str, path: Path) -> None:
        """Write a file of any size, in parts where it is large."""
        with _translate_errors(self.uri(key)):
            self._client.upload_file(str(path), self.bucket, key, Config=_PARTS)

    def download_file(self, key: str, path: Path) -> tuple[str, int]:
        """Fetch one object into a file and return the SHA-256 and the size of what came."""
        hasher = hashlib.sha256()
        with path.open("wb") as handle, _translate_errors(self.uri(key)):
            body = self._client.get_object(Bucket=self.bucket, Key=key)["Body"]
            for chunk in body.iter_chunks(_CHUNK_BYTES):
                hasher.update(chunk)
                handle.write(chunk)
            return hasher.hexdigest(), handle.tell()

    def delete_object(self, key: str) -> None:
        """Delete one object; one that is missing is no error."""
        with _translate_errors(self.uri(key)):
            self._client.delete_object(Bucket=self.bucket, Key=key)

    def exists(self, key: str) -> bool:
        """Tell whether an object exists under this key."""
        with _translate_errors(self.uri(key)):
            try:
                self._client.head_object(Bucket=self.bucket, Key=key)
            except ClientError as error:
                if not _is_missing(error):
                    raise
                return False
        return True

    def list_objects(self, prefix: str) -> list[StoredObject]:
        """List the objects whose keys start with a prefix, sorted by key."""
        with _translate_errors(self.uri(prefix)):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
            entries = [entry for page in pages for entry in page.get("Contents", ())]
        listed = [
            StoredObject(entry["Key"], entry["Size"], entry["LastModified"], entry.get("ETag", "").strip('"'))
            for entry in entries
        ]
        return sorted(listed, key=lambda stored: stored.key)

    def list_keys(self, prefix: str) -> list[str]:
        """List the keys that start with a prefix, sorted."""
        return [stored.key for stored in self.list_objects(prefix)]

    def delete_prefix(self, prefix: str) -> None:
        """Delete every object whose key starts with a prefix, a manifest first, so that no reader trusts the rest."""
        keys = sorted(self.list_keys(prefix), key=lambda key: not key.endswith(MANIFEST))
        with _translate_errors(self.uri(prefix)):
            for key in keys:
                self._client.delete_object(Bucket=self.bucket, Key=key)

    def write_directory(self, prefix: str, directory: Path) -> str:
        """Publish the files below a directory under a prefix and return its URI, which ends with a slash.

        Raises
        ------
        ArtifactError
            If there is no file to publish.
        """
        prefix = prefix.rstrip("/")
        paths = sorted(path for path in directory.rglob("*") if path.is_file() and path.name != MANIFEST)
        if not paths:
            raise ArtifactError(f"{directory} holds no file to publish")
        files: dict[str, dict[str, str | int]] = {}
        for path in paths:
            name = path.relative_to(directory).as_posix()
            with path.open("rb") as handle, _translate_errors(self.uri(f"{prefix}/{name}")):
                files[name] = {"sha256": hashlib.file_digest(handle, "sha256").hexdigest(), "size": handle.tell()}
                handle.seek(0)
                self._client.put_object(Bucket=self.bucket, Key=f"{prefix}/{name}", Body=handle)
        manifest = json.dumps({"files": files}, indent=1, sort_keys=True)
        self.write_bytes(f"{prefix}/{MANIFEST}", manifest.encode())
        return self.uri(f"{prefix}/")

    def read_directory(self, prefix: str, directory: Path, *, below: str = "") -> None:
        """Fetch a published directory; objects that its manifest does not name are left alone.

        Parameters
        ----------
        below
            Fetch only the files of this folder inside the directory, such as `data/recommender`.

        Raises
        ------
        ArtifactError
            If the manifest is missing, or a file is missing, truncated or altered. Files appear under their final
            name only after their digest was checked.
        """
        prefix = prefix.rstrip("/")
        for name, (digest, size) in self._read_manifest(prefix).items():
            if not PurePosixPath(name).is_relative_to(below):
                continue
            target = directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(target.name + ".partial")
            try:
                self._fetch(f"{prefix}/{name}", partial, digest=digest, size=size)
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)

    def _read_manifest(self, prefix: str) -> dict[str, tuple[str, int]]:
        uri = self.uri(f"{prefix}/{MANIFEST}")
        try:
            files = json.loads(self.read_bytes(f"{prefix}/{MANIFEST}"))["files"]
            entries = {str(name): (str(entry["sha256"]), int(entry["size"])) for name, entry in files.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(f"{uri} is not a manifest; publish the directory again") from error
        for name in entries:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise ArtifactError(f"{uri} names {name!r}, which lies outside the directory")
        return entries

    def _fetch(self, key: str, target: Path, *, digest: str, size: int) -> None:
        found, read = self.download_file(key, target)
        if read != size or found != digest:
            raise ArtifactError(
                f"{self.uri(key)} was truncated or altered: {read} of {size} bytes, digest {found[:12]} "
                f"instead of {digest[:12]}; publish the directory again"
            )


def _is_missing(error: ClientError) -> bool:
    return str(error.response.get("Error", {}).get("Code")) in _MISSING


@contextmanager
def _translate_errors(uri: str) -> Iterator[None]:
    """Turn what boto3 raises into the errors of the platform."""
    try:
        yield
    except (IncompleteReadError, ResponseStreamingError) as error:
        raise ArtifactError(f"{uri} was cut short on its way: {error}") from error
    except ClientError as error:
        if _is_missing(error):
            raise ArtifactError(f"{uri} does not exist") from error
        raise ServiceUnavailableError(f"S3 refused {uri}: {error}") from error
    except BotoCoreError as error:
        raise ServiceUnavailableError(f"S3 does not answer for {uri}: {error}") from error
