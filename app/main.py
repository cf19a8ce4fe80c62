"""The application factory: services, the thread that watches the registry, middleware and routes."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress

from fastapi import APIRouter, FastAPI, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.middleware.cors import CORSMiddleware

import recsys
from app.api import documentation, imports, items, operations, recommendations, users
from app.api.openapi import build_openapi
from app.api.problem_handlers import install_problem_handlers
from app.guard.keys import require_scopes
from app.guard.middleware import AllowedHosts, RequestContext, RequestLimits
from app.models.authority import ModelSource
from app.pages.install import UPLOAD_PATHS, install_pages
from app.pages.problem_pages import render_for_middleware
from app.service import Service
from app.service_factory import WorkerContext, build_service
from recsys.connections import open_registry
from recsys.data.lists.content import MAX_COMPRESSED_BYTES
from recsys.exceptions import ServiceUnavailableError
from recsys.settings import Settings, is_loopback
from recsys.storage.api_keys import read_api_keys

DESCRIPTION = "Anime recommendations from the model in Production."
STOP_SECONDS = 5.0
KEY_SECONDS = 5.0
FORM_BYTES = 1 << 16  # what a form adds to a file of the greatest size
MAX_UPLOAD_BYTES = MAX_COMPRESSED_BYTES + FORM_BYTES
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")

logger = logging.getLogger(__name__)


def create_app(
    settings: Settings,
    *,
    source: ModelSource | None = None,
    watch_seconds: float | None = None,
    worker: WorkerContext | None = None,
) -> FastAPI:
    """Build the application; nothing connects before it starts.

    Parameters
    ----------
    source
        Where models come from; the registry of the settings by default.
    watch_seconds
        Seconds between two polls of the Production alias; by default the setting.
    worker
        If this process is one of several that a supervisor forks.

    Raises
    ------
    ConfigurationError
        If the settings name no database or no registry.
    """
    # Versions from elsewhere than the registry have no ledger.
    ledger = source is None and settings.promotions == "ledger"
    service = build_service(settings, source or open_registry(settings), with_ledger=ledger, worker=worker)
    app = FastAPI(
        title="My Otaku Friend",
        version=recsys.__version__,
        description=DESCRIPTION,
        lifespan=_build_lifespan(service, watch_seconds or settings.watch_seconds),
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    _add_middleware(app, service, settings)
    install_problem_handlers(app)
    _include_routers(app)
    if settings.shows_pages:
        install_pages(app, service, settings)
    _document(app)
    return app


def _add_middleware(app: FastAPI, service: Service, settings: Settings) -> None:
    paths = (imports.PATH, *(UPLOAD_PATHS if settings.shows_pages else ()))
    uploads = dict.fromkeys(paths, MAX_UPLOAD_BYTES)
    show_problem = render_for_middleware if settings.shows_pages else None
    # The last one added is the outermost.
    app.add_middleware(RequestLimits, upload_bytes=uploads, show_problem=show_problem)
    # On loopback no other name leads here, unless a web page has it resolve to this address.
    own_hosts = LOOPBACK_HOSTS if is_loopback(settings.host) else ("*",)
    app.add_middleware(AllowedHosts, hosts=settings.allowed_hosts or own_hosts)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-ID"],
            expose_headers=["RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID"],
        )
    app.add_middleware(RequestContext, metrics=service.metrics)


def _include_routers(app: FastAPI) -> None:
    app.include_router(operations.public_router)
    app.include_router(documentation.router)
    guarded: dict[str, list[APIRouter]] = {
        "recommend": [operations.router, recommendations.router, items.router, imports.router],
        "write": [users.router],
        "metrics": [operations.metrics_router],
    }
    for scope, routers in guarded.items():
        for router in routers:
            app.include_router(router, dependencies=[Security(require_scopes, scopes=[scope])])


def _build_lifespan(service: Service, watch_seconds: float) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Poll the registry, and table `api_keys` if it is used, while the application runs."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        """Start the service and what watches the registry; stop both."""
        stop = threading.Event()
        watch = service.production.watch
        follow = (stop, watch_seconds, service.challenger.refresh)
        thread = threading.Thread(target=watch, args=follow, name="watch-registry", daemon=True)
        thread.start()
        with service.database, service.workers, service.explainers, service.challenger:
            async with service.peers or nullcontext():
                keys = asyncio.create_task(_follow_keys(service))
                await run_in_threadpool(service.production.wait_until_started)
                yield
                keys.cancel()
                with suppress(asyncio.CancelledError):
                    await keys
        stop.set()
        await service.cache.close()
        await service.limiter.close()
        await run_in_threadpool(thread.join, STOP_SECONDS)
        service.production.close()

    return lifespan


async def _follow_keys(service: Service) -> None:
    """Poll table `api_keys`; during an outage the last known keys stay valid."""
    while service.api_keys.uses_database:
        try:
            service.api_keys.replace_stored(await service.database.read(read_api_keys))
        except ServiceUnavailableError as error:
            logger.warning("API keys are not refreshed: %s", error)
        await asyncio.sleep(KEY_SECONDS)


def _document(app: FastAPI) -> None:
    """Build the OpenAPI document on the first request for it."""

    def openapi() -> dict[str, object]:
        """Build the schema once."""
        if app.openapi_schema is None:
            app.openapi_schema = build_openapi(app, with_keys=app.state.service.api_keys.are_configured)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
