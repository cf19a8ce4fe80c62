"""Four questions to the running service, over HTTP like any client's."""

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import httpx
from sqlalchemy import func, select

from recsys.columns import ItemColumns
from recsys.connections import open_engine
from recsys.exceptions import ServiceUnavailableError
from recsys.settings import Settings
from recsys.storage.tables import items, ratings, users

READY_SECONDS: Final = 180.0
NOBODY: Final = 1_234_567_890
LIST_LENGTH: Final = 10


@dataclass(frozen=True)
class RequestModel:
    """What is asked, in words and as the body of `POST /recommend/`."""

    title: str
    body: dict[str, Any]


def build_questions(settings: Settings) -> list[RequestModel]:
    """Choose the questions from the data: a user who arrived last, nobody, a user with tastes, a misspelt title."""
    with open_engine(settings) as engine, engine.connect() as connection:
        n_titles = select(func.count()).select_from(items).scalar_subquery()
        # In a tiny world a user may have watched nearly everything; a list for them would show nothing.
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
        RequestModel(f"Existing user {user}, who has just arrived", {"user_input": user}),
        RequestModel("A user unknown", {"user_input": NOBODY}),
        RequestModel(
            f"A user unknown who likes {' and '.join(wanted)}", {"user_input": NOBODY, "user_preferences": wanted}
        ),
        RequestModel(f"Something like “{typo}” (misspelt)", {"user_input": typo}),
    ]


def misspell(title: str) -> str:
    """Swap two letters in the middle of a title.

    Examples
    --------
    >>> misspell("Cowboy Bebop")
    'Cowboy eBbop'
    """
    middle = len(title) // 2 + 1
    return title[: middle - 1] + title[middle : middle + 1] + title[middle - 1 : middle] + title[middle + 1 :]


def wait_until_ready(settings: Settings) -> dict[str, Any]:
    """Wait until the service has loaded the Production model and return what it says about it.

    Raises
    ------
    ServiceUnavailableError
        If it does not get there in time.
    """
    deadline = time.monotonic() + READY_SECONDS
    with _open_client(settings) as client:
        while time.monotonic() < deadline:
            # A busy machine may keep a probe waiting; the deadline is what counts.
            with suppress(httpx.TransportError):
                if client.get("/health/ready").is_success:
                    model: dict[str, Any] = client.get("/model").raise_for_status().json()
                    return model
            time.sleep(0.2)
    raise ServiceUnavailableError(f"the service has no model after {READY_SECONDS:.0f} seconds; see its log")


def ask(settings: Settings, question: RequestModel) -> dict[str, Any]:
    """Ask and return the answer with the milliseconds it took.

    Raises
    ------
    ServiceUnavailableError
        If the service refuses or does not answer.
    """
    start = time.perf_counter()
    try:
        with _open_client(settings) as client:
            response = client.post("/recommend/", json=question.body)
    except httpx.TransportError as error:
        raise ServiceUnavailableError(f"the service does not answer: {error}") from error
    milliseconds = 1000 * (time.perf_counter() - start)
    if response.is_error:
        raise ServiceUnavailableError(f"the service answered {response.status_code}: {response.text[:300]}")
    return {"question": question.body, "answer": response.json(), "milliseconds": round(milliseconds, 1)}


def _open_client(settings: Settings) -> httpx.Client:
    headers = {"X-API-Key": settings.api_keys[0].get_secret_value()} if settings.api_keys else {}
    return httpx.Client(base_url=f"http://127.0.0.1:{settings.port}", timeout=30.0, headers=headers)
