"""Content of titles as numbers, and which titles share a name."""

import numpy as np
import pandas as pd

from recsys.columns import ItemColumns
from recsys.data.catalog import Catalog
from recsys.features.item_features import compute_item_features, compute_memberships, compute_min_max, compute_one_hot
from recsys.features.lightfm_embeddings import LightFmParams, compute_user_features, fit_lightfm
from recsys.features.title_neighbours import compute_title_neighbours
from tests.factories import tiny_catalog, tiny_world


def test_one_hot_has_a_place_for_the_unknown() -> None:
    table = compute_one_hot(pd.Series(["TV", None, "Movie", "TV"]), "type")
    assert table.names == ("type=Movie", "type=TV", "type=Unknown")
    assert table.values.toarray().tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]]


def test_memberships_mark_every_value_of_a_list_once() -> None:
    table = compute_memberships(pd.Series([["b", "a", "a"], [], ["b"]]), "genre")
    assert table.names == ("genre=a", "genre=b")
    assert table.values.toarray().tolist() == [[1, 1], [0, 0], [0, 1]]


def test_min_max_leaves_gaps_and_constants_at_zero() -> None:
    scaled = compute_min_max(pd.DataFrame({"a": [1.0, 3.0, np.nan], "b": [5.0, 5.0, 5.0], "c": [np.nan] * 3}))
    assert scaled.tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_item_features_hold_what_the_original_table_held() -> None:
    catalog = tiny_catalog()
    table = compute_item_features(catalog)
    assert table.values.shape == (len(catalog), len(table.names))
    kinds = {name.split("=")[0] for name in table.names if "=" in name}
    assert kinds == {"type", "source", "age_rating", "decade", "genre"}
    assert set(ItemColumns.Numericals) <= set(table.names)
    assert table.values.min() >= 0
    assert table.values.max() <= 1


def test_user_features_are_shares_and_mean() -> None:
    catalog, interactions = tiny_world()
    history = interactions.to_matrix(catalog)
    features = compute_user_features(history, catalog).toarray()
    seen = history[0].indices
    np.testing.assert_allclose(features[0, :-1], catalog.genre_matrix[seen].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(features[0, -1], history[0].data.mean() / 10, rtol=1e-5)


def test_lightfm_learns_content_of_titles_nobody_rated() -> None:
    catalog, interactions = tiny_world()
    ratings = interactions.to_matrix(catalog).tolil()
    fights = [place for place, genres in enumerate(catalog.items["genres"]) if genres == ["Action", "Shounen"]]
    unrated = fights[-1]
    ratings[:, unrated] = 0
    embeddings = fit_lightfm(ratings.tocsr(), catalog, LightFmParams(n_components=8, n_epochs=20), seed=0)
    units = embeddings.vectors / np.linalg.norm(embeddings.vectors, axis=1, keepdims=True)
    love = [place for place, genres in enumerate(catalog.items["genres"]) if "Romance" in genres]
    others = [place for place in fights if place != unrated]
    assert embeddings.vectors.shape == (len(catalog), 8)
    assert (units[unrated] @ units[others].T).mean() > (units[unrated] @ units[love].T).mean() + 0.2


def with_titles(titles: list[str]) -> Catalog:
    items = tiny_catalog().items.iloc[: len(titles)].copy()
    items[ItemColumns.Title], items[ItemColumns.TitleEnglish] = titles, None
    return Catalog(items)


def test_seasons_of_a_franchise_are_neighbours() -> None:
    titles = ["Shingeki no Kyojin", "Shingeki no Kyojin Season 2", "Cowboy Bebop", "Clannad: After Story", "Clannad"]
    cosines = compute_title_neighbours(with_titles(titles)).toarray()
    np.testing.assert_allclose(np.diag(cosines), 1.0, rtol=1e-5)
    assert cosines[0, 1] > 0.5
    assert cosines[3, 4] > 0.35
    assert not cosines[0, 2:].any()
    np.testing.assert_allclose(cosines, cosines.T, rtol=1e-5)
