"""Histories cut short and tastes that are stated instead."""

import numpy as np

from recsys.data.users import BATCH_USERS, Users, build_users, find_favourite_genres, shorten_histories
from tests.factories import tiny_world


def users() -> Users:
    catalog, interactions = tiny_world()
    return build_users(interactions, catalog)


def test_shorter_histories_are_parts_of_longer_ones() -> None:
    everybody = users()
    n_users = len(everybody.user_ids)
    two, five = (shorten_histories(everybody, np.full(n_users, length)) for length in (2, 5))
    assert set(np.diff(two.indptr)) == {2}
    assert (np.diff(five.indptr) <= 5).all()
    assert two.multiply(five).nnz == two.nnz
    assert (five != everybody.history.multiply(five > 0)).nnz == 0
    # Whom the others are makes no difference.
    some = everybody.select(np.array([3, 40, 7]))
    assert (shorten_histories(some, np.full(3, 2)) != two[[3, 40, 7]]).nnz == 0


def test_favourite_genres_are_those_above_the_usual_share() -> None:
    catalog, _ = tiny_world()
    everybody = users()
    tastes = find_favourite_genres(everybody.history, catalog, 2)
    assert set(tastes.sum(axis=1)) == {2.0}
    favourites = {catalog.genres[column] for column in tastes.nonzero()[1]}
    assert {"Action", "Romance"} <= favourites
    action = tastes[:, catalog.genres.index("Action")]
    odd = everybody.user_ids % 2 == 1
    assert action[odd].mean() > 2 * action[~odd].mean()


def test_batches_are_everybody_in_order() -> None:
    everybody = users()
    repeated = everybody.select(np.resize(np.arange(len(everybody.user_ids)), 2 * BATCH_USERS + 5))
    parts = list(repeated.batches())
    assert [len(part.user_ids) for part in parts] == [BATCH_USERS, BATCH_USERS, 5]
    assert np.concatenate([part.user_ids for part in parts]).tolist() == repeated.user_ids.tolist()
