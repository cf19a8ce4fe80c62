"""One generator alone, variety, and speed: lists that differ from the usual, and one that must not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.exceptions import UnknownAlgorithmError
from recsys.recommender import UserProfile
from recsys.recommender.list_rules import ListOptions
from recsys.recommender.retriever import RANKER
from tests.factories import list_tiny_algorithms, tiny_recommender, tiny_world

ALGORITHMS = [RANKER, *list_tiny_algorithms()]


def profile_of(user_id: int) -> UserProfile:
    table = tiny_world()[1].table
    rows = table[table["user_id"] == user_id]
    return UserProfile(rows["item_id"].to_numpy(), rows["rating"].to_numpy(dtype=np.float32))


@st.composite
def profiles(draw: st.DrawFn) -> UserProfile:
    catalog = tiny_world()[0]
    ids = draw(st.lists(st.sampled_from(catalog.item_ids.tolist()), max_size=len(catalog), unique=True))
    ratings = draw(st.lists(st.integers(1, 10), min_size=len(ids), max_size=len(ids)))
    genres = draw(st.dictionaries(st.sampled_from(catalog.genres), st.floats(0, 5), max_size=3))
    return UserProfile(np.array(ids, dtype=np.int64), np.array(ratings, dtype=np.float32), genres)


def test_one_model_can_answer_alone() -> None:
    model, whole = tiny_recommender(), profile_of(5)
    catalog_alone = ["content", "content-genre", "synopsis", "popular"]
    assert list(model.retriever.generators) == ["ease", "als", "item-knn", "lightfm", *catalog_alone]
    popularity = model.catalog.items["members"].to_numpy(dtype=np.float32)
    found = model.recommend(whole, algorithm="popular", k=7)
    assert np.array_equal(found.scores, np.sort(popularity[~np.isin(model.catalog.item_ids, whole.item_ids)])[::-1][:7])
    with pytest.raises(
        UnknownAlgorithmError,
        match="no algorithm 'two-tower'; choose among ranker, ease, als, item-knn, lightfm, content, content-genre",
    ):
        model.recommend(whole, algorithm="two-tower")


def test_synopsis_is_near_what_was_liked() -> None:
    model = tiny_recommender()
    one = UserProfile(np.array([1]), np.array([10.0], dtype=np.float32))
    items = model.retriever.items
    likeness = items.text_units @ items.text_units[0]
    likeness[0] = -np.inf
    assert model.recommend(one, algorithm="synopsis", k=1).item_ids[0] == model.catalog.item_ids[np.argmax(likeness)]


@given(profiles(), st.integers(1, 60), st.sampled_from(ALGORITHMS), st.floats(0, 1))
@settings(max_examples=40)
def test_every_algorithm_gives_full_lists_at_every_diversity(
    profile: UserProfile, k: int, algorithm: str, diversity: float
) -> None:
    model = tiny_recommender()
    found = model.recommend(profile, k=k, algorithm=algorithm, options=ListOptions(diversity=diversity))
    left = set(model.catalog.item_ids.tolist()) - set(profile.item_ids.tolist())
    assert len(found) == len(set(found.item_ids.tolist()))
    assert set(found.item_ids.tolist()) <= left
    franchises = model.retriever.items.franchises
    of_list, of_left = (franchises[model.catalog.positions(sorted(ids))] for ids in (found.item_ids, left))
    if diversity:
        assert len(found) == min(k, len(np.unique(of_left))) == len(np.unique(of_list))
    else:
        assert len(found) == min(k, len(left))
    assert set(found.item_ids.tolist()) <= left
    # Where every user gets the same scores, titles of a stated genre go before more popular ones of another.
    in_parts = algorithm == "popular" and profile.genre_weights and not diversity
    assert in_parts or (np.diff(found.scores) <= 0).all()
    assert np.array_equal(found.predicted_ratings, model.predict_ratings(profile, found.item_ids))


def test_a_diverse_list_holds_a_franchise_once() -> None:
    model = tiny_recommender()
    whole = profile_of(6)
    franchises = dict(zip(model.catalog.item_ids.tolist(), model.retriever.items.franchises.tolist(), strict=True))
    found = model.recommend(whole, k=5, options=ListOptions(diversity=0.3))
    similar = model.similar_items(20, k=5, options=ListOptions(diversity=0.3))
    for ids in (found.item_ids.tolist(), similar.item_ids.tolist()):
        assert len({franchises[item] for item in ids}) == 5


def test_an_accelerated_recommender_gives_the_same_lists() -> None:
    """Bit for bit, for 200 users: everybody, and forty of them with shorter histories."""
    model = tiny_recommender()
    fast = model.accelerate()
    assert set(fast.ranker.forests) == {"relevance", "rating"}
    users = [profile_of(user) for user in range(1, 161)]
    users += [
        UserProfile(some_user.item_ids[:length], some_user.ratings[:length])
        for some_user in users[:10]
        for length in range(4)
    ]
    assert len(users) == 200
    for some_user in users:
        slow_list, fast_list = model.recommend(some_user), fast.recommend(some_user)
        assert np.array_equal(slow_list.item_ids, fast_list.item_ids)
        assert np.array_equal(slow_list.scores, fast_list.scores)
        assert np.array_equal(slow_list.predicted_ratings, fast_list.predicted_ratings)
