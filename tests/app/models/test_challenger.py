import itertools
from collections.abc import Callable

import numpy as np
import pytest
from pydantic import SecretStr

from app.metrics import ServiceMetrics
from app.models.challenger import Challenger, compute_overlap, compute_rank_correlation, hash_to_unit_interval
from app.models.production import ProductionModel
from recsys.settings import Settings
from recsys.types import Ids
from tests.app.harness import FolderSource, open_client, wait_for


@pytest.fixture
def metrics() -> ServiceMetrics:
    return ServiceMetrics()


def read(metrics: ServiceMetrics, name: str) -> float:
    lines = [line for line in metrics.render().decode().splitlines() if line.startswith(f"{name} ")]
    return float(lines[0].split()[-1]) if lines else 0.0


def build(source: FolderSource, metrics: ServiceMetrics, **shares: float) -> Challenger:
    return Challenger(source, "anime-recommender", metrics, **shares)


def test_it_comes_with_its_alias_and_goes_with_it_or_by_promotion(
    source: FolderSource, metrics: ServiceMetrics
) -> None:
    challenger = build(source, metrics, canary_share=0.5)
    challenger.refresh(1)
    assert challenger.model is None
    source.challenger = 2
    challenger.refresh(1)
    assert challenger.model is not None
    assert challenger.model.version == 2
    challenger.refresh(2)
    assert challenger.model is None
    challenger.refresh(1)
    source.challenger = None
    challenger.refresh(1)
    assert challenger.model is None


def test_without_shares_nothing_is_loaded(source: FolderSource, metrics: ServiceMetrics) -> None:
    source.challenger = 2
    build(source, metrics).refresh(1)

    assert source.downloads == []


def test_a_broken_one_is_refused_once_and_production_answers(source: FolderSource, metrics: ServiceMetrics) -> None:
    source.challenger = 9
    challenger = build(source, metrics, canary_share=1.0)
    for second in range(2):
        challenger.refresh(1, clock=lambda now=float(second): now)
    production = ProductionModel(source, "anime-recommender", metrics)
    production.refresh()

    assert read(metrics, "otaku_model_refusals_total") == 1
    assert challenger.choose(production.current, 7) is production.current


def test_users_stay_with_their_model_and_the_share_is_kept(source: FolderSource, metrics: ServiceMetrics) -> None:
    source.challenger = 2
    challenger = build(source, metrics, canary_share=0.2)
    challenger.refresh(1)
    production = ProductionModel(source, "anime-recommender", metrics)
    production.refresh()

    chosen = {user: challenger.choose(production.current, user).version for user in range(2000)}

    assert {user: challenger.choose(production.current, user).version for user in range(2000)} == chosen
    assert 0.15 < np.mean([version == 2 for version in chosen.values()]) < 0.25
    assert challenger.choose(production.current, None).version == 1


def compare(challenger: Challenger, compute: Callable[..., Ids], expected: Ids) -> None:
    with challenger:
        assert challenger.shadow("request", expected, compute)
        wait_for(lambda: challenger._waiting._value == 16)


def test_a_shadowed_request_is_compared(source: FolderSource, metrics: ServiceMetrics) -> None:
    source.challenger = 2
    challenger = build(source, metrics, shadow_share=1.0)
    assert not challenger.shadow("request", np.array([1]), lambda _: np.array([1]))  # there is no model yet
    challenger.refresh(1)
    seen = []

    compare(challenger, lambda model: seen.append(model.version) or np.arange(5, 15), np.arange(10))

    assert seen == [2]
    assert read(metrics, 'otaku_shadow_total{result="compared"}') == 1
    assert read(metrics, "otaku_shadow_overlap_at_10_sum") == 0.5
    assert read(metrics, "otaku_shadow_duration_seconds_count") == 1


def test_a_challenger_that_fails_is_counted_and_nothing_else(source: FolderSource, metrics: ServiceMetrics) -> None:
    source.challenger = 2
    challenger = build(source, metrics, shadow_share=1.0)
    challenger.refresh(1)

    def fail(_: object) -> Ids:
        raise ZeroDivisionError

    compare(challenger, fail, np.arange(10))
    assert read(metrics, 'otaku_shadow_total{result="failed"}') == 1


@pytest.mark.parametrize(
    ("one", "other", "overlap", "correlation"),
    [
        ([1, 2, 3], [1, 2, 3], 1.0, 1.0),
        ([1, 2, 3], [3, 2, 1], 1.0, -1.0),
        ([1, 2], [3, 4], 0.0, -0.9487),
        ([1, 2, 3, 4], [1, 2, 3, 5], 0.75, 0.9),
        ([], [], 1.0, 1.0),
        ([1], [1], 1.0, 1.0),
        ([1], [], 0.0, -1.0),
        ([1, 2], [], 0.0, -1.0),
        ([], [1, 2], 0.0, -1.0),
    ],
)
def test_lists_are_compared_by_hand(one: list[int], other: list[int], overlap: float, correlation: float) -> None:
    lists = np.array(one, dtype=np.int64), np.array(other, dtype=np.int64)

    assert compute_overlap(*lists) == overlap
    assert compute_rank_correlation(*lists) == pytest.approx(correlation, abs=0.06)


def test_places_are_even() -> None:
    places = [hash_to_unit_interval(user) for user in range(5000)]

    assert all(0 <= place < 1 for place in places)
    assert np.histogram(places, bins=10, range=(0, 1))[0].min() > 400


def test_the_application_shadows_off_the_path_of_the_answer(offline_settings: Settings, source: FolderSource) -> None:
    source.challenger = 2
    settings = offline_settings.model_copy(update={"shadow_share": 1.0, "canary_share": 1.0})
    lengths = itertools.cycle(range(1, 100))  # every request is a new one, the cache knows none
    with open_client(settings, source) as client:

        def is_shadowed() -> bool:
            response = client.post("/recommend/", json={"k": next(lengths)}).json()
            assert response["model"]["version"] == 1  # anonymous users are never canaries
            return 'otaku_shadow_total{result="compared"}' in client.get("/metrics").text

        wait_for(is_shadowed)


@pytest.mark.local
def test_a_canary_is_answered_by_the_challenger_and_told_so(
    offline_settings: Settings, source: FolderSource, database_url: str
) -> None:
    source.challenger = 2
    values = {"canary_share": 0.5, "database_url": SecretStr(database_url)}
    with open_client(offline_settings.model_copy(update=values), source) as client:

        def versions() -> dict[int, int]:
            bodies = {user: client.post("/recommend/", json={"user_input": user}).json() for user in range(12)}
            return {user: body["model"]["version"] for user, body in bodies.items()}

        wait_for(lambda: 2 in versions().values())
        assert versions() == {user: 2 if hash_to_unit_interval(user) < 0.5 else 1 for user in range(12)}
        assert 'otaku_answers_total{role="challenger",version="2"}' in client.get("/metrics").text
        source.challenger = None
        wait_for(lambda: set(versions().values()) == {1})
