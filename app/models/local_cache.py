"""The last good model version on local disk, served when registry or object store are unavailable at start."""

import json
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from app.models.attempts import Attempts
from recsys.exceptions import ArtifactError
from recsys.storage.registry.versions import compute_directory_digest

logger = logging.getLogger(__name__)
_NOTE = "last_good.json"


@dataclass(frozen=True)
class LastGood:
    """The version that served last: its folder name and the digest of its files."""

    version: int
    run_id: str
    folder: str
    digest: str


class LocalModelCache:
    """A directory with the last served versions; without one, or if it is not writable, nothing is cached.

    Parameters
    ----------
    directory
        One per registered model, created on first use; instances on one machine may share it.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._notes: dict[int, LastGood] = {}
        self.attempts = Attempts(self._make_directory)

    @contextmanager
    def download_dir(self) -> Iterator[Path]:
        """Yield a download directory: the cache, or a temporary one."""
        directory = self._make_directory()
        if directory is not None:
            yield directory
        else:
            with tempfile.TemporaryDirectory(prefix="otaku-model-") as folder:
                yield Path(folder)

    def _make_directory(self) -> Path | None:
        if self._directory is None:
            return None
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._directory):
                return self._directory
        except OSError as error:
            logger.warning("models are not cached in %s: %s", self._directory, error)
            self._directory = None
            return None

    def record_last_good(self, version: int, run_id: str, folder: Path) -> None:
        """Record a downloaded version as good, and delete all but this one and its predecessor."""
        if self._directory is None or folder.parent != self._directory:
            return
        before = self._read_note()
        self._write_note(self._directory, LastGood(version, run_id, folder.name, compute_directory_digest(folder)))
        keep = {folder.name, before.folder if before else ""}
        for path in self._directory.glob("version-*"):
            if path.name not in keep:
                shutil.rmtree(path, ignore_errors=True)

    def is_last_good(self, folder: Path) -> bool:
        """Whether a folder holds, byte by byte, what served last."""
        note = self._read_note()
        return note is not None and note.folder == folder.name and note.digest == compute_directory_digest(folder)

    def mark_last_good(self, version: int) -> None:
        """Mark a version that serves again as the last good one, if its files are still here."""
        note = self._notes.get(version)
        if self._directory is not None and note is not None and (self._directory / note.folder).is_dir():
            self._write_note(self._directory, note)

    def _write_note(self, directory: Path, note: LastGood) -> None:
        self._notes[note.version] = note
        with tempfile.NamedTemporaryFile("w", dir=directory, delete=False) as handle:
            json.dump(asdict(note), handle)
        Path(handle.name).replace(directory / _NOTE)

    def load_last_good(self) -> tuple[LastGood, Path] | None:
        """Return the version that served last and its folder, verified by digest.

        Raises
        ------
        ArtifactError
            If its files were altered.
        """
        note = self._read_note()
        if self._directory is None or note is None:
            return None
        folder = self._directory / note.folder
        digest = compute_directory_digest(folder)
        if digest != note.digest:
            raise ArtifactError(f"{folder} was altered: its digest is {digest[:12]} instead of {note.digest[:12]}")
        self._notes[note.version] = note
        return note, folder

    def _read_note(self) -> LastGood | None:
        if self._directory is None:
            return None
        try:
            note = LastGood(**json.loads((self._directory / _NOTE).read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            logger.warning("%s in %s cannot be read: %s", _NOTE, self._directory, error)
            return None
        return note if re.fullmatch(r"version-\d+", str(note.folder)) else None
