"""The local platform: start the services that no setting names, in order, and provide their addresses."""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from otaku.platform import object_store, postgres, tracking
from otaku.platform.environment import settings_environment
from otaku.platform.part import Part, Site
from otaku.platform.state import State, locked, prepare_home, read_credentials, read_state, write_state
from otaku.platform.supervisor import (
    Running,
    Service,
    free_port,
    is_running,
    keep_running,
    require_space,
    start,
    stop,
    stop_orphans,
    wait_until_ready,
)
from recsys.exceptions import ConfigurationError, ServiceUnavailableError
from recsys.settings import Settings

logger = logging.getLogger(__name__)

# S3 first: it starts while PostgreSQL creates its data.
PARTS = (object_store.PART, postgres.PART, tracking.PART)
_START_ATTEMPTS = 3


@dataclass(frozen=True)
class Health:
    """How a service is: `problem` is None when it answers; an outside one is shown by the setting that names it."""

    name: str
    variable: str
    url: str | None
    pid: int | None
    outside: bool
    problem: str | None

    @property
    def healthy(self) -> bool:
        """Whether it answers."""
        return self.problem is None


class LocalPlatform:
    """The services under one home, each unless a setting names an outside one.

    As a context manager the services end with the block, and with the process whatever ends that;
    `bring_up(detached=True)` leaves them running until `take_down`.

    Parameters
    ----------
    given
        The settings of the user; `settings()` returns them with the gaps filled.
    durable
        False skips flushing to disk, for data that are thrown away.
    parts
        The services, each after the ones it needs.
    """

    def __init__(self, given: Settings, *, durable: bool = True, parts: Sequence[Part] = PARTS) -> None:
        self.given = given
        self.parts = tuple(parts)
        self.home = given.home.expanduser().absolute()
        self._durable = durable
        self._started: set[str] = set()

    def __enter__(self) -> Self:
        """Bring the services up; they end with the block."""
        self.bring_up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what the block started."""
        with locked(self.home):
            self._stop(self._started)

    def bring_up(self, *, detached: bool = False, on_ready: Callable[[str], None] = lambda _name: None) -> bool:
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
        with locked(self.home):
            self._check_outside()
            running = self.running()
            if stop_orphans(self.home, keep=running, logs=self._logs()):
                logger.warning("stopped orphan processes of an interrupted command in %s", self.home)
            names = {entry.name for entry in running}
            missing = [part for part in self.parts if not part.is_given(self.given) and part.name not in names]
            if missing:
                require_space(self.home)
            try:
                self._start(missing, 0 if detached else os.getpid(), on_ready)
            except BaseException:
                self._stop(self._started)
                stop_orphans(self.home, keep=running, logs=self._logs())
                raise
        return bool(missing)

    def take_down(self) -> list[str]:
        """Stop everything that runs in this home; return the names. Nothing running is no error."""
        if not self.home.is_dir():
            return []
        with locked(self.home):
            stopped = [entry.name for entry in self.running()]
            self._stop({entry.name for entry in read_state(self.home).services})
            stop_orphans(self.home, logs=self._logs())
        return stopped

    def running(self) -> list[Running]:
        """List the services of this home whose process is alive."""
        return [entry for entry in read_state(self.home).services if is_running(entry)]

    def settings(self) -> Settings:
        """Fill the gaps of the given settings with the services that run here.

        Raises
        ------
        ConfigurationError
            A service that no setting names does not run.
        """
        alive = {entry.name for entry in self.running()}
        absent = [part for part in self.parts if not part.is_given(self.given) and part.name not in alive]
        if absent:
            names, variables = ", ".join(part.name for part in absent), ", ".join(part.variable for part in absent)
            raise ConfigurationError(
                f"{names} not running in {self.home}: run otaku up, or name an outside service in {variables}"
            )
        return self._fill(self.parts)

    def environment(self) -> dict[str, str]:
        """Name the services for child processes; an Airflow of this home has variables and passwords of its own."""
        return settings_environment(self.settings().model_copy(update={"airflow_url": self.given.airflow_url}))

    def report(self) -> list[Health]:
        """Ask each service, outside ones too."""
        alive = {entry.name: entry for entry in self.running()}
        settings = self._fill([part for part in self.parts if part.name in alive])
        rows = []
        for part in self.parts:
            outside, here = part.is_given(self.given), alive.get(part.name)
            problem = part.problem(settings) if outside or here else "not running"
            url = here.url if here and not outside else part.variable if outside else None
            rows.append(Health(part.name, part.variable, url, here.pid if here else None, outside, problem))
        return rows

    def _fill(self, parts: Iterable[Part]) -> Settings:
        settings = self.given.model_copy(update={"home": self.home})
        own = [part for part in parts if not part.is_given(self.given)]
        if own:
            ports = read_state(self.home).ports
            site = Site(self.home, settings, read_credentials(self.home, create=False), self._durable)
            values = {name: value for part in own for name, value in part.fill(site, ports[part.name]).items()}
            settings = settings.model_copy(update=values)
        return settings

    def _site(self) -> Site:
        credentials = read_credentials(self.home)
        alive = {entry.name for entry in self.running()}
        return Site(self.home, self._fill(p for p in self.parts if p.name in alive), credentials, self._durable)

    def _check_outside(self) -> None:
        given = [part for part in self.parts if part.is_given(self.given)]
        broken = [f"{part.variable}: {problem}" for part in given if (problem := part.problem(self.given))]
        if broken:
            raise ServiceUnavailableError(
                f"no answer from the service named by {'; '.join(broken)}"
                " (correct the setting, or unset it to use the embedded service)"
            )

    def _start(self, missing: Sequence[Part], owner: int, on_ready: Callable[[str], None]) -> None:
        """Start in waves: together what needs nothing that is still missing."""
        left = list(missing)
        while left:
            names = {part.name for part in left}
            wave = [part for part in left if names.isdisjoint(part.needs)]
            launched = [(part, *self._launch(part, owner)) for part in wave]
            for part, service, running in launched:
                self._await(part, service, running, owner)
                part.after_start(self._site())
                on_ready(part.name)
            left = [part for part in left if part not in wave]

    def _await(self, part: Part, service: Service, running: Running, owner: int) -> None:
        """Wait for a service; a user may have taken its port between our choice and its start."""
        for _ in range(_START_ATTEMPTS - 1):
            with suppress(ServiceUnavailableError):
                wait_until_ready(service, running, self._log(part))
                return keep_running(running)
            if is_running(running):
                break
            service, running = self._launch(part, owner, same_port=False)
        wait_until_ready(service, running, self._log(part))
        return keep_running(running)

    def _launch(self, part: Part, owner: int, *, same_port: bool = True) -> tuple[Service, Running]:
        port = free_port(read_state(self.home).ports.get(part.name) if same_port else None)
        service = part.describe(self._site(), port)
        running = start(service, self._log(part), home=self.home, owner=owner)
        self._started.add(part.name)
        state = read_state(self.home)
        others = tuple(entry for entry in state.services if entry.name != part.name)
        write_state(self.home, State((*others, running), {**state.ports, part.name: port}))
        return service, running

    def _stop(self, names: set[str]) -> None:
        """Stop services in reverse order of their dependencies."""
        state = read_state(self.home)
        leaving = [entry for entry in state.services if entry.name in names]
        while leaving:
            needed = {need for part in self.parts if part.name in {e.name for e in leaving} for need in part.needs}
            free = [entry for entry in leaving if entry.name not in needed]
            stop(free)
            leaving = [entry for entry in leaving if entry not in free]
        write_state(self.home, State(tuple(e for e in state.services if e.name not in names), state.ports))

    def _log(self, part: Part) -> Path:
        return self.home / "logs" / f"{part.name}.log"

    def _logs(self) -> list[Path]:
        """Name the logs of all services that were ever started here."""
        names = {part.name for part in self.parts} | read_state(self.home).ports.keys()
        return [self.home / "logs" / f"{name}.log" for name in sorted(names)]


def resolve_settings(given: Settings) -> Settings:
    """Complete the settings: outside services as given, otherwise those of the running local platform.

    Raises
    ------
    ConfigurationError
        Something is neither given nor running; the message names `otaku up`.
    """
    return LocalPlatform(given).settings()
