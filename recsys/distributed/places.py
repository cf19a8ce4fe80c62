"""Where files of batch steps lie that all workers see: a folder, or a prefix of the bucket."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from recsys.connections import open_store
from recsys.exceptions import ArtifactError, ConfigurationError
from recsys.settings import Settings
from recsys.storage.artifacts import ArtifactStore


class Place(Protocol):
    """Holds files by name; a file is there whole or not at all."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file, in the place of one of that name."""
        ...

    def read(self, name: str) -> bytes:
        """Read a file.

        Raises
        ------
        ArtifactError
            If it is missing.
        """
        ...

    def list_names(self, prefix: str = "") -> list[str]:
        """List the files whose names begin so, in order."""
        ...

    def delete(self, prefix: str) -> None:
        """Delete the files whose names begin so; none is no error."""
        ...


@dataclass(frozen=True)
class Folder:
    """A folder that all workers see."""

    folder: Path

    def write(self, name: str, content: bytes) -> None:
        """Write beside the place and rename."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as handle:
            handle.write(content)
        Path(handle.name).replace(path)

    def read(self, name: str) -> bytes:
        """Read a file."""
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise ArtifactError(f"{name} cannot be read from {self.folder}: {error}") from error

    def list_names(self, prefix: str = "") -> list[str]:
        """List the files; what is being written is none yet."""
        files = (path for path in self.folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        return sorted(name for path in files if (name := path.relative_to(self.folder).as_posix()).startswith(prefix))

    def delete(self, prefix: str) -> None:
        """Delete files."""
        for name in self.list_names(prefix):
            (self.folder / name).unlink(missing_ok=True)


@dataclass(frozen=True)
class Bucket:
    """A prefix of the bucket."""

    store: ArtifactStore
    prefix: str

    def write(self, name: str, content: bytes) -> None:
        """Put an object."""
        self.store.write_bytes(f"{self.prefix}/{name}", content)

    def read(self, name: str) -> bytes:
        """Get an object."""
        return self.store.read_bytes(f"{self.prefix}/{name}")

    def list_names(self, prefix: str = "") -> list[str]:
        """List objects."""
        whole = f"{self.prefix}/{prefix}"
        return sorted(key.removeprefix(f"{self.prefix}/") for key in self.store.list_keys(whole))

    def delete(self, prefix: str) -> None:
        """Delete objects."""
        self.store.delete_prefix(f"{self.prefix}/{prefix}")


def open_place(settings: Settings | None, address: str) -> Place:
    """Open a place by its address, a folder or `s3://BUCKET/PREFIX`.

    Raises
    ------
    ConfigurationError
        If it is in another bucket than the platform's.
    """
    if not address.startswith("s3://"):
        return Folder(Path(address))
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    if settings is None or bucket != settings.s3_bucket or not prefix.strip("/"):
        known = "BUCKET" if settings is None else settings.s3_bucket
        raise ConfigurationError(f"{address!r} is no place of this platform: write s3://{known}/PREFIX, or a folder")
    return Bucket(open_store(settings), prefix.strip("/"))
