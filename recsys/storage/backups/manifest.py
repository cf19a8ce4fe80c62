"""What a backup holds, and what must be true of the platform once it is restored."""

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from recsys.exceptions import ArtifactError
from recsys.storage.backups.targets import BACKUPS, MANIFEST, Target

FORMAT: Final = 1
TABLES_DUMP: Final = "otaku.dump"
REGISTRY_DUMP: Final = "registry.dump"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"\d{8}T\d{6}Z")


@dataclass(frozen=True)
class StoredFile:
    """A dump or an object: its SHA-256, its bytes, and the mark by which S3 knows its content."""

    sha256: str
    size: int
    etag: str = ""


@dataclass(frozen=True)
class Manifest:
    """A backup.

    Parameters
    ----------
    name
        Its time in UTC, such as `20261129T031500Z`.
    release
        The version of this code that made it.
    migration, registry_migration
        Of the tables of schema `otaku`, and of MLflow's.
    production_version
        By the ledger; None while nothing was promoted.
    counts, registry_counts
        Rows by table.
    dumps
        By name of the file.
    objects
        By key in the bucket.
    """

    name: str
    release: str
    bucket: str
    model_name: str
    migration: str
    registry_migration: str | None
    production_version: int | None
    counts: Mapping[str, int]
    registry_counts: Mapping[str, int]
    dumps: Mapping[str, StoredFile]
    objects: Mapping[str, StoredFile]
    format: int = FORMAT

    @property
    def n_bytes(self) -> int:
        """Bytes of dumps and objects, each object counted once."""
        unique = {entry.sha256: entry.size for entry in self.objects.values()}
        return sum(entry.size for entry in self.dumps.values()) + sum(unique.values())

    def write(self, target: Target, folder: Path) -> None:
        """Store it, by which the backup is complete."""
        path = folder / MANIFEST
        path.write_text(json.dumps(asdict(self), indent=1, sort_keys=True), encoding="utf-8")
        target.put(f"{BACKUPS}/{self.name}/{MANIFEST}", path)


def read_manifest(target: Target, name: str) -> Manifest:
    """Read a backup by its time.

    Raises
    ------
    ArtifactError
        If there is no such backup, or it is of another format or damaged.
    """
    if not _NAME.fullmatch(name):
        raise ArtifactError(f"{name!r} names no backup; `otaku backup PLACE --list` shows them")
    with tempfile.TemporaryDirectory(prefix="otaku-backup-") as folder:
        path = Path(folder) / MANIFEST
        target.fetch(f"{BACKUPS}/{name}/{MANIFEST}", path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise ArtifactError(f"backup {name} has format {content['format']}, this release reads {FORMAT}")
            dumps, objects = _read_files(content.pop("dumps")), _read_files(content.pop("objects"))
            return Manifest(**content, dumps=dumps, objects=objects)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(f"the manifest of backup {name} is damaged: {error}") from error


def _read_files(content: Mapping[str, Any]) -> dict[str, StoredFile]:
    files = {str(key): StoredFile(**entry) for key, entry in content.items()}
    for key, entry in files.items():
        if not _DIGEST.fullmatch(entry.sha256):
            raise ValueError(f"{key} has no digest")
    return files


def check_file(name: str, expected: StoredFile, digest: str, size: int) -> None:
    """Refuse a file that is not what the manifest names; raises `ArtifactError`."""
    if (digest, size) != (expected.sha256, expected.size):
        raise ArtifactError(
            f"{name} of the backup was truncated or altered: {size} of {expected.size} bytes; take an earlier backup"
        )
