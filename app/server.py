"""Serve over HTTP until SIGTERM, from one process or from several."""

import asyncio
import logging
import os
import secrets
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from ipaddress import ip_network

import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr
from uvicorn.protocols.http.flow_control import CLOSE_HEADER

from app.guard.connections import bound_connections
from app.main import MAX_UPLOAD_BYTES, create_app
from app.models.authority import ModelSource
from app.sockets import bind_sockets
from app.supervisor import Supervisor
from app.worker_processes import RETIRED, Seat
from recsys.connections import open_engine
from recsys.exceptions import ConfigurationError, NothingIngestedError, ServiceUnavailableError
from recsys.logs import configure_logs
from recsys.settings import Settings, find_unknown_variables
from recsys.storage.schema_state import require_schema
from recsys.tracing import configure_tracing

logger = logging.getLogger(__name__)
DRAIN_SECONDS = 10
IDLE_SECONDS = 0.1
MAX_CONNECTIONS = 2_000
FRAMING_BYTES = 1 << 20  # what chunks and trailers add to the largest body


def serve(settings: Settings, source: ModelSource | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C, then drain requests in flight.

    Parameters
    ----------
    source
        Where models come from; the registry of the settings by default.

    Raises
    ------
    ConfigurationError
        If the settings name no database or no registry, or would open the service without keys to other machines, if
        the tables of the database are too old, or too new, for this code, or if the address cannot be bound.
    ServiceUnavailableError
        If worker processes do not start.
    """
    settings.check_access()
    configure_logs(settings.log_level, settings.log_format)
    for name, meant in find_unknown_variables().items():
        logger.warning("unknown variable %s%s", name, f"; did you mean {meant}?" if meant else "")
    if settings.workers > 1:
        _serve_from_processes(settings, source)
        return
    configure_tracing("otaku-service")
    app = create_app(settings, source=source)
    _check_schema(settings)
    with suppress(KeyboardInterrupt):  # which the server raises again once it has drained
        uvicorn.Server(_configure(app, settings)).run()


def _serve_from_processes(settings: Settings, source: ModelSource | None) -> None:
    # What workers sign must be read by one another.
    secret = settings.pages_secret or SecretStr(secrets.token_urlsafe(32))
    settings = settings.model_copy(update={"pages_secret": secret})
    if settings.redis_url is None:
        logger.warning("without OTAKU_REDIS_URL each of %d workers has limits and a cache of its own", settings.workers)
    try:
        sockets = bind_sockets(settings.host, settings.port, settings.workers)
    except OSError as error:
        raise ConfigurationError(f"{settings.host}:{settings.port} cannot be listened on: {error.strerror}") from error
    # Refuses wrong settings before anything is loaded.
    create_app(settings, source=source)
    _check_schema(settings)
    Supervisor(settings, sockets, partial(_run_worker, settings, source), source).run()


def _run_worker(settings: Settings, source: ModelSource | None, sockets: Sequence[socket.socket], seat: Seat) -> None:
    configure_tracing("otaku-service")
    server: WorkerServer | None = None

    def retire() -> None:
        """Let the server retire, once there is one."""
        if server is not None:
            server.retire()

    # The supervisor is gone, and with it whoever would replace this worker.
    context = seat.open(on_retire=retire, on_orphan=lambda: os.kill(os.getpid(), signal.SIGTERM))
    server = WorkerServer(_configure(create_app(settings, source=source, worker=context), settings), seat)
    server.run(list(sockets))


class WorkerServer(uvicorn.Server):
    """uvicorn's server in a worker process, which can retire.

    Parameters
    ----------
    seat
        Told when connections are no longer accepted.
    """

    def __init__(self, config: uvicorn.Config, seat: Seat) -> None:
        super().__init__(config)
        self._seat = seat
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Note the loop, which accepts connections from now on."""
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()

    def retire(self) -> None:
        """Accept no connection any more, close each after its next response, and end when none is left.

        May be called from any thread. A connection that is idle is closed as ever.
        """
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._retire)

    def _retire(self) -> None:
        logger.info("process %d retires", os.getpid())
        for server in self.servers:
            server.close()
        self._seat.tell(RETIRED)
        # Once for the requests of this second, once for those after it.
        self.server_state.default_headers = [*self.server_state.default_headers, CLOSE_HEADER]
        self.config.encoded_headers.append(CLOSE_HEADER)
        self._end_when_idle()

    def _end_when_idle(self) -> None:
        if self._loop is None or not self.server_state.connections:
            self.should_exit = True
        else:
            self._loop.call_later(IDLE_SECONDS, self._end_when_idle)


def _configure(app: FastAPI, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_config=None,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        http=bound_connections(
            per_address=settings.connections_per_address,
            max_message_bytes=MAX_UPLOAD_BYTES + FRAMING_BYTES,
            exempt=[ip_network(proxy) for proxy in settings.trusted_proxies],
        ),
        ws="none",
        # Who a request comes from is what a proxy says, if it is one of ours, and never what a client says.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )


def _check_schema(settings: Settings) -> None:
    """Refuse tables that this code cannot read; a database that is away may come back, and one may be filled later."""
    try:
        with open_engine(settings) as engine:
            require_schema(engine)
    except (NothingIngestedError, ServiceUnavailableError) as error:
        logger.warning("%s", error)
