"""What the demo asks the service for, and how patiently."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pandas as pd
import pytest

from otaku.demo import example_requests
from otaku.demo.example_requests import LIST_LENGTH, ExampleRequest, build_example_requests, send
from recsys.connections import open_engine
from recsys.exceptions import ServiceUnavailableError
from recsys.settings import Settings
from recsys.storage.database import upsert_rows
from recsys.storage.tables import ratings
from tests.app.live import fill_database
from tests.factories import tiny_world

pytestmark = pytest.mark.local


def test_a_user_who_has_rated_every_title_is_not_chosen(settings: Settings) -> None:
    catalog, interactions = tiny_world()
    fill_database(settings)
    before = build_example_requests(settings)[0].body["user_input"]
    counts = interactions.table.groupby("user_id").size()
    assert counts[before] == counts.max() <= len(catalog) - LIST_LENGTH
    eager = next(user for user in interactions.user_ids.tolist() if user != before)
    seen = interactions.table.loc[interactions.table["user_id"] == eager, "item_id"]
    unseen = [item for item in catalog.item_ids.tolist() if item not in set(seen)][: -LIST_LENGTH + 1]
    with open_engine(settings) as engine, engine.begin() as connection:
        upsert_rows(connection, ratings, pd.DataFrame({"user_id": eager, "item_id": unseen, "rating": 8}))
    assert build_example_requests(settings)[0].body["user_input"] == before


@pytest.fixture
def busy() -> Iterator[tuple[int, list[int]]]:
    """A service on some port, and the statuses that it answers one after the other; the last one stays."""
    statuses: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port, statuses
        server.shutdown()
        thread.join()


def test_a_service_that_is_busy_is_asked_again(busy: tuple[int, list[int]]) -> None:
    port, statuses = busy
    statuses += [503, 200]
    sent = send(Settings(_env_file=None, port=port), ExampleRequest("any", {"k": 1}))  # type: ignore[call-arg]
    assert sent["answer"] == {}
    assert statuses == [200]


def test_one_that_stays_busy_is_an_error_and_another_error_is_one_at_once(
    busy: tuple[int, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, statuses = busy
    settings = Settings(_env_file=None, port=port)  # type: ignore[call-arg]
    statuses += [422, 200]
    with pytest.raises(ServiceUnavailableError, match="422"):
        send(settings, ExampleRequest("any", {}))
    assert statuses == [200]
    statuses[:] = [503]
    monkeypatch.setattr(example_requests, "BUSY_SECONDS", 1.0)
    with pytest.raises(ServiceUnavailableError, match="503"):
        send(settings, ExampleRequest("any", {}))
