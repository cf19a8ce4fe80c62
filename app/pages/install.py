"""Put the pages into an application."""

from typing import Final

from fastapi import APIRouter, Depends, FastAPI

from app.pages import feedback, files, for_you, lists, titles
from app.pages.problem_pages import show_problems_as_pages
from app.pages.site import build_site, limit_visitor
from app.service import Service
from recsys.settings import Settings

UPLOAD_PATHS: Final = (lists.PATH,)


def install_pages(app: FastAPI, service: Service, settings: Settings) -> None:
    """Add routes and state; called after every exception handler is there."""
    app.state.pages = build_site(service, settings)
    show_problems_as_pages(app)
    app.include_router(files.public_router)
    guarded: list[APIRouter] = [for_you.router, lists.router, titles.router, feedback.router, files.router]
    for router in guarded:
        app.include_router(router, dependencies=[Depends(limit_visitor)])
