"""Preferences against known answers and against a slow loop."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.columns import ItemColumns
from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.data.preferences import build_preference_rows, compute_genre_shares, compute_preferences
from recsys.exceptions import UnknownItemError

GENRES = {1: ["Action", "Sci-Fi"], 5: ["Drama"], 7: ["Action", "Drama", "Romance"], 9: []}


def make_catalog(genres: Mapping[int, Sequence[str]]) -> Catalog:
    items = pd.DataFrame({"item_id": list(genres), "title": [f"Title {item}" for item in genres]})
    items = items.reindex(columns=ItemColumns.All)
    items[ItemColumns.Genres] = pd.Series([list(names) for names in genres.values()], dtype=object)
    return Catalog(items)


def make_interactions(rows: Sequence[tuple[int, int, int]]) -> Interactions:
    return Interactions(pd.DataFrame(rows, columns=["user_id", "item_id", "rating"]))


def test_known_answer() -> None:
    interactions = make_interactions([(3, 9, 4), (3, 1, 9), (3, 7, 8), (3, 5, 7), (2, 9, 10)])
    preferences = compute_preferences(interactions, make_catalog(GENRES))
    expected = pd.DataFrame(
        {
            "user_id": [2, 3],
            "n_ratings": [1, 4],
            "mean_rating": [10.0, 7.0],
            "Action": [0.0, 0.5],
            "Drama": [0.0, 0.5],
            "Romance": [0.0, 0.25],
            "Sci-Fi": [0.0, 0.25],
        }
    )
    pd.testing.assert_frame_equal(preferences, expected)


def test_rows_for_the_table_hold_what_was_watched_only() -> None:
    interactions = make_interactions([(3, 1, 9), (3, 5, 8), (3, 9, 7), (8, 9, 1)])
    rows = build_preference_rows(compute_preferences(interactions, make_catalog(GENRES)))
    assert rows.to_dict("records") == [
        {
            "user_id": 3,
            "n_ratings": 3,
            "mean_rating": 8.0,
            "genre_shares": {"Action": 1 / 3, "Drama": 1 / 3, "Sci-Fi": 1 / 3},
        },
        {"user_id": 8, "n_ratings": 1, "mean_rating": 1.0, "genre_shares": {}},
    ]


def test_nobody_and_no_genres_are_no_special_cases() -> None:
    nobody = compute_preferences(make_interactions([]), make_catalog(GENRES))
    assert list(nobody.columns) == ["user_id", "n_ratings", "mean_rating", "Action", "Drama", "Romance", "Sci-Fi"]
    assert build_preference_rows(nobody).empty
    bare = build_preference_rows(compute_preferences(make_interactions([(1, 1, 6)]), make_catalog({1: []})))
    assert bare["genre_shares"].tolist() == [{}]


def test_a_user_without_history_has_zero_shares() -> None:
    catalog = make_catalog(GENRES)
    history = make_interactions([(1, 1, 5), (2, 5, 5)]).to_matrix(catalog)
    history[0, 0] = 0
    history.eliminate_zeros()
    assert compute_genre_shares(history, catalog).tolist() == [[0, 0, 0, 0], [0, 1, 0, 0]]


def test_a_title_outside_the_catalog_is_refused_by_name() -> None:
    with pytest.raises(UnknownItemError, match="item 77"):
        compute_preferences(make_interactions([(1, 77, 5)]), make_catalog(GENRES))


def slow_preferences(table: pd.DataFrame, genres: Mapping[int, Sequence[str]]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for user_id in sorted(set(table["user_id"])):
        mine = table[table["user_id"] == user_id]
        counts: dict[str, int] = {}
        for item_id in mine["item_id"]:
            for genre in genres[item_id]:
                counts[genre] = counts.get(genre, 0) + 1
        shares = {genre: count / len(mine) for genre, count in sorted(counts.items())}
        total = sum(int(value) for value in mine["rating"])
        rows.append(
            {"user_id": user_id, "n_ratings": len(mine), "mean_rating": total / len(mine), "genre_shares": shares}
        )
    return rows


genre_lists = st.lists(st.sampled_from(["Action", "Comedy", "Drama", "Hentai", "Sci-Fi"]), max_size=4, unique=True)


@given(
    genres=st.dictionaries(st.integers(0, 30), genre_lists, min_size=1, max_size=12),
    watched=st.dictionaries(st.tuples(st.integers(0, 6), st.integers(0, 11)), st.integers(1, 10), max_size=40),
)
def test_one_pass_equals_a_loop_over_users(genres: dict[int, list[str]], watched: dict[tuple[int, int], int]) -> None:
    ids = sorted(genres)
    unique = {(user, ids[place % len(ids)]): rating for (user, place), rating in watched.items()}
    interactions = make_interactions([(user, item, rating) for (user, item), rating in unique.items()])
    rows = build_preference_rows(compute_preferences(interactions, make_catalog(genres)))
    assert rows.to_dict("records") == slow_preferences(interactions.table, genres)


def test_the_cohort_a_user_is_in_changes_nothing() -> None:
    rng = np.random.default_rng(5)
    rows = {
        (int(u), int(i)): int(r)
        for u, i, r in zip(rng.integers(0, 9, 60), rng.choice([1, 5, 7, 9], 60), rng.integers(1, 11, 60), strict=True)
    }
    everyone = make_interactions([(user, item, rating) for (user, item), rating in rows.items()])
    catalog = make_catalog(GENRES)
    together = compute_preferences(everyone, catalog).set_index("user_id")
    for user_id in everyone.user_ids:
        alone = compute_preferences(everyone.select_users(np.array([user_id])), catalog).set_index("user_id")
        pd.testing.assert_frame_equal(alone, together.loc[[user_id]])
