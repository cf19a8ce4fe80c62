"""The platform as one thing: brings what no setting names, in order, and hands out where everything is."""

import logging
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import SecretStr

from otaku.platform import object_store, postgres, tracking
from otaku.platform.outside import check_outside_services
from otaku.platform.state import State, locked, prepare_home, read_credentials, read_state, write_state
from otaku.platform.supervisor import Running, Service, free_port, is_running, start, stop, wait_until_ready
from recsys.exceptions import ServiceUnavailableError
from recsys.settings import Settings

logger = logging.getLogger(__name__)

_START_ATTEMPTS = 3


class LocalPlatform:
    """PostgreSQL, S3 and MLflow under one home, each unless a setting names an outside one.

    As a context manager the services end with the block and with the process; `bring_up(detached=True)` leaves them
    running until `take_down`.

    Parameters
    ----------
    settings
        The ones the user gave; `settings()` returns them with the gaps filled.
    durable
        False skips flushing to disk, for data that are thrown away.
    """

    def __init__(self, settings: Settings, *, durable: bool = True) -> None:
        self.given = settings
        self.home = settings.home.expanduser().absolute()
        self._durable = durable
        self._ready: set[str] = set()
        self._owner = 0
        self._marker = ""

    def __enter__(self) -> Self:
        """Bring the services up; they end with the block."""
        try:
            self.bring_up()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what the block started."""
        self._leave()

    @property
    def wanted(self) -> tuple[str, ...]:
        """The services that no setting names, in the order of their start."""
        given = {
            object_store.NAME: self.given.s3_endpoint_url,
            postgres.NAME: self.given.database_url,
            tracking.NAME: self.given.mlflow_tracking_uri,
        }
        return tuple(name for name, value in given.items() if value is None)

    def bring_up(self, *, detached: bool = False, on_ready: Callable[[str], None] | None = None) -> bool:
        """Start the services that do not run yet and wait until each answers.

        Parameters
        ----------
        detached
            True leaves them running when this process ends.
        on_ready
            Called with the name of each service as it answers.

        Returns
        -------
        bool
            False if all of them ran already.

        Raises
        ------
        ServiceUnavailableError
            A service did not start, or an outside one does not answer; what was started here is stopped again.
        """
        self.home = prepare_home(self.given.home)
        check_outside_services(self.given)
        self._owner = 0 if detached else os.getpid()
        self._marker = secrets.token_hex(8)
        report = on_ready or (lambda name: logger.info("%s answers", name))
        with locked(self.home):
            before = {entry.name: entry for entry in self.running()}
            missing = [name for name in self.wanted if name not in before]
            try:
                self._start_missing(missing, report)
            except BaseException:
                self._stop_named(set(self._state_names()) - set(before))
                raise
        return bool(missing)

    def take_down(self) -> list[str]:
        """Stop everything that runs in this home; return the names. Nothing running is no error."""
        if not self.home.is_dir():
            return []
        with locked(self.home):
            return self._stop_named(set(self._state_names()))

    def running(self) -> list[Running]:
        """List the services of this home whose process is alive."""
        return [entry for entry in read_state(self.home).services if is_running(entry)]

    def problems(self) -> dict[str, str | None]:
        """Ask each service of the resolved settings; None where it answers, else why not."""
        settings = self.settings()
        url = settings.database_url.get_secret_value() if settings.database_url else ""
        return {
            postgres.NAME: postgres.problem_of(url),
            object_store.NAME: object_store.problem_of_settings(settings),
            tracking.NAME: tracking.problem_of(settings.mlflow_tracking_uri or ""),
        }

    def settings(self) -> Settings:
        """Fill the gaps of the given settings with the services that run here.

        Raises
        ------
        ServiceUnavailableError
            A service that no setting names does not run.
        """
        ports = read_state(self.home).ports
        alive = {entry.name: entry.url for entry in self.running()}
        absent = [name for name in self.wanted if name not in alive]
        if absent:
            raise ServiceUnavailableError(f"{', '.join(absent)} not running in {self.home}; run otaku up")
        filled: dict[str, object] = {"home": self.home}
        if postgres.NAME in alive or object_store.NAME in alive:
            credentials = read_credentials(self.home, create=False)
            if self.given.database_url is None:
                url = postgres.database_url(credentials.database_password, ports[postgres.NAME])
                filled["database_url"] = SecretStr(url)
            if self.given.s3_endpoint_url is None:
                filled["s3_endpoint_url"] = alive[object_store.NAME]
                filled["aws_access_key_id"] = SecretStr(credentials.access_key_id)
                filled["aws_secret_access_key"] = SecretStr(credentials.secret_access_key)
        if self.given.mlflow_tracking_uri is None:
            filled["mlflow_tracking_uri"] = alive[tracking.NAME]
        return self.given.model_copy(update=filled)

    def environment(self) -> dict[str, str]:
        """Name the services for child processes."""
        return settings_environment(self.settings())

    def _start_missing(self, missing: list[str], report: Callable[[str], None]) -> None:
        # S3 starts while PostgreSQL is created; MLflow needs both.
        first = [name for name in missing if name != tracking.NAME]
        self._start_together(first, report)
        if tracking.NAME in missing:
            self._start_together([tracking.NAME], report)

    def _start_together(self, names: list[str], report: Callable[[str], None]) -> None:
        started = {name: self._launch(name) for name in names}
        for name, (service, running) in started.items():
            for attempt in range(1, _START_ATTEMPTS + 1):
                try:
                    wait_until_ready(service, running, self._log(name))
                    break
                except ServiceUnavailableError:
                    # Somebody may have taken the port between our choice and the start.
                    if attempt == _START_ATTEMPTS or is_running(running):
                        raise
                    service, running = self._launch(name, new_port=True)
            self._after_start(name)
            report(name)

    def _launch(self, name: str, *, new_port: bool = False) -> tuple[Service, Running]:
        state = read_state(self.home)
        port = free_port(None if new_port else state.ports.get(name))
        service = self._describe(name, port)
        running = start(service, self._log(name), marker=self._marker, owner=self._owner)
        others = tuple(entry for entry in state.services if entry.name != name)
        write_state(self.home, State((*others, running), {**state.ports, name: port}))
        return service, running

    def _describe(self, name: str, port: int) -> Service:
        credentials = read_credentials(self.home)
        if name == object_store.NAME:
            object_store.prepare(self.home, self.given.s3_bucket)
            return object_store.service(self.home, credentials, port)
        if name == postgres.NAME:
            postgres.prepare(self.home, credentials.database_password)
            return postgres.service(self.home, credentials.database_password, port, durable=self._durable)
        return self._describe_tracking(port)

    def _describe_tracking(self, port: int) -> Service:
        """MLflow stands on the two others, wherever they are."""
        stand_in = self.given.model_copy(update={"mlflow_tracking_uri": f"http://127.0.0.1:{port}"})
        settings = LocalPlatform(stand_in).settings()
        url = settings.database_url.get_secret_value() if settings.database_url else ""
        if self.given.database_url is None:
            url = url.rpartition("/")[0] + f"/{tracking.DATABASE}"
        return tracking.service(url, settings.s3_bucket, port, settings_environment(settings))

    def _after_start(self, name: str) -> None:
        if name == postgres.NAME:
            password, port = read_credentials(self.home).database_password, read_state(self.home).ports[name]
            for database in (postgres.USER, tracking.DATABASE):
                postgres.create_database(postgres.database_url(password, port, "postgres"), database)

    def _state_names(self) -> list[str]:
        return [entry.name for entry in read_state(self.home).services]

    def _stop_named(self, names: set[str]) -> list[str]:
        state = read_state(self.home)
        leaving = [entry for entry in state.services if entry.name in names]
        # What stands on the others goes first, so that nobody loses its database under its feet.
        last = [entry for entry in leaving if entry.name != tracking.NAME]
        stop([entry for entry in leaving if entry.name == tracking.NAME])
        stop(last)
        write_state(self.home, State(tuple(e for e in state.services if e.name not in names), state.ports))
        return [entry.name for entry in leaving]

    def _leave(self) -> None:
        if self.home.is_dir():
            with locked(self.home):
                own = {entry.name for entry in read_state(self.home).services if entry.marker == self._marker}
                self._stop_named(own)

    def _log(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"


def settings_environment(settings: Settings) -> dict[str, str]:
    """Express the settings as environment variables, under the names that each service's own clients read."""

    def secret(value: SecretStr | None) -> str | None:
        return value.get_secret_value() if value else None

    named: Mapping[str, str | None] = {
        "OTAKU_HOME": str(settings.home),
        "OTAKU_DATABASE_URL": secret(settings.database_url),
        "OTAKU_S3_ENDPOINT_URL": str(settings.s3_endpoint_url).rstrip("/") if settings.s3_endpoint_url else None,
        "OTAKU_S3_BUCKET": settings.s3_bucket,
        "AWS_ACCESS_KEY_ID": secret(settings.aws_access_key_id),
        "AWS_SECRET_ACCESS_KEY": secret(settings.aws_secret_access_key),
        "AWS_DEFAULT_REGION": os.environ.get("AWS_DEFAULT_REGION", object_store.REGION),
        "MLFLOW_S3_ENDPOINT_URL": str(settings.s3_endpoint_url).rstrip("/") if settings.s3_endpoint_url else None,
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    return {name: value for name, value in named.items() if value}
