"""One list for several users: what its order promises."""

import numpy as np
import pytest

from recsys.recommender import UserProfile
from recsys.recommender.list_rules import PLAIN
from recsys.recommender.together import FLOOR, SharedList, recommend_together
from tests.factories import tiny_recommender, tiny_world


def profile_of(user_id: int) -> UserProfile:
    """Half a history, so that titles are left to recommend."""
    table = tiny_world()[1].table
    rows = table[table["user_id"] == user_id].iloc[::2]
    return UserProfile(rows["item_id"].to_numpy(), rows["rating"].to_numpy(dtype=np.float32))


def rank(profiles: list[UserProfile], k: int = 10) -> SharedList:
    model = tiny_recommender()
    return recommend_together(model, profiles, np.ones(len(model.catalog), dtype=np.bool_), k, PLAIN)


def test_users_of_one_taste_get_the_list_of_each() -> None:
    alone = tiny_recommender().recommend(profile_of(3), k=10)
    assert rank([profile_of(3)] * 3).item_ids.tolist() == alone.item_ids.tolist()


@pytest.mark.parametrize("users", [(1, 2), (2, 4, 5), (1, 2, 3, 4, 5)])
def test_the_order_is_that_of_first_choices_above_the_floor(users: tuple[int, ...]) -> None:
    model, profiles = tiny_recommender(), [profile_of(user) for user in users]
    found = rank(profiles, k=48)
    positions = model.catalog.positions(found.item_ids)
    rows = [(one.to_history(model.catalog), one.to_tastes(model.catalog)) for one in profiles]
    scores = np.stack([model.score(history, tastes, [positions]) for history, tastes in rows]).astype(np.float64)
    chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)

    assert found.scores == pytest.approx(chances.mean(axis=0), abs=1e-5)
    assert found.scores.sum() == pytest.approx(1, abs=1e-4)
    below = found.percentiles.min(axis=1) < FLOOR
    assert (np.diff(below.astype(int)) >= 0).all()
    for part in (found.scores[~below], found.scores[below]):
        assert (np.diff(part) <= 0).all()


def test_where_every_title_is_filtered_the_list_is_empty() -> None:
    model = tiny_recommender()
    nothing = np.zeros(len(model.catalog), dtype=np.bool_)
    found = recommend_together(model, [profile_of(1), profile_of(2)], nothing, 10, PLAIN)
    assert (found.item_ids.size, found.scores.size, found.percentiles.shape) == (0, 0, (0, 2))


def test_a_percentile_is_the_share_of_the_pool_that_a_user_would_like_less() -> None:
    found = rank([profile_of(1), profile_of(2)], k=48)
    for column in found.percentiles.T:
        assert np.sort(column) == pytest.approx(np.linspace(0, 100, len(column)), abs=1e-3)
