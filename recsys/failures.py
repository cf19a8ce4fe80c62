"""The cause of a failure that lies in the machine: a full disk, missing rights, too little memory."""

import errno
from collections.abc import Iterator
from typing import Final

from recsys.exceptions import MachineError

_DISK_FULL: Final = "the disk is full"
_NO_MEMORY: Final = "there is not enough memory"
_NO_RIGHTS: Final = "permission denied"
_REMEDIES: Final = {
    _DISK_FULL: "free some space and run it again",
    _NO_MEMORY: "end other programs, or use a larger machine, and run it again",
    _NO_RIGHTS: "give this user the right and run it again",
}
_ERRNO: Final = {
    errno.ENOSPC: _DISK_FULL,
    errno.EDQUOT: _DISK_FULL,
    errno.ENOMEM: _NO_MEMORY,
    errno.EACCES: _NO_RIGHTS,
    errno.EPERM: _NO_RIGHTS,
    errno.EROFS: _NO_RIGHTS,
}
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_SQLSTATE: Final = {"53100": _DISK_FULL, "53200": _NO_MEMORY, "42501": _NO_RIGHTS}
# How servers word it that hand on what their own system said.
_WORDS: Final = {"no space left on device": _DISK_FULL, "disk quota exceeded": _DISK_FULL}


def find_machine_error(error: BaseException) -> MachineError | None:
    """Find in an error, or in what led to it, that the machine was the cause; None if it was not.

    The sentence names the cause, the place where it is known, and a remedy.
    """
    for found in _walk(error):
        if isinstance(found, MachineError):
            return found
        cause, where = _explain(found)
        if cause is not None:
            return MachineError(f"{cause}{f': {where}' if where else ''}; {_REMEDIES[cause]}")
    return None


def _walk(error: BaseException) -> Iterator[BaseException]:
    """Walk from an error to what led to it, as a traceback does: what `from None` hides, led to something else."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _explain(error: BaseException) -> tuple[str | None, str]:
    """Return cause and place, without the statement that failed or its values."""
    first = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, MemoryError):
        return _NO_MEMORY, first
    if isinstance(error, OSError) and error.errno in _ERRNO:
        return _ERRNO[error.errno], str(error.filename or "")
    state = getattr(getattr(error, "orig", error), "pgcode", None)
    if state in _SQLSTATE:
        said = str(getattr(error, "orig", error)).strip().splitlines()[0]
        return _SQLSTATE[state], f"PostgreSQL says {said!r}"
    cause = next((cause for words, cause in _WORDS.items() if words in str(error).lower()), None)
    return cause, ""
