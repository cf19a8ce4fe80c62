"""Four example requests to the running service, over HTTP."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import httpx
from sqlalchemy import func, select
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from recsys.columns import ItemColumns
from recsys.connections import open_engine
from recsys.exceptions import ServiceUnavailableError
from recsys.settings import Settings
from recsys.storage.tables import items, ratings, users

READY_SECONDS: Final = 180.0
BUSY_SECONDS: Final = 60.0
UNKNOWN_USER: Final = 1_234_567_890
LIST_LENGTH: Final = 10


@dataclass(frozen=True)
class ExampleRequest:
    """A title to print, and the body of `POST /recommend/`."""

    title: str
    body: dict[str, Any]


def build_example_requests(settings: Settings) -> list[ExampleRequest]:
    """Build requests from the data: the newest user, an unknown user, one with preferences, a misspelt title."""
    with open_engine(settings) as engine, engine.connect() as connection:
        n_titles = select(func.count()).select_from(items).scalar_subquery()
        # In a tiny catalog a user may have rated nearly every title and would get an empty list.
        lacks_titles = func.count() > n_titles - LIST_LENGTH
        newest = (
            select(users.c.user_id)
            .join(ratings)
            .group_by(users.c.user_id)
            .order_by(users.c.arrived_on.desc().nulls_last(), lacks_titles, func.count().desc(), users.c.user_id)
        )
        user = int(connection.execute(newest.limit(1)).scalar_one())
        best_known = select(items.c[ItemColumns.Title]).order_by(items.c[ItemColumns.Members].desc().nulls_last())
        titles = connection.execute(best_known.limit(200)).scalars().all()
        genres = func.unnest(items.c[ItemColumns.Genres]).label("genre")
        listed = select(genres).subquery()
        counted = select(listed.c.genre).group_by(listed.c.genre).order_by(func.count().desc(), listed.c.genre)
        common = connection.execute(counted.limit(6)).scalars().all()
    wanted = dict.fromkeys(common[1::2][:2], 1)
    typo = misspell(next((title for title in titles if len(title) >= 12), titles[0]))
    return [
        ExampleRequest(f"Existing user {user}, the most recent arrival", {"user_input": user}),
        ExampleRequest("Unknown user", {"user_input": UNKNOWN_USER}),
        ExampleRequest(
            f"Unknown user who likes {' and '.join(wanted)}", {"user_input": UNKNOWN_USER, "user_preferences": wanted}
        ),
        ExampleRequest(f"Titles similar to “{typo}” (misspelt)", {"user_input": typo}),
    ]


def build_algorithm_requests(
    examples: Sequence[ExampleRequest], answers: Sequence[dict[str, Any]]
) -> list[ExampleRequest]:
    """Repeat the example requests for every algorithm, and one with the ratings of a user who is not registered.

    Parameters
    ----------
    answers
        The responses to the examples, the first of which shows what its user has rated.
    """
    from recsys.recommender.retriever import RANKER  # takes a second
    from recsys.retrieval.registry import list_algorithms

    watched = answers[0]["answer"]["watched"]
    rated = {str(item["item_id"]): item["rating"] for item in watched[:5]}
    requests = [*examples, ExampleRequest("Ratings sent along", {"ratings": rated})]
    return [
        ExampleRequest(name, {**request.body, "algorithm": name, "explain": True})
        for name in (RANKER, *list_algorithms())
        for request in requests
    ]


def send_if_held(settings: Settings, request: ExampleRequest) -> dict[str, Any] | None:
    """Send a request for an algorithm; None if the version in Production does not hold it.

    Raises
    ------
    ServiceUnavailableError
        As `send`.
    """
    try:
        return send(settings, request)
    except ServiceUnavailableError as error:
        if "unknown-algorithm" in str(error):
            return None
        raise


def misspell(title: str) -> str:
    """Swap two letters near the middle of a title, within a word: a moved space would still be found exactly.

    Examples
    --------
    >>> misspell("Cowboy Bebop")
    'Cowboy eBbop'
    """
    places = sorted(range(1, len(title) - 1), key=lambda place: abs(place - len(title) // 2))
    for place in places:
        first, second = title[place], title[place + 1]
        if first.isalpha() and second.isalpha() and first.lower() != second.lower():
            return title[:place] + second + first + title[place + 2 :]
    return title


def wait_until_ready(settings: Settings) -> dict[str, Any]:
    """Wait until the service has loaded the Production model and return what `GET /model` returns.

    Raises
    ------
    ServiceUnavailableError
        If it is not ready in time.
    """
    deadline = time.monotonic() + READY_SECONDS
    with _open_client(settings) as client:
        while time.monotonic() < deadline:
            # On a busy machine a probe may time out; the deadline decides.
            with suppress(httpx.TransportError):
                if client.get("/health/ready").is_success:
                    model: dict[str, Any] = client.get("/model").raise_for_status().json()
                    return model
            time.sleep(0.2)
    raise ServiceUnavailableError(f"the service is not ready after {READY_SECONDS:.0f} seconds; see its log")


def send(settings: Settings, request: ExampleRequest) -> dict[str, Any]:
    """Send a request and return it with its response and latency in milliseconds.

    A service that has no time (503), as on a busy machine, is asked again for a minute, as its `Retry-After` wants.

    Raises
    ------
    ServiceUnavailableError
        If the service answers with an error or does not respond.
    """

    def post() -> tuple[httpx.Response, float]:
        """Send the request once; the response and milliseconds."""
        start = time.perf_counter()
        response = client.post("/recommend/", json=request.body)
        return response, 1000 * (time.perf_counter() - start)

    again = Retrying(
        retry=retry_if_result(lambda sent: sent[0].status_code == httpx.codes.SERVICE_UNAVAILABLE),
        wait=wait_fixed(1),
        stop=stop_after_delay(BUSY_SECONDS),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
    )
    try:
        with _open_client(settings) as client:
            response, milliseconds = again(post)
    except httpx.TransportError as error:
        raise ServiceUnavailableError(f"the service does not respond: {error}") from error
    if response.is_error:
        raise ServiceUnavailableError(f"the service answered {response.status_code}: {response.text[:300]}")
    return {"question": request.body, "answer": response.json(), "milliseconds": round(milliseconds, 1)}


def _open_client(settings: Settings) -> httpx.Client:
    headers = {"X-API-Key": settings.api_keys[0].get_secret_value()} if settings.api_keys else {}
    return httpx.Client(base_url=f"http://127.0.0.1:{settings.port}", timeout=30.0, headers=headers)
