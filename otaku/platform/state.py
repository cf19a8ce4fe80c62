"""What the platform remembers in its home: who runs where, and the generated credentials."""

import errno
import fcntl
import json
import logging
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from otaku.platform.supervisor import Running
from recsys.exceptions import ConfigurationError, ServiceUnavailableError

logger = logging.getLogger(__name__)

_VERSION = 1
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Credentials:
    """Generated once per home and kept: the database and the objects in it are locked with them."""

    database_password: str
    access_key_id: str
    secret_access_key: str


@dataclass(frozen=True)
class State:
    """The services that were started, and the ports they had, so that a restart keeps the URLs."""

    services: tuple[Running, ...] = ()
    ports: dict[str, int] = field(default_factory=dict)


def prepare_home(home: Path) -> Path:
    """Create the home, readable by its owner only; return its absolute path.

    Raises
    ------
    ConfigurationError
        It cannot be created or written, or is not the user's own: whoever owns it could replace what is in it. A link
        to a folder of the user's is followed, but its mode is not changed.
    """
    home = home.expanduser().absolute()
    try:
        home.mkdir(parents=True, exist_ok=True)
        found = home.stat()
        if found.st_uid != os.geteuid():
            raise ConfigurationError(f"OTAKU_HOME={home} belongs to another user; choose a folder of yours")
        if not home.is_symlink():
            _make_private(home)
        elif found.st_mode & 0o077:
            raise ConfigurationError(f"OTAKU_HOME={home} is a link to a folder that others may read; chmod 700 it")
        (home / "logs").mkdir(exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"OTAKU_HOME={home} cannot be used ({error.strerror}); choose a folder of yours"
        ) from None
    return home


def _make_private(directory: Path) -> None:
    """Change the mode of a directory, and of nothing that is put in its place meanwhile."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)


@contextmanager
def locked(home: Path, *, timeout: float = 120.0) -> Iterator[None]:
    """Lock the home exclusively; the kernel frees the lock when its holder dies, so it is never stale.

    Raises
    ------
    ServiceUnavailableError
        Another `otaku` holds it for longer than `timeout` seconds.
    """
    with (home / "lock").open("a+") as lock:
        try:
            for attempt in Retrying(
                retry=retry_if_exception_type(BlockingIOError),
                stop=stop_after_delay(timeout),
                wait=wait_fixed(_POLL_SECONDS),
                reraise=True,
            ):
                with attempt:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServiceUnavailableError(
                f"another otaku command is starting or stopping the platform in {home}; wait for it to end"
            ) from None
        yield


def read_state(home: Path) -> State:
    """Read the running services; a missing, truncated or foreign file means none, and is put aside."""
    path = home / "state.json"
    try:
        content = json.loads(_read_own(path))
        _check_version(content["version"])
        return State(tuple(Running(**entry) for entry in content["services"]), dict(content["ports"]))
    except FileNotFoundError:
        return State()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("%s cannot be read (%s): put aside as state.json.broken, starting afresh", path, error)
        path.replace(path.with_suffix(".json.broken"))
        return State()


def _check_version(found: object) -> None:
    if found != _VERSION:
        raise ValueError(f"version {found}")


def write_state(home: Path, state: State) -> None:
    """Replace the state in one step: a reader sees the old or the new one, never half of it."""
    content = {"version": _VERSION, "services": [asdict(entry) for entry in state.services], "ports": state.ports}
    _write_private(home / "state.json", content)


def read_credentials(home: Path, *, create: bool = True) -> Credentials:
    """Read the credentials, generated at the first call.

    Raises
    ------
    ConfigurationError
        The file is damaged; new credentials would lock the owner out of the existing data.
    """
    path = home / "credentials.json"
    try:
        return Credentials(**json.loads(_read_own(path)))
    except FileNotFoundError:
        if not create:
            raise ConfigurationError(f"{path} is missing; run otaku up") from None
    except (ValueError, TypeError):
        raise ConfigurationError(
            f"{path} is damaged; restore it, or delete {home} to start without the data in it"
        ) from None
    # The S3 server refuses short access key ids.
    credentials = Credentials(secrets.token_urlsafe(24), f"otaku{secrets.token_hex(8)}", secrets.token_urlsafe(30))
    _write_private(path, asdict(credentials))
    return credentials


def _read_own(path: Path) -> bytes:
    """Read a file that only the user may have written; what it says decides which processes are signalled.

    Raises
    ------
    ConfigurationError
        If it is a link, or another user's.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ConfigurationError(f"{path} is a link and is not followed; remove it") from None
        raise
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid() or not stat.S_ISREG(found.st_mode):
            raise ConfigurationError(f"{path} is no file of yours and is not read; remove it")
        return file.read()


def _write_private(path: Path, content: dict[str, Any]) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(content, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
