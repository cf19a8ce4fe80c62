"""Lists that a fan would call right: on a small world made for it, and on a real model where one is at hand."""

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.models.serving import ServingModel
from app.recommending.groups import recommend_to_group
from app.recommending.recommend import recommend
from app.schemas.groups import GroupRequest
from app.schemas.recommendations import RecommendedItem, RecommendRequest, RecommendResponse
from recsys.exceptions import UnknownTitleError
from recsys.recommender import Recommender
from recsys.recommender.together import FLOOR
from tests.app.recommending.list_world import AFTER_STORY, CLANNAD, GEASS, GEASS_2, train_list_model

NO_MODEL = "OTAKU_TEST_LIST_MODEL names no trained model"
# A folder of a version that was trained on MyAnimeList, which takes minutes.
REAL = os.environ.get("OTAKU_TEST_LIST_MODEL", "")
N_USERS = 500


@cache
def load(world: str) -> ServingModel:
    recommender = train_list_model() if world == "small" else Recommender.load(Path(REAL))
    return ServingModel.build(recommender.accelerate(), name="lists", version=1, run_id="")


@pytest.fixture(
    params=[
        "small",
        pytest.param("real", marks=[pytest.mark.e2e, pytest.mark.skipif(not REAL, reason=NO_MODEL)]),
    ]
)
def model(request: pytest.FixtureRequest) -> ServingModel:
    return load(request.param)


def respond(model: ServingModel, **body: Any) -> RecommendResponse:
    request = RecommendRequest.model_validate(body)
    return recommend(model, request, lambda _: None, request_id="")


def ask(model: ServingModel, **body: Any) -> list[RecommendedItem]:
    return respond(model, **body).recommendations


def list_ids(model: ServingModel, **body: Any) -> list[int]:
    return [item.item_id for item in ask(model, **body)]


def find_franchises(model: ServingModel, item_ids: list[int]) -> list[int]:
    franchises = model.recommender.retriever.items.franchises
    return [int(franchises[place]) for place in model.recommender.catalog.positions(item_ids)]


def is_adult(model: ServingModel, item_ids: list[int]) -> bool:
    return bool(model.filters.adult[model.recommender.catalog.positions(item_ids)].any())


def test_a_genre_brings_no_title_for_adults(model: ServingModel) -> None:
    found = list_ids(model, user_preferences={"Yuri": 1}, k=10)
    assert len(found) == 10
    assert not is_adult(model, found)
    assert is_adult(model, list_ids(model, user_preferences={"Yuri": 1}, k=10, adult=True))


def test_a_disliked_title_brings_no_sequel(model: ServingModel) -> None:
    found = list_ids(model, ratings={str(GEASS): 1}, k=5)
    assert len(found) == 5
    assert not {GEASS, GEASS_2} & set(found)
    assert GEASS_2 in list_ids(model, ratings={str(GEASS): 9}, k=30)


def test_whoever_likes_nothing_gets_nothing_below_their_mean_before_better_titles(model: ServingModel) -> None:
    ratings = {"1535": 2, str(GEASS): 3, "16498": 1}
    found = ask(model, ratings=ratings, k=8)
    disliked = find_franchises(model, [int(item_id) for item_id in ratings])
    assert len(found) == 8
    assert not set(disliked) & set(find_franchises(model, [item.item_id for item in found]))
    is_below = [(item.predicted_rating or 0) < 2.0 for item in found]
    assert is_below == sorted(is_below)
    scores = [item.score for item in found]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(("title", "k"), [("Yu☆Gi☆Oh! Duel Monsters", 10), ("Bakemonogatari", 15)])
def test_a_diverse_list_holds_a_franchise_once(model: ServingModel, title: str, k: int) -> None:
    found = find_franchises(model, list_ids(model, user_input=title, k=k, diversity=0.3))
    assert len(found) == len(set(found)) == k


def test_a_later_season_comes_after_the_first_unseen_one(model: ServingModel) -> None:
    found = list_ids(model, user_preferences={"Romance": 1, "Slice of Life": 1}, k=10)
    assert AFTER_STORY not in found
    assert CLANNAD in found
    every = ask(model, user_preferences={"Romance": 1, "Slice of Life": 1}, k=30, seasons="all")
    later = next(item for item in every if item.item_id == AFTER_STORY)
    assert [season.item_id for season in later.unseen_before] == [CLANNAD]


def test_a_new_user_gets_no_sequel(model: ServingModel) -> None:
    found = list_ids(model, k=10)
    order = model.recommender.retriever.items.season_order
    assert GEASS_2 not in found
    assert not order.n_required[model.recommender.catalog.positions(found)].any()


def test_filters_ask_for_no_title_for_adults(model: ServingModel) -> None:
    found = list_ids(model, filters={"genres_any": ["Hentai"]}, k=10)
    assert not found or not is_adult(model, found)


def test_whole_ratings_may_be_floats_and_zero_is_watched(model: ServingModel) -> None:
    assert list_ids(model, ratings={"5": 8.0}, k=5) == list_ids(model, ratings={"5": 8}, k=5)
    with_zero = respond(
        model, ratings={"2": 9, "3": 0} if 3 in model.recommender.catalog.item_ids else {"5": 9, "1": 0}
    )
    zero = 3 if 3 in model.recommender.catalog.item_ids else 1
    assert zero not in [item.item_id for item in with_zero.recommendations]
    assert zero not in [item.item_id for item in with_zero.watched]


def draw_histories(model: ServingModel, n_users: int) -> list[dict[str, int]]:
    """Histories of 0 to 40 titles, most of them popular, from users who like everything or nothing."""
    rng = np.random.default_rng(2026)
    item_ids = model.recommender.catalog.item_ids[model.by_popularity[: min(2_000, len(model.by_popularity) // 2)]]
    histories = []
    for number in range(n_users):
        size = min(int(rng.integers(0, 40)) if number % 5 else 0, len(item_ids) // 3)
        weights = 1.0 / np.arange(1, len(item_ids) + 1) ** 0.7
        picked = rng.choice(item_ids, size=size, replace=False, p=weights / weights.sum())
        ratings = np.clip(rng.normal(rng.uniform(3, 9), 2.0, size), 1, 10).round().astype(int)
        histories.append({str(item_id): int(rating) for item_id, rating in zip(picked, ratings, strict=True)})
    return histories


def test_five_hundred_users_get_lists_that_keep_every_rule(model: ServingModel) -> None:
    catalog, order = model.recommender.catalog, model.recommender.retriever.items.season_order
    for number, history in enumerate(draw_histories(model, N_USERS)):
        diversity = 0.4 if number % 3 == 0 else 0.0
        found = list_ids(model, ratings=history, k=5, diversity=diversity)
        watched = {int(place) for place in catalog.positions([int(item_id) for item_id in history])}
        positions = catalog.positions(found).tolist()
        numbers = order.numbers[positions].tolist()

        assert len(found) == 5
        assert not is_adult(model, found)
        assert len(set(numbers)) == 5
        assert not watched & set(positions)
        for place in positions:
            assert set(order.list_before(place)) <= watched
        rated: dict[int, list[int]] = {}
        for item_id, rating in history.items():
            rated.setdefault(int(order.numbers[catalog.positions([int(item_id)])[0]]), []).append(rating)
        assert not {franchise for franchise, given in rated.items() if np.mean(given) <= 4} & set(numbers)


def test_statuses_decide_which_season_is_next_and_what_is_disliked(model: ServingModel) -> None:
    completed = list_ids(model, list=[{"item_id": GEASS, "status": "completed"}], k=30)
    dropped = list_ids(model, list=[{"item_id": GEASS, "status": "dropped"}], k=30)
    assert GEASS not in completed
    assert GEASS_2 in completed
    assert not {GEASS, GEASS_2} & set(dropped)


def test_the_slider_moves_the_mean_popularity_of_nearly_everybody(model: ServingModel) -> None:
    ranks = model.recommender.popularity_ranks
    catalog = model.recommender.catalog
    monotone = []
    for history in draw_histories(model, 60):
        means = []
        for popularity in (-1.0, -0.5, 0.0, 0.5, 1.0):
            found = list_ids(model, ratings=history, k=10, popularity=popularity)
            means.append(float(ranks[catalog.positions(found)].mean()))
        monotone.append(means == sorted(means, reverse=True))
    assert np.mean(monotone) >= 0.95


def test_candidates_alone_are_ranked_whatever_their_season(model: ServingModel) -> None:
    wanted = [GEASS_2, CLANNAD, AFTER_STORY, 5, 10**9]
    planned = [{"item_id": item_id, "status": "planned"} for item_id in wanted[:4]]
    found = ask(model, ratings={"1": 9}, list=planned, candidates=wanted, k=10)
    assert {item.item_id for item in found} == set(wanted[:4])
    assert {item.item_id for item in found if item.unseen_before} == {GEASS_2, AFTER_STORY}
    assert AFTER_STORY not in list_ids(model, ratings={"1": 9}, candidates=wanted, seasons="next", k=10)
    assert list_ids(model, candidates=[10**9], k=10) == []


def test_a_group_gets_what_nobody_has_seen_with_a_number_for_each(model: ServingModel) -> None:
    members = [{"ratings": {"1": 9, str(GEASS): 10}}, {"ratings": {str(CLANNAD): 9}}, {"liked": ["Death Note"]}]
    request = GroupRequest.model_validate({"members": members, "k": 8})
    found = recommend_to_group(model, request, [None] * 3, adult=False, request_id="r").recommendations
    item_ids = [item.item_id for item in found]
    assert len(item_ids) == len(set(find_franchises(model, item_ids))) == 8
    assert not {1, GEASS, GEASS_2, CLANNAD, AFTER_STORY, 1535} & set(item_ids)
    assert not is_adult(model, item_ids)
    assert all(len(item.members) == 3 for item in found)
    for item in found:
        shares = [share.percentile for share in item.members]
        assert item.mean_percentile == pytest.approx(np.mean(shares), abs=1e-3)
    disliked = [min(share.percentile for share in item.members) < FLOOR for item in found]
    assert disliked == sorted(disliked)
    for below in (False, True):
        scores = [item.score for item, found_below in zip(found, disliked, strict=True) if found_below is below]
        assert scores == sorted(scores, reverse=True)


def test_the_name_of_a_title_for_adults_is_unknown(model: ServingModel) -> None:
    places = np.flatnonzero(model.filters.adult)[:50]
    for place in places:
        name = model.titles.works.titles[place]
        try:
            assert not is_adult(model, [model.titles.resolve(name).item_id])
        except UnknownTitleError:
            continue
