"""Retrieve, featurise, rank: what every list promises."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import vstack

from recsys.data.users import build_users
from recsys.exceptions import ArtifactError, DataContractError, UnknownItemError
from recsys.recommender import Recommender, UserProfile
from recsys.recommender.list_rules import ListOptions
from recsys.recommender.retriever import GENRE_WEIGHT
from recsys.recommender.training import (
    COLD_LENGTHS,
    add_cold_start_users,
    build_tables,
    build_training_users,
    find_rated,
)
from tests.factories import tiny_recommender, tiny_world

N_ITEMS = 48


def profile_of(user_id: int) -> UserProfile:
    table = tiny_world()[1].table
    rows = table[table["user_id"] == user_id]
    return UserProfile(rows["item_id"].to_numpy(), rows["rating"].to_numpy(dtype=np.float32))


@st.composite
def profiles(draw: st.DrawFn) -> UserProfile:
    catalog = tiny_world()[0]
    ids = draw(st.lists(st.sampled_from(catalog.item_ids.tolist()), max_size=N_ITEMS, unique=True))
    ratings = draw(st.lists(st.integers(1, 10), min_size=len(ids), max_size=len(ids)))
    genres = draw(st.dictionaries(st.sampled_from(catalog.genres), st.floats(0, 5), max_size=3))
    return UserProfile(np.array(ids, dtype=np.int64), np.array(ratings, dtype=np.float32), genres)


@given(profiles(), st.integers(1, 60), st.lists(st.booleans(), min_size=N_ITEMS, max_size=N_ITEMS))
@settings(max_examples=60, deadline=None)
def test_lists_are_full_new_distinct_and_allowed(profile: UserProfile, k: int, allowed: list[bool]) -> None:
    model = tiny_recommender()
    mask = np.array(allowed)
    found = model.recommend(profile, k=k, allowed=mask)
    left = set(model.catalog.item_ids[mask].tolist()) - set(profile.item_ids.tolist())
    assert len(found) == min(k, len(left))
    assert set(found.item_ids.tolist()) <= left
    assert len(set(found.item_ids.tolist())) == len(found)
    assert (np.diff(found.scores) <= 0).all()
    assert ((found.predicted_ratings >= 1) & (found.predicted_ratings <= 10)).all()


def test_tastes_show_in_the_list() -> None:
    model = tiny_recommender()
    fights = {
        item
        for item, genres in zip(model.catalog.item_ids, model.catalog.items["genres"], strict=True)
        if "Action" in genres
    }
    hits = [[item in fights for item in model.recommend(profile_of(user), k=5).item_ids] for user in range(1, 41)]
    assert np.mean(hits[0::2]) > np.mean(hits[1::2]) + 0.4


def test_every_genre_of_a_title_counts_for_stated_tastes() -> None:
    model = tiny_recommender()
    second = {"Shounen": 1.0}  # never the first genre of a title in this world
    carries = [
        item
        for item, genres in zip(model.catalog.item_ids, model.catalog.items["genres"], strict=True)
        if "Shounen" in genres
    ]
    found = model.recommend(UserProfile(genre_weights=second), k=len(carries))
    assert set(found.item_ids.tolist()) == set(carries)


def test_without_a_history_the_popular_comes_first_and_stated_genres_lift() -> None:
    model = tiny_recommender()
    likes = model.retriever.score_popularity(UserProfile().to_history(model.catalog))[0]
    unknown = model.recommend(UserProfile(), k=20)
    assert unknown.scores == pytest.approx(-np.sort(-likes)[:20])
    assert unknown.scores == pytest.approx(likes[model.catalog.positions(unknown.item_ids)])
    action = model.catalog.genre_matrix[:, model.catalog.genres.index("Action")]
    lifted = np.where(action > 0, likes + GENRE_WEIGHT * action / model.retriever.items.genre_norms, -np.inf)
    assert (action > 0).sum() > 10
    fan = model.recommend(UserProfile(genre_weights={"Action": 3.0}), k=10)
    assert fan.scores == pytest.approx(-np.sort(-lifted)[:10])
    assert fan.scores == pytest.approx(lifted[model.catalog.positions(fan.item_ids)])


@pytest.mark.parametrize("diversity", [0.0, 0.7])
@pytest.mark.parametrize("algorithm", ["ranker", "content"])
def test_titles_without_a_stated_genre_come_after_all_that_carry_one(diversity: float, algorithm: str) -> None:
    model = tiny_recommender()
    drama = model.catalog.genre_matrix[:, model.catalog.genres.index("Drama")] > 0
    found = model.recommend(
        UserProfile(genre_weights={"Drama": 1.0}),
        k=20,
        options=ListOptions(diversity=diversity),
        algorithm=algorithm,
    )
    carry = drama[model.catalog.positions(found.item_ids)]
    assert carry.tolist() == [True] * int(drama.sum()) + [False] * (20 - int(drama.sum()))
    assert len(set(found.item_ids.tolist())) == 20
    assert (np.diff(found.scores) <= 1e-6).all()


def test_an_unknown_genre_is_named() -> None:
    with pytest.raises(DataContractError, match="genre 'Isekai' is unknown"):
        tiny_recommender().recommend(UserProfile(genre_weights={"Isekai": 1.0}))


def test_unknown_titles_are_named() -> None:
    with pytest.raises(UnknownItemError, match="item 999999 is not in the catalog"):
        tiny_recommender().recommend(UserProfile(np.array([999999]), np.array([5.0], dtype=np.float32)))


@pytest.mark.parametrize(
    ("item_ids", "ratings"), [([1, 1], [5, 6]), ([1], [0]), ([1], [11]), ([1], [5, 6]), ([1], [float("nan")])]
)
def test_impossible_histories_are_refused(item_ids: list[int], ratings: list[float]) -> None:
    with pytest.raises(DataContractError):
        UserProfile(np.array(item_ids), np.array(ratings, dtype=np.float32))


def test_the_order_of_a_history_does_not_matter() -> None:
    model, whole = tiny_recommender(), profile_of(5)
    order = np.random.default_rng(0).permutation(len(whole.item_ids))
    shuffled = UserProfile(whole.item_ids[order], whole.ratings[order])
    first, second = model.recommend(whole), model.recommend(shuffled)
    assert np.array_equal(first.item_ids, second.item_ids)
    assert np.array_equal(first.scores, second.scores)


def test_a_crowd_is_ranked_like_each_of_its_users() -> None:
    model = tiny_recommender()
    users = [profile_of(user) for user in range(1, 31)]
    together = model.rank(vstack([user_profile.to_history(model.catalog) for user_profile in users], format="csr"))
    for user_profile, (positions, _) in zip(users, together, strict=True):
        assert model.catalog.item_ids[positions].tolist() == model.recommend(user_profile).item_ids.tolist()


def test_the_same_seed_gives_the_same_lists() -> None:
    once = tiny_recommender.__wrapped__(seed=5)
    again = tiny_recommender.__wrapped__(seed=5)
    for user in range(1, 21):
        assert np.array_equal(once.recommend(profile_of(user)).scores, again.recommend(profile_of(user)).scores)


def test_recommender_survives_the_disk_without_pickles(tmp_path: Path) -> None:
    model = tiny_recommender()
    model.save(tmp_path / "model")
    loaded = Recommender.load(tmp_path / "model")
    for user in range(1, 11):
        before, after = model.recommend(profile_of(user)), loaded.recommend(profile_of(user))
        assert np.array_equal(before.item_ids, after.item_ids)
        assert np.array_equal(before.scores, after.scores)
        assert np.array_equal(before.predicted_ratings, after.predicted_ratings)
    suffixes = {path.suffix for path in (tmp_path / "model").iterdir()}
    assert suffixes == {".json", ".npz", ".parquet", ".txt"}


@pytest.mark.parametrize(
    "name", ["catalog.parquet", "text_vectors.npz", "lightfm.npz", "rating.lgb.txt", "recommender.json"]
)
def test_a_missing_or_broken_file_is_refused(name: str, tmp_path: Path) -> None:
    tiny_recommender().save(tmp_path)
    (tmp_path / name).write_bytes(b"broken")
    with pytest.raises(ArtifactError):
        Recommender.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ArtifactError):
        Recommender.load(tmp_path)


def test_a_version_of_another_format_is_refused(tmp_path: Path) -> None:
    tiny_recommender().save(tmp_path)
    stored = json.loads((tmp_path / "recommender.json").read_text())
    (tmp_path / "recommender.json").write_text(json.dumps(stored | {"format": 99}))
    with pytest.raises(ArtifactError, match="format 99"):
        Recommender.load(tmp_path)


def test_a_watched_title_is_predicted_without_its_own_rating() -> None:
    model, whole = tiny_recommender(), profile_of(5)
    shown = whole.item_ids[:3]
    expected = [
        model.predict_ratings(
            UserProfile(np.delete(whole.item_ids, place), np.delete(whole.ratings, place)), shown[[place]]
        )
        for place in range(3)
    ]
    assert np.array_equal(model.predict_hidden(whole, shown), np.concatenate(expected))
    lying = UserProfile(whole.item_ids, np.concatenate([11 - whole.ratings[:1], whole.ratings[1:]]))
    assert model.predict_hidden(lying, shown[:1]) == model.predict_hidden(whole, shown[:1])


def test_similar_titles_exclude_the_title_itself() -> None:
    model = tiny_recommender()
    found = model.similar_items(1, k=100)
    assert len(found) == N_ITEMS - 1
    assert 1 not in found.item_ids
    assert (np.diff(found.scores) <= 0).all()


def test_cold_start_users_are_the_same_users_with_shorter_histories() -> None:
    catalog, interactions = tiny_world()
    users = build_users(interactions, catalog)
    everybody = add_cold_start_users(users, catalog)
    n_cold = len(everybody.user_ids) - len(users.user_ids)
    assert 0.1 < n_cold / len(users.user_ids) < 0.4
    cold = everybody.select(np.arange(len(users.user_ids), len(everybody.user_ids)))
    rows = np.searchsorted(users.user_ids, cold.user_ids)
    lengths, before = np.diff(cold.history.indptr), np.diff(users.history[rows].indptr)
    assert all(length in COLD_LENGTHS or length == full for length, full in zip(lengths, before, strict=True))
    assert (cold.targets != users.targets[rows]).nnz == 0
    known = users.history[rows].toarray()
    assert (np.isin(cold.history.toarray(), 0) | (cold.history.toarray() == known)).all()
    assert not cold.tastes[lengths > 0].any()


def test_tables_count_every_candidate_and_every_target() -> None:
    catalog, interactions = tiny_world()
    users = build_users(interactions, catalog)
    retriever = tiny_recommender().retriever
    tables = build_tables([(retriever, users, find_rated(users.history))], ("user", "item"))
    assert tables.relevance.group_sizes is not None
    assert tables.relevance.group_sizes.sum() == len(tables.relevance.features)
    assert set(np.unique(tables.relevance.labels)) == {0.0, 1.0}
    assert len(tables.rating.labels) == users.targets.nnz
    assert np.array_equal(np.sort(tables.rating.labels), np.sort(users.targets.data))


def test_fewer_negatives_are_a_part_of_all_and_no_positive_is_lost() -> None:
    catalog, interactions = tiny_world()
    users = build_users(interactions, catalog)
    parts = [(tiny_recommender().retriever, users, find_rated(users.history))]
    groups = ("retrieval", "item")
    whole, thin = (build_tables(parts, groups, negative_share=share) for share in (1.0, 0.3))
    assert np.array_equal(thin.rating.features, whole.rating.features, equal_nan=True)
    n_liked = whole.relevance.labels.sum()
    assert thin.relevance.labels.sum() == n_liked
    n_negatives = len(whole.relevance.labels) - n_liked
    assert (len(thin.relevance.labels) - n_liked) / n_negatives == pytest.approx(0.3, abs=0.05)
    rows = {tuple(row) for row in np.nan_to_num(whole.relevance.features).tolist()}
    assert all(tuple(row) in rows for row in np.nan_to_num(thin.relevance.features).tolist())


def test_titles_without_ratings_are_no_rows_of_the_relevance_head_and_take_no_place() -> None:
    catalog, interactions = tiny_world()
    users = build_users(interactions, catalog)
    retriever = tiny_recommender().retriever
    everything = np.ones(len(catalog), dtype=np.bool_)
    rated = everything.copy()
    rated[::5] = False
    members = np.log1p(catalog.items["members"].to_numpy(dtype=np.float64))
    known = {}
    for name, mask in {"all": everything, "rated": rated}.items():
        table = build_tables([(retriever, users, mask)], ("item",))
        column = table.relevance.features[:, table.schema.names.index("item_log_members")]
        known[name] = np.abs(column[:, None] - members[None, :]).argmin(axis=1)
        assert len(table.rating.labels) == users.targets.nnz
    assert not rated[known["all"]].all()
    assert rated[known["rated"]].all()
    # Each model proposes its next best titles instead.
    assert len(known["rated"]) > rated[known["all"]].sum()


def test_rated_titles_are_those_of_the_users_asked_about() -> None:
    catalog, interactions = tiny_world()
    ratings = interactions.to_matrix(catalog)
    alone = ratings[:1]
    assert np.array_equal(np.flatnonzero(find_rated(alone)), np.sort(alone.indices))
    assert not find_rated(ratings[:0]).any()


def test_a_user_is_used_several_times_with_other_ratings_hidden() -> None:
    catalog, interactions = tiny_world()
    once, twice = (build_training_users(interactions, catalog, n_splits) for n_splits in (1, 2))
    again = twice.select(np.arange(len(once.user_ids), len(twice.user_ids)))
    assert (twice.history[: len(once.user_ids)] != once.history).nnz == 0
    usual = build_users(interactions, catalog)
    assert np.array_equal(again.user_ids, usual.user_ids)
    assert ((again.history + again.targets) != (usual.history + usual.targets)).nnz == 0
    assert again.history.multiply(again.targets).nnz == 0
    overlap = again.targets.multiply(usual.targets > 0).nnz / usual.targets.nnz
    assert overlap < 0.4
