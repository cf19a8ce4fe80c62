"""Serve over HTTP until SIGTERM."""

import logging
from ipaddress import ip_network

import uvicorn

from app.guard.connections import bound_connections
from app.main import MAX_UPLOAD_BYTES, create_app
from recsys.connections import open_engine
from recsys.exceptions import NothingIngestedError, ServiceUnavailableError
from recsys.logs import configure_logs
from recsys.settings import Settings, find_unknown_variables
from recsys.storage.schema_state import require_schema
from recsys.tracing import configure_tracing

logger = logging.getLogger(__name__)
DRAIN_SECONDS = 10
MAX_CONNECTIONS = 2_000
FRAMING_BYTES = 1 << 20  # what chunks and trailers add to the largest body


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C, then drain requests in flight.

    Raises
    ------
    ConfigurationError
        If the settings name no database or no registry, or would open the service without keys to other machines, or
        if the tables of the database are too old, or too new, for this code.
    """
    settings.check_access()
    configure_logs(settings.log_level, settings.log_format)
    configure_tracing("otaku-service")
    for name, meant in find_unknown_variables().items():
        logger.warning("unknown variable %s%s", name, f"; did you mean {meant}?" if meant else "")
    app = create_app(settings)
    _check_schema(settings)
    uvicorn.run(
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
