"""Builds the services of an application from its settings; nothing connects before the application starts."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from limits import RateLimitItem
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.guard.keys import ApiKeys
from app.guard.limits import Quota, RateLimiter, parse_rate_limit
from app.guard.workers import Workers
from app.metrics import PipelineMetrics, ServiceMetrics
from app.metrics.peers import Peers
from app.models.authority import Champion, ModelSource
from app.models.challenger import Challenger
from app.models.holder import ModelHolder
from app.models.inherited import Inheritance, InheritedModel
from app.models.learned_users import LearnedUsers
from app.models.local_cache import LocalModelCache
from app.models.production import ProductionModel
from app.models.serving import ServingModel
from app.models.trial import Trial
from app.service import Service
from app.stores.database import N_THREADS, Database
from app.stores.pipeline import PipelineReader
from app.stores.response_cache import MemoryCache, RedisCache, ResponseCache
from app.stores.user_history import read_ratings
from recsys.exceptions import ServiceUnavailableError
from recsys.settings import Settings
from recsys.storage.database import create_database_engine
from recsys.storage.ledger import last_move

STATEMENT_SECONDS: Final = 4.0
CONNECT_SECONDS: Final = 2
EXPLAIN_THREADS: Final = 1
EXPLAIN_SHARE: Final = 8  # of requests that may wait or be computed, one in so many with reasons


@dataclass(frozen=True)
class WorkerContext:
    """What a supervisor gives a worker process that it forks.

    Parameters
    ----------
    number
        Of the worker, from 0.
    directory
        Where the workers of the instance meet, see `app.metrics.peers`.
    models
        The versions that it serves.
    orders
        The lines of the supervisor, see `app.models.inherited`; unbuffered.
    announce
        Called when nothing but the order to start is waited for.
    on_retire, on_orphan
        Called when other workers take over, and when the supervisor has ended.
    """

    number: int
    directory: Path
    models: Inheritance
    orders: BinaryIO
    announce: Callable[[], None]
    on_retire: Callable[[], None]
    on_orphan: Callable[[], None]


def build_service(
    settings: Settings, source: ModelSource, *, with_ledger: bool, worker: WorkerContext | None = None
) -> Service:
    """Build the services.

    Parameters
    ----------
    with_ledger
        Whether the ledger of promotions says which version is served, or the registry's alias alone.
    worker
        If the application is one of several in processes of their own.
    """
    metrics = ServiceMetrics()
    engine = open_service_engine(settings, N_THREADS)
    redis_url = settings.redis_url.get_secret_value() if settings.redis_url else None
    learned = LearnedUsers(
        _find_models(settings) / "learned-users.txt", lambda user_ids: read_ratings(engine, user_ids)
    )
    production: ModelHolder = (
        build_production(settings, source, metrics, engine if with_ledger else None, learned.restore)
        if worker is None
        else InheritedModel(
            worker.models,
            worker.orders,
            metrics,
            learned.restore,
            announce=worker.announce,
            on_retire=worker.on_retire,
            on_orphan=worker.on_orphan,
        )
    )
    limiter = RateLimiter(redis_url)
    workers, explainers = _build_lanes(settings, metrics)
    service = Service(
        source=source,
        production=production,
        challenger=build_challenger(settings, source, metrics, worker.models.challenger if worker else None),
        learned=learned,
        database=Database(engine, settings.database_seconds),
        cache=_build_cache(settings, redis_url, metrics),
        workers=workers,
        explainers=explainers,
        metrics=metrics,
        peers=Peers(worker.directory, worker.number, metrics) if worker else None,
        api_keys=ApiKeys(settings),
        limiter=limiter,
        rate_limit=_parse(settings.rate_limit),
        feedback_quota=Quota(limiter, _parse(settings.feedback_limit), "events", metrics.count_limited),
        registration_quota=Quota(limiter, _parse(settings.registration_limit), "registrations", metrics.count_limited),
        pipeline=PipelineReader(PipelineMetrics(), settings.model_name),
        shows_adult=settings.adult,
        uses_scored_lists=settings.scored_lists,
    )
    metrics.watch_degraded(lambda: bool(service.problems))
    return service


def _build_cache(settings: Settings, redis_url: str | None, metrics: ServiceMetrics) -> ResponseCache:
    if redis_url is not None:
        return RedisCache(redis_url, settings.cache_seconds, metrics)
    return MemoryCache(settings.cache_megabytes << 20, settings.cache_seconds)


def _build_lanes(settings: Settings, metrics: ServiceMetrics) -> tuple[Workers, Workers]:
    """Build the threads for lists, and for lists with reasons, which take longer and must not stand before them."""
    work = Workers(
        settings.work_threads,
        settings.max_waiting,
        settings.wait_seconds,
        on_rejected=partial(metrics.count_rejection, "work"),
    )
    explain = Workers(
        EXPLAIN_THREADS,
        max(2, settings.max_waiting // EXPLAIN_SHARE),
        settings.wait_seconds,
        name="explain",
        on_rejected=partial(metrics.count_rejection, "explain"),
    )
    for queue, lane in (("work", work), ("explain", explain)):
        metrics.watch_queue(queue, partial(getattr, lane, "n_waiting"), lane.max_waiting)
    return work, explain


def open_service_engine(settings: Settings, pool_size: int) -> Engine:
    """Create the engine of the service; nothing connects yet.

    Raises
    ------
    ConfigurationError
        If the settings name no database.
    """
    # The server cancels a statement when the client gives up: it would only hold a connection.
    return create_database_engine(
        settings.require_database_url(),
        statement_timeout=max(STATEMENT_SECONDS, settings.database_seconds),
        connect_timeout=max(CONNECT_SECONDS, math.ceil(settings.database_seconds)),
        pool_size=pool_size,
    )


def build_production(
    settings: Settings,
    source: ModelSource,
    metrics: ServiceMetrics,
    ledger: Engine | None,
    prepare: Callable[[ServingModel], object] = lambda _model: None,
) -> ProductionModel:
    """Build what follows the registry, by the ledger in a database if there is one."""
    name = settings.model_name
    return ProductionModel(
        source,
        name,
        metrics,
        LocalModelCache(_find_models(settings)),
        prepare,
        ledger=partial(_read_champion, ledger, name) if ledger is not None else None,
        trial=_build_trial(settings),
    )


def build_challenger(
    settings: Settings, source: ModelSource, metrics: ServiceMetrics, model: ServingModel | None = None
) -> Challenger:
    """Build what follows the alias of the challenger; `model` is one that is loaded already."""
    return Challenger(
        source,
        settings.model_name,
        metrics,
        canary_share=settings.canary_share,
        shadow_share=settings.shadow_share,
        trial=_build_trial(settings),
        model=model,
    )


def _find_models(settings: Settings) -> Path:
    return (settings.model_cache or settings.home / "models") / settings.model_name


def _build_trial(settings: Settings) -> Trial | None:
    return Trial(settings.trial_seconds, settings.trial_megabytes) if settings.trial_seconds else None


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
