"""Clients who ask for reasons delay nobody else."""

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.recommending.lists import MAX_EXPLAINED
from tests.app.harness import TestClient, wait_for
from tests.factories import tiny_world

RATINGS = {str(item_id): 9 for item_id in tiny_world()[0].item_ids[:12].tolist()}


def test_the_first_titles_alone_get_reasons(client: TestClient) -> None:
    response = client.post("/recommend/", json={"ratings": RATINGS, "k": 30, "explain": True})

    shown = response.json()["recommendations"]
    assert len(shown) == 30
    assert all(title["reasons"] == [] for title in shown[MAX_EXPLAINED:])
    assert sum(bool(title["reasons"]) for title in shown[:MAX_EXPLAINED]) > 5


def test_while_reasons_are_computed_other_lists_are_and_too_many_are_refused(client: TestClient) -> None:
    service = client.app.state.service  # type: ignore[attr-defined]
    lane = service.explainers
    go_on, begun = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert go_on.wait(120)

    assert lane._threads is not None
    held = lane._threads.submit(hold)
    assert begun.wait(60)
    try:
        with ThreadPoolExecutor(lane.max_waiting) as clients:
            bodies = [{"ratings": RATINGS, "k": k + 1, "explain": True} for k in range(lane.max_waiting)]
            asked = [clients.submit(client.post, "/recommend/", json=body) for body in bodies]
            wait_for(lambda: lane._waiting == lane.max_waiting)
            refused = client.post("/recommend/", json={"ratings": RATINGS, "k": 40, "explain": True})
            assert refused.status_code == 503
            assert "Retry-After" in refused.headers
            for k in range(1, 20):
                assert client.post("/recommend/", json={"ratings": RATINGS, "k": k}).status_code == 200
            assert lane._waiting == lane.max_waiting, "all of them waited meanwhile"
            go_on.set()
            assert {future.result().status_code for future in asked} == {200}
    finally:
        go_on.set()
        held.result()


@pytest.mark.e2e
def test_others_are_answered_as_fast_beside_two_who_ask_for_reasons(
    client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(n: int, salt: float) -> float:
        taken = []
        for number in range(n):
            body = {
                "ratings": {**RATINGS, "1": 1 + number % 10},
                "k": 1 + number % 40,
                "diversity": number / (2 * n) + salt,
            }
            started = time.perf_counter()
            assert client.post("/recommend/", json=body).status_code == 200
            taken.append(time.perf_counter() - started)
        return statistics.quantiles(taken, n=20)[-1]

    stop = threading.Event()

    def keep_asking(start: int) -> None:
        number = start
        while not stop.is_set():
            number += 2
            body = {"ratings": {**RATINGS, "19": 1 + number % 10}, "k": 40, "explain": True, "diversity": number / 1e6}
            client.post("/recommend/", json=body)

    measure(100, 0.3)
    alone = measure(400, 0.1)
    askers = [threading.Thread(target=keep_asking, args=(start,)) for start in (0, 1)]
    for asker in askers:
        asker.start()
    try:
        beside = measure(400, 0.2)
    finally:
        stop.set()
        for asker in askers:
            asker.join(60)
    with capsys.disabled():
        print(f"\np95 alone {alone * 1000:.1f} ms, beside two {beside * 1000:.1f} ms, {beside / alone:.2f} times")  # noqa: T201
