"""One running service and one real browser for all tests of the pages."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext, Error, Page, Request, Response, expect, sync_playwright
from pydantic import SecretStr

from app.main import create_app
from otaku.platform import postgres
from recsys.settings import Settings
from recsys.storage.database import create_database_engine
from recsys.storage.migration import migrate
from tests.app.harness import FolderSource, wait_for
from tests.app.live import fill_database

KEY = "a-key-that-no-browser-ever-gets"
PATIENCE_MS = 60_000


@dataclass
class Site:
    """A running service, with what tests turn: its source of models."""

    url: str
    app: FastAPI
    source: FolderSource
    settings: Settings


@contextmanager
def run_site(settings: Settings, source: FolderSource) -> Iterator[Site]:
    """Serve on a free port until the block ends."""
    app = create_app(settings, source=source, watch_seconds=0.05)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started and app.state.service.production.served is not None)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Site(f"http://127.0.0.1:{port}", app, source, settings)
    finally:
        server.should_exit = True
        thread.join(60)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; skipped where there is none.

    Ended with its module: while it is open an event loop runs in this thread, and no test can run one of its own.
    """
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        expect.set_options(timeout=PATIENCE_MS)
        yield launched
        launched.close()


def build_page_settings(home: Path, database_url: str, **values: Any) -> Settings:
    return Settings(
        _env_file=None,  # type: ignore[call-arg]
        home=home,
        database_url=SecretStr(database_url),
        mlflow_tracking_uri="http://127.0.0.1:1",
        wait_seconds=20,
        trial_seconds=0,
        database_seconds=20,
        rate_limit="100000/day",
        **values,
    )


@pytest.fixture(scope="session")
def site(postgres_url: str, model_folders: dict[int, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The service over a database with all users of the tiny world, behind a key."""
    postgres.create_database(postgres_url, "pages")
    url = postgres.sibling_database(postgres_url, "pages")
    engine = create_database_engine(url)
    migrate(engine)
    engine.dispose()
    settings = build_page_settings(tmp_path_factory.mktemp("site"), url, api_keys=KEY)
    fill_database(settings)
    with run_site(settings, FolderSource(dict(model_folders))) as running:
        yield running


@pytest.fixture(scope="session")
def site_without_database(model_folders: dict[int, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The service while PostgreSQL is away."""
    settings = build_page_settings(tmp_path_factory.mktemp("dead"), "postgresql://nobody@127.0.0.1:1/nothing")
    with run_site(settings, FolderSource(dict(model_folders))) as running:
        yield running


@dataclass
class Watch:
    """What must not happen while a page is open."""

    host: str
    problems: list[str] = field(default_factory=list)
    received: list[Request] = field(default_factory=list)

    def follow(self, page: Page) -> None:
        page.on("console", lambda message: self._note_console(message.type, message.text))
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("response", self._note_response)
        page.on("request", lambda request: self._note_request(request.url))
        page.on("requestfinished", self._note_received)

    def _note_console(self, kind: str, text: str) -> None:
        # The status of a page that tells about a problem is no mistake of the page.
        if kind in ("error", "warning") and "Failed to load resource" not in text:
            self.problems.append(f"console: {text}")

    def _note_request(self, url: str) -> None:
        if urlsplit(url).netloc != self.host:
            self.problems.append(f"request to {url}")

    def _note_response(self, response: Response) -> None:
        if any(KEY in value for value in response.headers.values()):
            self.problems.append(f"a key in the headers of {response.url}")

    def _note_received(self, request: Request) -> None:
        # Of an answer that a navigation broke off the text would never come.
        if request.resource_type in ("document", "xhr", "fetch"):
            self.received.append(request)

    def check(self) -> None:
        for request in self.received:
            try:
                response = request.response()
                text = response.text() if response is not None else ""
            except Error:  # a page that was left has no body any more, a redirect never has one
                continue
            if KEY in text:
                self.problems.append(f"a key in {request.url}")
        assert self.problems == []


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, site: Site) -> Iterator[OpenPage]:
    """Open pages that are watched: no console error, no foreign request, no violation of the policy, no key."""
    contexts: list[BrowserContext] = []
    watches: list[Watch] = []

    def open_one(path: str = "/", *, at: Site = site, width: int = 1280, scheme: str = "dark", **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        watches.append(Watch(urlsplit(at.url).netloc))
        watches[-1].follow(page)
        page.goto(at.url + path)
        return page

    yield open_one
    for watch in watches:
        watch.check()
    for context in contexts:
        context.close()
