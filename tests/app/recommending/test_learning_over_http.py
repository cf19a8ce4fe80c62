"""A service that learns users while it serves: under load and after SIGKILL journal, database and lists agree."""

import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.models.learned_users import LearnedUsers, find_growing, read_journal
from app.models.serving import load_model
from app.recommending.recommend import recommend
from app.schemas.recommendations import RecommendRequest
from app.stores.user_history import build_history, read_ratings
from recsys.connections import open_engine
from recsys.retrieval.hybrid import Hybrid
from recsys.retrieval.user_user import UserUser
from recsys.settings import Settings
from recsys.storage.registry import Registry
from recsys.storage.users import read_user
from tests.app.harness import wait_for
from tests.app.live import PATIENCE, Ledger, Server, fill_database, register, run_server
from tests.factories import tiny_recommender, tiny_world

pytestmark = [pytest.mark.local, pytest.mark.e2e]
MINUTE, SECONDS_TO_KILL, N_THREADS, N_PROBES = 60.0, 10.0, 20, 12
ALGORITHMS = ("user-user", "hybrid")
QUIET = {"OTAKU_RATE_LIMIT": "1000000/minute", "OTAKU_CACHE_SECONDS": "0", "OTAKU_WATCH_SECONDS": "0.2"}


@dataclass
class Crowd:
    """Threads that register users, let a model learn them and ask for lists, until told to stop.

    Parameters
    ----------
    learned
        Users who were answered by an algorithm that learns, in no order.
    wrong
        Responses that no user should get.
    """

    server: Server
    learned: set[int] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    n_lists: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def work(self, number: int, go_on: Callable[[], bool]) -> None:
        rng = np.random.default_rng(number)
        while go_on():
            with suppress(OSError, HTTPException, ValueError):  # the service is killed in the middle of a response
                self._visit(rng)

    def _visit(self, rng: np.random.Generator) -> None:
        chosen = rng.choice(tiny_world()[0].item_ids, 12, replace=False).tolist()
        ratings = {str(item): int(rng.integers(5, 11)) for item in chosen}
        status, made = self.server.ask("/users", {"ratings": ratings})
        if status != 201:
            self.wrong.append(f"{status}: {made}")
            return
        for algorithm in ALGORITHMS:
            status, response = self.server.ask(
                "/recommend/", {"user_input": made["user_id"], "algorithm": algorithm, "k": 10}
            )
            shown = [item["item_id"] for item in response.get("recommendations", [])]
            if status != 200 or len(set(shown)) != 10 or set(shown) & set(chosen):
                self.wrong.append(f"{algorithm}, {status}: {response}")
            with self._lock:
                self.n_lists += 1
                self.learned.add(int(made["user_id"]))


def crowd(server: Server, go_on: Callable[[], bool]) -> Crowd:
    found = Crowd(server)
    with ThreadPoolExecutor(N_THREADS) as pool:
        list(pool.map(lambda number: found.work(number, go_on), range(N_THREADS)))
    return found


def ask_probes(server: Server, user_ids: list[int]) -> list[list[int]]:
    """Ask for the lists of some users, who change nothing: they were learned before."""
    lists = []
    for user_id in user_ids:
        for algorithm in ALGORITHMS:
            status, response = server.ask("/recommend/", {"user_input": user_id, "algorithm": algorithm, "k": 10})
            assert status == 200, response
            lists.append([item["item_id"] for item in response["recommendations"]])
    return lists


def compute_probes(settings: Settings, folder: Path, journal: Path, user_ids: list[int]) -> list[list[int]]:
    """Compute the same lists in this process, by a model that learns whom the journal names."""
    model = load_model(folder, name="offline", version=1, run_id="r")
    with open_engine(settings) as engine:
        learned = LearnedUsers(journal, lambda some: read_ratings(engine, some))
        assert learned.restore(model) == len(learned.user_ids)
        with engine.connect() as connection:
            found = {one: read_user(connection, one) for one in user_ids}
    assert {tuple(one.inserted) for one in find_growing(model).values()} == {tuple(learned.user_ids)}  # type: ignore[attr-defined]
    users = {one: build_history(user) for one, user in found.items() if user is not None}
    lists = []
    for user_id in user_ids:
        for algorithm in ALGORITHMS:
            body: dict[str, Any] = {"user_input": user_id, "algorithm": algorithm, "k": 10}
            response = recommend(model, RecommendRequest.model_validate(body), users.get, request_id="r")
            lists.append([item.item_id for item in response.recommendations])
    return lists


def test_twenty_clients_for_a_minute_and_a_kill_leave_one_consistent_service(
    settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    fill_database(settings)
    catalog, interactions = tiny_world()
    given = interactions.to_matrix(catalog)
    standalone = {model.name: model.fit(given, catalog) for model in (UserUser(), Hybrid())}
    known, folder = tiny_recommender(), tmp_path / "version"
    folder.mkdir()
    replace(known, retriever=replace(known.retriever, standalone=standalone)).save(folder)
    Ledger(settings, registry).promote(register(registry, folder, "growing"))
    journal = settings.home / "models" / registry.model_name / "learned-users.txt"
    environment = PATIENCE | QUIET

    with run_server(settings, registry.model_name, **environment) as server:
        wait_for(lambda: server.ask("/health/ready")[0] == 200)
        end = time.monotonic() + MINUTE
        calm = crowd(server, lambda: time.monotonic() < end)
        assert calm.wrong == []
        assert len(calm.learned) > 100
        assert set(read_journal(journal)) == calm.learned

    with run_server(settings, registry.model_name, codes=[-signal.SIGKILL], **environment) as server:
        wait_for(lambda: server.ask("/health/ready")[0] == 200)
        killer = threading.Timer(SECONDS_TO_KILL, lambda: server.process.send_signal(signal.SIGKILL))
        killer.start()
        wild = crowd(server, lambda: server.process.poll() is None)
        killer.join()
    assert wild.wrong == []
    assert wild.n_lists > 20
    kept = read_journal(journal)
    assert calm.learned | wild.learned <= set(kept)
    assert len(kept) == len(set(kept))

    probes = [*sorted(calm.learned)[:N_PROBES], *sorted(wild.learned)[-N_PROBES:]]
    with run_server(settings, registry.model_name, **environment) as server:
        wait_for(lambda: server.ask("/health/ready")[0] == 200)
        assert ask_probes(server, probes) == compute_probes(settings, folder, journal, probes)
        assert read_journal(journal) == kept
