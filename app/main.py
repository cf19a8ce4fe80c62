"""The application factory: services, the thread that watches the registry, middleware and routes."""

import asyncio
import logging
import math
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial

from fastapi import APIRouter, FastAPI, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.middleware.cors import CORSMiddleware
from limits import RateLimitItem
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

import recsys
from app.api import documentation, imports, items, operations, recommendations, users
from app.api.openapi import build_openapi
from app.api.problem_handlers import install_problem_handlers
from app.guard.keys import ApiKeys, require_scopes
from app.guard.limits import Quota, RateLimiter, parse_rate_limit
from app.guard.middleware import AllowedHosts, RequestContext, RequestLimits
from app.guard.workers import Workers
from app.metrics import PipelineMetrics, ServiceMetrics
from app.models.authority import Champion, ModelSource
from app.models.challenger import Challenger
from app.models.learned_users import LearnedUsers
from app.models.local_cache import LocalModelCache
from app.models.production import ProductionModel
from app.models.trial import Trial
from app.pages.install import UPLOAD_PATHS, install_pages
from app.pages.problem_pages import render_for_middleware
from app.service import Service
from app.stores.database import N_THREADS, Database
from app.stores.pipeline import PipelineReader
from app.stores.response_cache import MemoryCache, RedisCache, ResponseCache
from app.stores.user_history import read_ratings
from recsys.connections import open_registry
from recsys.data.lists.content import MAX_COMPRESSED_BYTES
from recsys.exceptions import ServiceUnavailableError
from recsys.settings import Settings, is_loopback
from recsys.storage.api_keys import read_api_keys
from recsys.storage.database import create_database_engine
from recsys.storage.ledger import last_move

DESCRIPTION = "Anime recommendations from the model in Production."
STOP_SECONDS = 5.0
KEY_SECONDS = 5.0
STATEMENT_SECONDS = 4.0
CONNECT_SECONDS = 2
FORM_BYTES = 1 << 16  # what a form adds to a file of the greatest size
MAX_UPLOAD_BYTES = MAX_COMPRESSED_BYTES + FORM_BYTES
EXPLAIN_THREADS = 1
EXPLAIN_SHARE = 8  # of requests that may wait or be computed, one in so many with reasons
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")

logger = logging.getLogger(__name__)


def create_app(settings: Settings, *, source: ModelSource | None = None, watch_seconds: float | None = None) -> FastAPI:
    """Build the application; nothing connects before it starts.

    Parameters
    ----------
    source
        Where models come from; the registry of the settings by default.
    watch_seconds
        Seconds between two polls of the Production alias; by default the setting.

    Raises
    ------
    ConfigurationError
        If the settings name no database or no registry.
    """
    # Versions from elsewhere than the registry have no ledger.
    ledger = source is None and settings.promotions == "ledger"
    service = _build_service(settings, source or open_registry(settings), with_ledger=ledger)
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
    install_problem_handlers(app)
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
    if settings.shows_pages:
        install_pages(app, service, settings)
    _document(app)
    return app


def _build_service(settings: Settings, source: ModelSource, *, with_ledger: bool) -> Service:
    metrics = ServiceMetrics()
    name = settings.model_name
    models = (settings.model_cache or settings.home / "models") / name
    # The server cancels a statement when the client gives up: it would only hold a connection.
    engine = create_database_engine(
        settings.require_database_url(),
        statement_timeout=max(STATEMENT_SECONDS, settings.database_seconds),
        connect_timeout=max(CONNECT_SECONDS, math.ceil(settings.database_seconds)),
        pool_size=N_THREADS,
    )
    redis_url = settings.redis_url.get_secret_value() if settings.redis_url else None
    cache: ResponseCache = MemoryCache(settings.cache_megabytes << 20, settings.cache_seconds)
    if redis_url is not None:
        cache = RedisCache(redis_url, settings.cache_seconds, metrics)
    shares = {"canary_share": settings.canary_share, "shadow_share": settings.shadow_share}
    trial = Trial(settings.trial_seconds, settings.trial_megabytes) if settings.trial_seconds else None
    ledger = (lambda: _read_champion(engine, name)) if with_ledger else None
    learned = LearnedUsers(models / "learned-users.txt", lambda user_ids: read_ratings(engine, user_ids))
    limiter = RateLimiter(redis_url)
    service = Service(
        source=source,
        production=ProductionModel(
            source, name, metrics, LocalModelCache(models), learned.restore, ledger=ledger, trial=trial
        ),
        challenger=Challenger(source, name, metrics, **shares, trial=trial),
        learned=learned,
        database=Database(engine, settings.database_seconds),
        cache=cache,
        workers=Workers(
            settings.work_threads,
            settings.max_waiting,
            settings.wait_seconds,
            on_rejected=partial(metrics.count_rejection, "work"),
        ),
        # A lane of its own: lists with reasons take several times as long, and must not stand before all others.
        explainers=Workers(
            EXPLAIN_THREADS,
            max(2, settings.max_waiting // EXPLAIN_SHARE),
            settings.wait_seconds,
            name="explain",
            on_rejected=partial(metrics.count_rejection, "explain"),
        ),
        metrics=metrics,
        api_keys=ApiKeys(settings),
        limiter=limiter,
        rate_limit=_parse(settings.rate_limit),
        feedback_quota=Quota(limiter, _parse(settings.feedback_limit), "events", metrics.count_limited),
        registration_quota=Quota(limiter, _parse(settings.registration_limit), "registrations", metrics.count_limited),
        pipeline=PipelineReader(PipelineMetrics(metrics.registry), name),
        shows_adult=settings.adult,
    )
    metrics.watch_degraded(lambda: bool(service.problems))
    for queue, workers in (("work", service.workers), ("explain", service.explainers)):
        metrics.watch_queue(queue, partial(getattr, workers, "n_waiting"), workers.max_waiting)
    return service


def _parse(limit: str | None) -> RateLimitItem | None:
    return parse_rate_limit(limit) if limit and limit != "none" else None


def _read_champion(engine: Engine, model_name: str) -> Champion | None:
    """Read which version the ledger of promotions names."""
    try:
        with engine.connect() as connection:
            last = last_move(connection, model_name)
    except SQLAlchemyError as error:
        raise ServiceUnavailableError(f"PostgreSQL does not answer: {error}") from error
    if last is None or last.challenger_version is None:
        return None
    return Champion(last.challenger_version, last.digest or "")


def _build_lifespan(service: Service, watch_seconds: float) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Poll the registry, and table `api_keys` if it is used, while the application runs."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        stop = threading.Event()
        watch = service.production.watch
        follow = (stop, watch_seconds, service.challenger.refresh)
        thread = threading.Thread(target=watch, args=follow, name="watch-registry", daemon=True)
        thread.start()
        with service.database, service.workers, service.explainers, service.challenger:
            keys = asyncio.create_task(_follow_keys(service))
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
        if app.openapi_schema is None:
            app.openapi_schema = build_openapi(app, with_keys=app.state.service.api_keys.are_configured)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
