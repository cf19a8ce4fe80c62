"""Put the pages into an application."""

from typing import Final

from fastapi import FastAPI

from app.pages import feedback, files, for_you, lists, titles, together
from app.pages.ops import approvals, decisions, routes, session
from app.pages.ops.prometheus import Prometheus
from app.pages.ops.scheduler import Scheduler
from app.pages.problem_pages import show_problems_as_pages
from app.pages.site import build_site
from app.service import Service
from recsys.settings import Settings

UPLOAD_PATHS: Final = (lists.PATH, together.PATH)


def install_pages(app: FastAPI, service: Service, settings: Settings) -> None:
    """Add routes and state; called after every exception handler is there."""
    app.state.pages = build_site(service, settings)
    app.state.sessions = session.Sessions()
    app.state.scheduler = Scheduler.build(settings)
    app.state.prometheus = Prometheus.build(settings)
    app.state.links = routes.Links(
        mlflow=_find_web_address(settings.mlflow_tracking_uri),
        airflow=_find_web_address(str(settings.airflow_url) if settings.airflow_url else None),
        model_name=settings.model_name,
    )
    show_problems_as_pages(app)
    app.add_exception_handler(session.LoginNeededError, session.show_login)
    app.include_router(files.public_router)
    for room in (for_you, lists, together, titles, feedback, files, routes, approvals, decisions):
        app.include_router(room.router)


def _find_web_address(address: str | None) -> str | None:
    """Return an address that a browser can open, without a login that it may hold."""
    if address is None or not address.startswith(("http://", "https://")) or "@" in address:
        return None
    return address.rstrip("/")
