"""The application: parts put together, a thread that watches the registry, and the routes."""

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from fastapi import Depends, FastAPI
from fastapi.concurrency import run_in_threadpool

from app.history import HistoryReader
from app.metrics import ServiceMetrics
from app.middleware import RequestContext
from app.problems import build_openapi, install_problem_handlers
from app.routes import operations, recommendations, titles
from app.security import ApiKeys, require_api_key
from app.service import Service
from app.serving import WATCH_SECONDS, ModelSource, ProductionModel
from recsys.connections import open_registry
from recsys.settings import Settings
from recsys.storage.database import create_database_engine

DESCRIPTION = "Anime recommendations from the model in Production."
STOP_SECONDS = 5.0


def create_app(
    settings: Settings, *, source: ModelSource | None = None, watch_seconds: float = WATCH_SECONDS
) -> FastAPI:
    """Build the application; nothing connects before it starts.

    Parameters
    ----------
    source
        Where models come from; the registry of the settings by default.
    watch_seconds
        Time between two looks at the Production alias.

    Raises
    ------
    ConfigurationError
        If the settings name no database or no registry.
    """
    metrics = ServiceMetrics()
    production = ProductionModel(source or open_registry(settings), settings.model_name, metrics)
    # A statement that the server still works on after the client gave up would only hold a connection.
    engine = create_database_engine(settings.require_database_url(), statement_timeout=2.0)
    service = Service(production, HistoryReader(engine), metrics, ApiKeys(settings))

    app = FastAPI(
        title="My Otaku Friend",
        version=_find_version(),
        description=DESCRIPTION,
        lifespan=_build_lifespan(service, watch_seconds),
        redirect_slashes=False,
    )
    app.state.service = service
    app.add_middleware(RequestContext, metrics=metrics)
    install_problem_handlers(app)
    app.include_router(operations.public_router)
    for router in (operations.router, recommendations.router, titles.router):
        app.include_router(router, dependencies=[Depends(require_api_key)])
    _document(app)
    return app


def _build_lifespan(service: Service, watch_seconds: float) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Watch the registry for as long as the application runs."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        stop = threading.Event()
        watch = service.production.watch
        thread = threading.Thread(target=watch, args=(stop, watch_seconds), name="watch-registry", daemon=True)
        thread.start()
        with service.history:
            yield
        stop.set()
        await run_in_threadpool(thread.join, STOP_SECONDS)

    return lifespan


def _document(app: FastAPI) -> None:
    """Build the OpenAPI page once, when it is first asked for."""

    def openapi() -> dict[str, object]:
        if app.openapi_schema is None:
            app.openapi_schema = build_openapi(app, with_keys=app.state.service.api_keys.are_configured)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _find_version() -> str:
    try:
        return version("my-otaku-friend")
    except PackageNotFoundError:
        return "0"
