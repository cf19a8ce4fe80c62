"""Which version is being loaded, written down before it is: what a process that ended meanwhile leaves behind."""

import json
import logging
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)
MAX_ATTEMPTS: Final = 3
_NAME: Final = re.compile(r"loading-(\d{1,10})\.json")


@dataclass(frozen=True)
class Attempt:
    """A version that is being loaded, and for the how-manieth time in a row without an end."""

    version: int
    digest: str
    number: int


class Attempts:
    """Notes of the attempts of this process, and of processes that ended in the middle of one.

    Parameters
    ----------
    get_directory
        Where notes lie; None where nothing can be written, so that nothing is noted. Instances on one machine may share
        it: each note carries the id of its process.
    """

    def __init__(self, get_directory: Callable[[], Path | None]) -> None:
        self._get_directory = get_directory
        self._own: Path | None = None

    def count_ended(self, version: int, digest: str) -> int:
        """Count how often in a row a process ended while it loaded these bytes."""
        return max(
            (note.number for _, note in self._list_left() if (note.version, note.digest) == (version, digest)),
            default=0,
        )

    def begin(self, version: int, digest: str) -> None:
        """Note that a version is about to be loaded; a full disk prevents no attempt."""
        directory = self._get_directory()
        if directory is None:
            return
        note = Attempt(version, digest, self.count_ended(version, digest) + 1)
        for path, _ in self._list_left():
            path.unlink(missing_ok=True)
        self._own = directory / f"loading-{os.getpid()}.json"
        try:
            with self._own.open("w") as handle:
                json.dump(asdict(note), handle)
                handle.flush()
                os.fsync(handle.fileno())
        except OSError as error:
            logger.warning("that version %d is being loaded cannot be noted: %s", version, error)

    def end(self) -> None:
        """Note that the attempt of this process has ended, well or not."""
        if self._own is not None:
            with suppress(OSError):
                self._own.unlink(missing_ok=True)
            self._own = None

    def _list_left(self) -> list[tuple[Path, Attempt]]:
        """List the notes that no living process will remove; those of an earlier process of this id are among them."""
        directory = self._get_directory()
        left = []
        for path in directory.glob("loading-*.json") if directory is not None else ():
            name = _NAME.fullmatch(path.name)
            if name is None or path == self._own or _is_another_process(int(name[1])):
                continue
            with suppress(OSError, ValueError, KeyError, TypeError):
                told = json.loads(path.read_text())
                left.append((path, Attempt(int(told["version"]), str(told["digest"]), int(told["number"]))))
        return left


def _is_another_process(process_id: int) -> bool:
    if process_id == os.getpid():
        return False
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
