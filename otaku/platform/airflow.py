"""The local Airflow: metadata in PostgreSQL, tasks on this machine, its interface on the loopback interface."""

import base64
import hashlib
import hmac
import json
import os
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import HttpUrl, SecretStr

from otaku.platform import airflow_server, object_store, postgres, tracking
from otaku.platform.environment import settings_environment
from otaku.platform.part import Part, Site
from otaku.platform.state import Credentials, read_credentials, read_state
from otaku.platform.supervisor import Service
from recsys.exceptions import ConfigurationError, RecsysError
from recsys.settings import Settings

if TYPE_CHECKING:
    from otaku.platform.airflow_client import AirflowClient

NAME = "airflow"
DATABASE = "airflow"
USER = "admin"
_PARTS_OF_AIRFLOW = ("metadatabase", "scheduler", "dag_processor", "triggerer")


def find_dags() -> Path:
    """Find the folder with the DAG files: beside the packages in a checkout, in the environment in an image.

    Raises
    ------
    ConfigurationError
        There is none, because only the packages were installed.
    """
    places = (Path(__file__).resolve().parents[2] / "dags", Path(sys.prefix) / "dags")
    for place in places:
        if place.is_dir():
            return place
    raise ConfigurationError(f"no DAG files in {' or '.join(map(str, places))}; run from a checkout of the repository")


def password_file(home: Path) -> Path:
    """Return the file with the password of the web interface."""
    return home / NAME / "passwords.json"


def read_password(home: Path) -> str:
    """Read the password of the user `admin`, generated at the first call."""
    path = password_file(home)
    if not path.exists():
        rotate_password(home)
    return str(json.loads(path.read_bytes())[USER])


def rotate_password(home: Path) -> None:
    """Generate a new password; the next login needs it, tokens that were given out stay valid until they expire."""
    path = password_file(home)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({USER: secrets.token_urlsafe(12)}, file)
    draft.replace(path)


def read_start_date(home: Path) -> date:
    """Read the first day with scheduled runs where no setting names one: that of the first start of this Airflow.

    Raises
    ------
    ConfigurationError
        The file that keeps it holds no day.
    """
    path = home / NAME / "start_date"
    if not path.exists():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        draft = path.with_suffix(".new")
        draft.write_text(datetime.now(UTC).date().isoformat())
        draft.replace(path)
    try:
        return date.fromisoformat(path.read_text().strip())
    except ValueError as error:
        raise ConfigurationError(f"{path} holds no day such as 2026-01-05: {error}") from None


def environment_of(site: Site, port: int, *, clock: bool = True) -> dict[str, str]:
    """Configure Airflow, and give its tasks the services of the platform.

    Parameters
    ----------
    clock
        False leaves the schedules out: runs come from backfills and triggers only.
    """
    url = f"http://127.0.0.1:{port}"
    sections: dict[str, Mapping[str, object]] = {
        "core": {
            "executor": "LocalExecutor",
            "parallelism": max(2, (os.cpu_count() or 2) // 2),
            "dags_folder": find_dags(),
            "plugins_folder": find_dags().parent / "plugins",
            "load_examples": False,
            "dags_are_paused_at_creation": False,
            "execution_api_server_url": f"{url}/execution/",
            "fernet_key": _derive(site.credentials, "fernet"),
            "simple_auth_manager_users": f"{USER}:admin",
            "simple_auth_manager_passwords_file": password_file(site.home),
        },
        # Nothing here asks for the asynchronous engine, and its driver is not part of the platform.
        "database": {"sql_alchemy_conn": _metadata_url(site), "sql_alchemy_conn_async": ""},
        "api": {"host": "127.0.0.1", "port": port, "base_url": url, "secret_key": _derive(site.credentials, "api")},
        "api_auth": {"jwt_secret": _derive(site.credentials, "jwt")},
        # A task survives minutes without the API server; a task that was killed is noticed within one.
        "workers": {"max_failed_heartbeats": 20},
        "scheduler": {"task_instance_heartbeat_timeout": 60, "use_job_schedule": clock},
        "dag_processor": {"refresh_interval": 30},
        "usage_data_collection": {"enabled": False},
        "openlineage": configure_lineage(site.settings),
    }
    options = {
        f"AIRFLOW__{section}__{name}".upper(): str(value)
        for section, values in sections.items()
        for name, value in values.items()
    }
    first_day = site.settings.start_date or read_start_date(site.home)
    start = {"OTAKU_START_DATE": first_day.isoformat()} if clock else {}
    home = {"AIRFLOW_HOME": str(site.home / NAME), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2")}
    return {**settings_environment(site.settings), **options, **start, **home}


def configure_lineage(settings: Settings) -> dict[str, object]:
    """Configure OpenLineage to append its events to the file of the setting; without one it is off."""
    if settings.lineage_file is None:
        return {"disabled": True}
    place = str(settings.lineage_file.expanduser().absolute())
    return {
        "transport": json.dumps({"type": "file", "log_file_path": place, "append": True}),
        "extractors": "otaku_lineage.JobExtractor",
        "namespace": "otaku",
        "disable_source_code": True,
    }


def problem_of(url: str) -> str | None:
    """Describe in one line why an Airflow is unhealthy; None if all its components are healthy."""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/api/v2/monitor/health", timeout=5) as response:  # noqa: S310
            health = json.load(response)
    except (urllib.error.URLError, OSError, ValueError) as error:
        return str(getattr(error, "reason", error))
    unhealthy = [name for name in _PARTS_OF_AIRFLOW if (health.get(name) or {}).get("status") != "healthy"]
    return f"{', '.join(unhealthy)} not healthy" if unhealthy else None


def make_part(*, clock: bool = True) -> Part:
    """Describe Airflow as a service of the platform; `clock` as in `environment_of`."""

    def describe(site: Site, port: int) -> Service:
        read_password(site.home)
        url = f"http://127.0.0.1:{port}"
        return Service(
            name=NAME,
            command=(sys.executable, "-P", airflow_server.__file__, str(port)),
            url=url,
            is_ready=lambda: problem_of(url) is None,
            environment=environment_of(site, port, clock=clock),
            grace=30.0,
            timeout=600.0,
        )

    return Part(
        *(NAME, "OTAKU_AIRFLOW_URL", "airflow_url", describe, _fill, _problem),
        needs=(postgres.NAME, object_store.NAME, tracking.NAME),
    )


def is_there(settings: Settings) -> bool:
    """Whether an Airflow runs in the home, or the settings name one."""
    home = settings.home.expanduser().absolute()
    return settings.airflow_url is not None or any(entry.name == NAME for entry in read_state(home).services)


def list_parts(settings: Settings) -> tuple[Part, ...]:
    """List the parts of the platform that the settings describe: with Airflow, if it runs or is named."""
    from otaku.platform.local import PARTS

    return (*PARTS, PART) if is_there(settings) else PARTS


def commands_environment(settings: Settings) -> dict[str, str]:
    """Return what the command `airflow` needs to work with the Airflow of this home.

    Parameters
    ----------
    settings
        Complete, as `LocalPlatform.settings` returns them.

    Raises
    ------
    ConfigurationError
        The settings name another Airflow, or none has been started here.
    """
    home = settings.home.expanduser().absolute()
    port = read_state(home).ports.get(NAME)
    if port is None or str(settings.airflow_url or "").rstrip("/") != f"http://127.0.0.1:{port}":
        raise ConfigurationError(
            f"no Airflow of this platform runs in {home}; run otaku up, or use yours by its own CLI"
        )
    site = Site(home, settings, read_credentials(home, create=False))
    names = environment_of(site, port, clock=False)
    return {name: value for name, value in names.items() if name.startswith("AIRFLOW_")}


def restore_pool(settings: Settings) -> bool:
    """Create the pool of the training tasks if it was deleted; return whether that was so."""
    with _log_in(settings) as client:
        if client.has_pool(airflow_server.TRAINING_POOL):
            return False
        client.create_pool(airflow_server.TRAINING_POOL, 1, airflow_server.POOL_DESCRIPTION)
    return True


def _log_in(settings: Settings) -> "AirflowClient":
    from otaku.platform.airflow_client import AirflowClient

    return AirflowClient(str(settings.airflow_url), USER, read_password(settings.home.expanduser().absolute()))


def add_login(settings: Settings) -> Settings:
    """Name the Airflow of the local platform and its user, if it runs and no other one is set."""
    home = settings.home.expanduser().absolute()
    running = [entry for entry in read_state(home).services if entry.name == NAME]
    if settings.airflow_url is not None or not running or not running[0].url:
        return settings
    login = {"airflow_user": USER, "airflow_password": SecretStr(read_password(home))}
    return settings.model_copy(update={"airflow_url": HttpUrl(running[0].url), **login})


def _fill(_site: Site, port: int) -> dict[str, object]:
    return {"airflow_url": HttpUrl(f"http://127.0.0.1:{port}")}


def _problem(settings: Settings) -> str | None:
    if settings.airflow_url is None:
        return "not set"
    return problem_of(str(settings.airflow_url)) or _problem_of_pool(settings)


def _problem_of_pool(settings: Settings) -> str | None:
    """Say that training tasks would wait for ever; of an Airflow of the user's, nothing is known."""
    port = read_state(settings.home.expanduser().absolute()).ports.get(NAME)
    if str(settings.airflow_url).rstrip("/") != f"http://127.0.0.1:{port}":
        return None
    try:
        with _log_in(settings) as client:
            there = client.has_pool(airflow_server.TRAINING_POOL)
    except RecsysError as error:
        return str(error)
    return None if there else f"the pool {airflow_server.TRAINING_POOL} is missing; otaku up restores it"


def _metadata_url(site: Site) -> str:
    """Name the metadata database: one of its own on our server; on an outside one we may not create any."""
    given = site.settings.require_database_url()
    if not given.startswith(f"postgresql://{postgres.USER}:{site.credentials.database_password}@"):
        return f"sqlite:///{site.home / NAME / 'airflow.db'}"
    postgres.create_database(given, DATABASE)
    return postgres.sibling_database(given, DATABASE).replace("postgresql://", "postgresql+psycopg2://")


def _derive(credentials: Credentials, purpose: str) -> str:
    """Derive a key of 32 bytes from the password of the home, so that there is one secret to keep, not five."""
    digest = hmac.digest(credentials.database_password.encode(), f"airflow {purpose}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode()


PART = make_part()
