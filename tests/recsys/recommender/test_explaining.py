"""Reasons are true: without what they cite, the score falls."""

import numpy as np
import pytest

from recsys.recommender import Recommendations, Recommender, UserProfile
from recsys.recommender.explaining import MAX_REASONS, explain, explain_similar
from tests.factories import tiny_recommender, tiny_world


def profile_of(user_id: int) -> UserProfile:
    table = tiny_world()[1].table
    rows = table[table["user_id"] == user_id]
    return UserProfile(rows["item_id"].to_numpy(), rows["rating"].to_numpy(dtype=np.float32))


def score_of(model: Recommender, profile: UserProfile, item_id: int, algorithm: str) -> float:
    history, tastes = profile.to_history(model.catalog), profile.to_tastes(model.catalog)
    return float(model.score(history, tastes, [model.catalog.positions([item_id])], algorithm)[0])


@pytest.mark.parametrize("algorithm", ["ranker", "content", "item-knn"])
def test_without_the_cited_title_the_score_falls_by_the_contribution(algorithm: str) -> None:
    model = tiny_recommender()
    n_cited, n_exact = 0, 0
    for user in range(1, 25):
        user_profile = profile_of(user)
        found = model.recommend(user_profile, k=5, algorithm=algorithm)
        given = explain(model, user_profile, found, algorithm)
        for item_id, reasons in zip(found.item_ids.tolist(), given, strict=True):
            for reason in reasons:
                if reason.kind != "liked_title":
                    continue
                kept = user_profile.item_ids != reason.item_id
                assert kept.sum() == len(kept) - 1
                without = UserProfile(user_profile.item_ids[kept], user_profile.ratings[kept])
                before = score_of(model, user_profile, item_id, algorithm)
                after = score_of(model, without, item_id, algorithm)
                assert after < before
                n_exact += reason.contribution == pytest.approx(before - after, rel=1e-4, abs=1e-6)
                n_cited += 1
    assert n_cited > 50
    # The last digit of a cosine depends on the rows beside it, and this world is so small that trees split there.
    assert n_exact >= 0.97 * n_cited


def test_reasons_are_few_positive_and_ordered() -> None:
    model, user_profile = tiny_recommender(), profile_of(3)
    for reasons in explain(model, user_profile, model.recommend(user_profile)):
        contributions = [reason.contribution for reason in reasons]
        assert len(reasons) <= MAX_REASONS
        assert min(contributions, default=1) > 0
        assert contributions == sorted(contributions, reverse=True)
        assert all(reason.text.endswith(".") for reason in reasons)


def test_genres_are_those_of_the_title_and_of_the_user() -> None:
    model = tiny_recommender()
    wanted = UserProfile(genre_weights={"Romance": 1.0, "Drama": 0.5})
    found = model.recommend(wanted)
    given = explain(model, wanted, found)
    genres = dict(zip(model.catalog.item_ids.tolist(), model.catalog.items["genres"], strict=True))
    texts = [
        (item, reason.text)
        for item, reasons in zip(found.item_ids.tolist(), given, strict=True)
        for reason in reasons
        if reason.kind == "genres"
    ]
    for item, text in texts:
        named = text.removeprefix("Matches genres you like: ").removesuffix(".").split(" and ")
        assert set(named) <= set(genres[item]) & {"Romance", "Drama"}


def test_a_new_user_gets_popularity_as_the_only_reason() -> None:
    model, new_user = tiny_recommender(), UserProfile()
    found = model.recommend(new_user)
    kinds = {reason.kind for reasons in explain(model, new_user, found) for reason in reasons}
    assert kinds == {"popularity"}


def test_popularity_and_genres_add_up_to_the_score_of_a_new_user() -> None:
    model = tiny_recommender()
    every = {genre: 1.0 + place for place, genre in enumerate(model.catalog.genres)}
    for stated in ({"Romance": 1.0, "Drama": 0.5}, every):
        wanted = UserProfile(genre_weights=stated)
        found = model.recommend(wanted)
        for score, reasons in zip(found.scores, explain(model, wanted, found), strict=True):
            assert {reason.kind for reason in reasons} == {"popularity", "genres"}
            assert sum(reason.contribution for reason in reasons) == pytest.approx(score, abs=1e-5)


def test_the_only_title_of_a_history_is_not_cited() -> None:
    """Without it the list would be made in another way, and its scores mean something else."""
    model, user_profile = tiny_recommender(), UserProfile(np.array([1]), np.array([9.0], dtype=np.float32))
    given = explain(model, user_profile, model.recommend(user_profile))
    assert "liked_title" not in {reason.kind for reasons in given for reason in reasons}
    alone = explain(model, user_profile, model.recommend(user_profile, algorithm="content"), "content")
    assert "liked_title" in {reason.kind for reasons in alone for reason in reasons}


def test_what_is_popular_is_so_by_its_score() -> None:
    model, user_profile = tiny_recommender(), profile_of(3)
    found = model.recommend(user_profile, algorithm="popular", k=3)
    given = explain(model, user_profile, found, "popular")
    assert [reasons[0].contribution for reasons in given] == found.scores.tolist()


def test_an_empty_list_needs_no_reason() -> None:
    nothing = Recommendations(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.float32))
    assert explain(tiny_recommender(), profile_of(3), nothing) == []


def test_the_parts_of_likeness_add_up_to_the_score() -> None:
    model = tiny_recommender()
    found = model.similar_items(20, k=8)
    for score, reasons in zip(found.scores, explain_similar(model, 20, found.item_ids), strict=True):
        assert all(reason.item_id == 20 for reason in reasons)
        assert {reason.kind for reason in reasons} <= {"audience", "synopsis"}
        if len(reasons) == 2:
            assert sum(reason.contribution for reason in reasons) == pytest.approx(score, abs=1e-5)


def test_a_history_of_one_title_can_be_cited() -> None:
    model = tiny_recommender()
    one = UserProfile(np.array([1]), np.array([3.0], dtype=np.float32))
    texts = [
        reason.text for reasons in explain(model, one, model.recommend(one)) for reason in reasons if reason.item_id
    ]
    assert set(texts) <= {"Cowboy Bebop is among your highest ratings."}
