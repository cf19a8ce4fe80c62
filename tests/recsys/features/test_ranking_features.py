"""Features against slow references, and the promise that a target influences none of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from recsys.data.interactions import Interactions
from recsys.data.splits import split_history
from recsys.data.users import build_users
from recsys.exceptions import ArtifactError, SchemaMismatchError
from recsys.features.neighbour_features import WEIGHT_SHRINKAGE
from recsys.features.pairs import Pairs
from recsys.features.ranking_features import DEFAULT_GROUPS, GROUPS, ORIGINAL_GROUPS, compute_ranking_features
from recsys.features.schema import FeatureSchema
from tests.factories import tiny_recommender, tiny_world

CANDIDATES = [np.array([0, 3, 9]), np.array([1, 2, 20, 40])]


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    catalog, interactions = tiny_world()
    retriever = tiny_recommender().retriever
    history = interactions.to_matrix(catalog)[[4, 11]]
    no_tastes = np.zeros((2, len(catalog.genres)), dtype=np.float32)
    return retriever.describe(history, no_tastes, CANDIDATES)


def table_of(pairs: Pairs, *groups: str) -> pd.DataFrame:
    schema, values = compute_ranking_features(pairs, groups or tuple(GROUPS))
    return pd.DataFrame(values, columns=schema.names)


def test_rows_follow_users_and_candidates(pairs: Pairs) -> None:
    assert pairs.rows.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert pairs.columns.tolist() == [0, 3, 9, 1, 2, 20, 40]
    assert len(table_of(pairs)) == 7


def test_every_feature_matches_a_slow_reference(pairs: Pairs) -> None:
    found = table_of(pairs)
    items = pairs.items
    for place, (row, column) in enumerate(zip(pairs.rows, pairs.columns, strict=True)):
        seen, ratings = pairs.seen(row)
        line = found.iloc[place]
        mean = ratings.mean()
        assert line["user_mean_rating"] == pytest.approx(mean, rel=1e-5)
        assert line["user_rating_spread"] == pytest.approx(ratings.std(), rel=1e-3)
        assert line["user_liked_share"] == pytest.approx((ratings >= 7).mean())
        assert line["user_log_ratings"] == pytest.approx(np.log1p(len(seen)))
        assert line["ease_score"] == pytest.approx(pairs.scores["ease"][row, column])
        assert line["ease_relative"] == pytest.approx(
            pairs.scores["ease"][row, column] / pairs.scores["ease"][row].max(), rel=1e-4
        )
        cosines = items.text_units[column] @ items.text_units[seen[ratings >= 7]].T
        assert line["text_liked_mean"] == pytest.approx(cosines.mean(), abs=1e-5)
        assert line["text_liked_max"] == pytest.approx(cosines.max(), abs=1e-5)
        names = items.title_neighbours.toarray()[column, seen]
        assert line["title_nearest"] == pytest.approx(names.max(), abs=1e-6)
        assert line["title_total"] == pytest.approx(names.sum(), rel=1e-5)
        profile = items.catalog.genre_matrix[seen].mean(axis=0)
        carried = items.catalog.genre_matrix[column]
        match = profile @ carried / np.linalg.norm(profile) / np.linalg.norm(carried)
        assert line["genre_match"] == pytest.approx(match, rel=1e-4)
        assert line["lightfm_3"] == items.lightfm_vectors[column, 3]


def test_the_titles_that_speak_for_a_candidate_match_a_slow_reference(pairs: Pairs) -> None:
    found = table_of(pairs, "neighbours")
    for place, (row, column) in enumerate(zip(pairs.rows, pairs.columns, strict=True)):
        seen, ratings = pairs.seen(row)
        for name in ("ease", "item_knn"):
            weights = np.maximum(pairs.support[name].supporters.toarray()[column, seen], 0.0)
            rating = weights @ (ratings - ratings.mean()) / (weights.sum() + WEIGHT_SHRINKAGE)
            line = found.iloc[place]
            assert line[f"{name}_strongest"] == pytest.approx(weights.max(), abs=1e-6)
            assert line[f"{name}_supporters"] == (weights > 0).sum()
            assert line[f"{name}_rating"] == pytest.approx(rating, rel=1e-3, abs=1e-5)
            possible = np.maximum(pairs.support[name].supporters.toarray()[column], 0.0).sum()
            assert line[f"{name}_coverage"] == pytest.approx(weights.sum() / (possible + WEIGHT_SHRINKAGE), abs=1e-5)


def test_the_franchise_of_a_candidate_is_looked_up_in_the_history() -> None:
    """Positions 0 and 1 are Cowboy Bebop (1998) and its film (2001); nothing else belongs to them."""
    catalog, _ = tiny_world()
    ratings = np.array([9.0, 5.0], dtype=np.float32)
    history = csr_matrix((ratings, ([0, 0], [0, 3])), shape=(1, len(catalog)))
    tastes = np.zeros((1, len(catalog.genres)), dtype=np.float32)
    film, stranger = table_of(
        tiny_recommender().retriever.describe(history, tastes, [np.array([1, 2])]), "franchise", "item", "habits"
    ).to_dict("records")
    assert (film["franchise_seen"], film["franchise_seen_share"], film["franchise_rating"]) == (1, 1, (9 - 7) / 2)
    assert (film["franchise_earlier_seen"], film["franchise_later_seen"]) == (1, 0)
    assert (film["item_franchise_size"], film["item_franchise_place"]) == (2, 2)
    assert film["item_year_gap"] == 2001 - (1998 + 2004) / 2
    assert film["item_start_after_newest"] == pytest.approx(2001 - 2004, abs=0.01)
    assert not any(value for name, value in stranger.items() if name.startswith("franchise"))
    assert (stranger["item_franchise_size"], stranger["item_franchise_place"]) == (1, 1)


def test_groups_can_be_taken_alone_or_together(pairs: Pairs) -> None:
    whole = table_of(pairs, *DEFAULT_GROUPS)
    parts = pd.concat([table_of(pairs, group) for group in DEFAULT_GROUPS], axis=1)
    pd.testing.assert_frame_equal(whole, parts)
    assert table_of(pairs, *ORIGINAL_GROUPS).shape[1] == len(pairs.items.catalog.genres) + 1 + 8 + 384


def test_a_user_without_history_has_gaps_and_tastes(pairs: Pairs) -> None:
    catalog = pairs.items.catalog
    nobody = csr_matrix((1, len(catalog)), dtype=np.float32)
    tastes = np.zeros((1, len(catalog.genres)), dtype=np.float32)
    tastes[0, catalog.genres.index("Romance")] = 1.0
    described = tiny_recommender().retriever.describe(nobody, tastes, [np.arange(len(catalog))])
    found = table_of(described, *DEFAULT_GROUPS)
    assert found["user_mean_rating"].isna().all()
    assert found["text_liked_mean"].isna().all()
    carries = catalog.genre_matrix[:, catalog.genres.index("Romance")] > 0
    assert (found["genre_match"].to_numpy()[carries] > 0).all()
    assert not found["genre_match"].to_numpy()[~carries].any()


def test_a_hidden_rating_influences_nothing() -> None:
    """Turn the rating of one hidden title upside down: no feature and no candidate of that user moves."""
    catalog, interactions = tiny_world()
    retriever = tiny_recommender().retriever
    hidden = split_history(interactions).targets.table.iloc[0]
    changed = interactions.table.copy()
    cell = (changed["user_id"] == hidden["user_id"]) & (changed["item_id"] == hidden["item_id"])
    changed.loc[cell, "rating"] = 11 - hidden["rating"]
    before, after = build_users(interactions, catalog), build_users(Interactions(changed), catalog)
    assert (before.targets != after.targets).nnz == 1
    row = int(np.searchsorted(before.user_ids, hidden["user_id"]))
    described = [
        retriever.retrieve(users.select(np.array([row])).history, users.tastes[:1]) for users in (before, after)
    ]
    assert np.array_equal(described[0].columns, described[1].columns)
    tables = [compute_ranking_features(pairs, tuple(GROUPS))[1] for pairs in described]
    assert np.array_equal(tables[0], tables[1], equal_nan=True)


def test_changing_the_history_does_move_features(pairs: Pairs) -> None:
    """The test above would pass if features were constants; they are not."""
    history = pairs.history.copy()
    history.data[0] = 11 - history.data[0]
    moved = replace(pairs, history=history, scores=tiny_recommender().retriever.score(history))
    assert not np.array_equal(table_of(pairs).to_numpy(), table_of(moved).to_numpy(), equal_nan=True)


def test_schema_names_the_first_difference() -> None:
    schema = FeatureSchema({"user": ("a", "b")})
    schema.check(("a", "b"))
    with pytest.raises(SchemaMismatchError, match="feature 1 is 'c' where the ranker expects 'b'"):
        schema.check(("a", "c"))
    with pytest.raises(SchemaMismatchError, match="1 features where the ranker expects 2"):
        schema.check(("a",))


def test_a_schema_gives_some_of_its_groups_and_where_they_stand() -> None:
    schema = FeatureSchema({"user": ("a", "b"), "item": ("c",), "text": ("d",)})
    kept, places = schema.select(("text", "user"))
    assert kept == FeatureSchema({"text": ("d",), "user": ("a", "b")})
    assert places.tolist() == [3, 0, 1]
    with pytest.raises(SchemaMismatchError, match="no features 'luck' here, only user, item, text"):
        schema.select(("user", "luck"))


def test_features_that_this_code_does_not_know_are_named(pairs: Pairs) -> None:
    with pytest.raises(SchemaMismatchError, match=r"no features 'luck', only user, .*; train the model again"):
        compute_ranking_features(pairs, ("user", "luck"))


def test_schema_survives_the_disk(tmp_path: Path) -> None:
    schema = FeatureSchema({"user": ("a", "b"), "item": ("c",)})
    schema.save(tmp_path / "schema.json")
    assert FeatureSchema.load(tmp_path / "schema.json") == schema
    (tmp_path / "schema.json").write_text("{}")
    with pytest.raises(ArtifactError, match="no feature schema"):
        FeatureSchema.load(tmp_path / "schema.json")
