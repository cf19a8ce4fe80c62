"""Where backups lie: a folder, or a bucket under a prefix."""

import hashlib
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from recsys.exceptions import ArtifactError, ConfigurationError
from recsys.storage.artifacts import ArtifactStore

BACKUPS: Final = "backups"
OBJECTS: Final = "objects"
MANIFEST: Final = "manifest.json"
_CHUNK_BYTES: Final = 1 << 20


class Target(Protocol):
    """Files by name, with `/` between folders; a file appears under its name once it is whole."""

    def put(self, name: str, path: Path) -> None:
        """Store a file."""
        ...

    def fetch(self, name: str, path: Path) -> tuple[str, int]:
        """Fetch a file and return its SHA-256 and size; `ArtifactError` if it is missing."""
        ...

    def list_names(self, prefix: str) -> list[str]:
        """List the names that start with a prefix, sorted."""
        ...

    def delete(self, name: str) -> None:
        """Delete a file."""
        ...


class FolderTarget:
    """A folder of this machine, readable by its owner only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, path: Path) -> None:
        """Store a file; the folder is made if missing."""
        target = self._folder / name
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Two objects of one content are copied to one place, perhaps at once: each draft has a name of its own.
        with tempfile.NamedTemporaryFile(dir=target.parent, suffix=".partial", delete=False) as draft:
            try:
                with path.open("rb") as source:
                    shutil.copyfileobj(source, draft)
                draft.flush()
                Path(draft.name).replace(target)
            except BaseException:
                Path(draft.name).unlink(missing_ok=True)
                raise

    def fetch(self, name: str, path: Path) -> tuple[str, int]:
        """Copy a file out and return its SHA-256 and size."""
        hasher = hashlib.sha256()
        try:
            with (self._folder / name).open("rb") as source, path.open("wb") as copy:
                while chunk := source.read(_CHUNK_BYTES):
                    hasher.update(chunk)
                    copy.write(chunk)
                return hasher.hexdigest(), copy.tell()
        except FileNotFoundError:
            raise ArtifactError(f"{self._folder / name} does not exist") from None

    def list_names(self, prefix: str) -> list[str]:
        """List the files below a folder."""
        found = (path for path in (self._folder / prefix).rglob("*") if path.is_file() and path.suffix != ".partial")
        return sorted(path.relative_to(self._folder).as_posix() for path in found)

    def delete(self, name: str) -> None:
        """Delete a file, and its folder once that is empty."""
        path = self._folder / name
        path.unlink(missing_ok=True)
        if path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()


class BucketTarget:
    """A bucket below a prefix."""

    def __init__(self, store: ArtifactStore, prefix: str) -> None:
        self._store = store
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._is_ensured = False
        self._lock = threading.Lock()

    def put(self, name: str, path: Path) -> None:
        """Store a file; the bucket is made if missing."""
        with self._lock:
            if not self._is_ensured:
                self._store.ensure_bucket()
                self._is_ensured = True
        self._store.upload_file(self._prefix + name, path)

    def fetch(self, name: str, path: Path) -> tuple[str, int]:
        """Fetch an object and return its SHA-256 and size."""
        return self._store.download_file(self._prefix + name, path)

    def list_names(self, prefix: str) -> list[str]:
        """List the objects below a prefix; a bucket that does not exist holds none."""
        try:
            keys = self._store.list_keys(f"{self._prefix}{prefix}/")
        except ArtifactError:
            return []
        return [key.removeprefix(self._prefix) for key in keys]

    def delete(self, name: str) -> None:
        """Delete an object."""
        self._store.delete_object(self._prefix + name)


def open_target(place: str, open_bucket: Callable[[str], ArtifactStore], *, own_bucket: str) -> Target:
    """Reach where backups lie.

    Parameters
    ----------
    place
        A folder, or `s3://BUCKET/PREFIX`.
    open_bucket
        Gives the store of a bucket.
    own_bucket
        The bucket that is backed up, which cannot hold its own backups.

    Raises
    ------
    ConfigurationError
        If the place is of another kind, or the bucket that is backed up.
    """
    if "://" not in place:
        return FolderTarget(Path(place).expanduser().absolute())
    parts = urlsplit(place)
    if parts.scheme != "s3" or not parts.netloc:
        raise ConfigurationError(f"{place} is no place for backups; name a folder or s3://BUCKET/PREFIX")
    if parts.netloc == own_bucket:
        raise ConfigurationError(f"{place} lies in the bucket that is backed up; name another bucket")
    return BucketTarget(open_bucket(parts.netloc), parts.path)


def object_name(digest: str) -> str:
    """Name the file of an object by its digest."""
    return f"{OBJECTS}/{digest[:2]}/{digest}"


def list_backups(target: Target) -> list[str]:
    """List the complete backups by their times, oldest first."""
    names = (name.split("/") for name in target.list_names(BACKUPS))
    return sorted(parts[1] for parts in names if len(parts) == 3 and parts[2] == MANIFEST)
