"""Generated users: lawful, plausible and learnable."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.interactions import Interactions
from simulate_new_users.generation import Population, fit_population, generate_ratings, select_neighbours

N_ITEMS = 240
N_CAMPS = 6


def make_camps(n_users: int = 240, seed: int = 3) -> Interactions:
    """Users of six camps: nine of ten titles are of the camp's 40, the popular ones of a camp more often."""
    rng = np.random.default_rng(seed)
    camp_size = N_ITEMS // N_CAMPS
    fame = 1.0 / np.arange(1, camp_size + 1) ** 0.7
    rows = []
    for user_id in range(n_users):
        camp = user_id % N_CAMPS
        weights = np.tile(fame, N_CAMPS) / N_CAMPS / 10
        weights[camp * camp_size : (camp + 1) * camp_size] += fame
        items = rng.choice(N_ITEMS, size=rng.integers(8, 25), replace=False, p=weights / weights.sum())
        generosity = rng.normal(0, 0.8)
        ratings = np.clip(np.rint(7.6 + generosity + rng.normal(0, 1, len(items))), 1, 10)
        rows += [(user_id, int(item) * 7 + 1, int(rating)) for item, rating in zip(items, ratings, strict=True)]
    return Interactions(pd.DataFrame(rows, columns=["user_id", "item_id", "rating"]))


@pytest.fixture(scope="module")
def users() -> Interactions:
    return make_camps()


@pytest.fixture(scope="module")
def population(users: Interactions) -> Population:
    return fit_population(users)


@pytest.fixture(scope="module")
def generated(population: Population) -> Interactions:
    tables = [generate_ratings(population, np.random.default_rng([1, n])).assign(user_id=n) for n in range(300)]
    return Interactions(pd.concat(tables))


def to_dense(interactions: Interactions) -> npt.NDArray[np.float64]:
    table = interactions.table
    users, rows = np.unique(table["user_id"], return_inverse=True)
    watched = np.zeros((len(users), N_ITEMS))
    watched[rows, (table["item_id"].to_numpy() - 1) // 7] = 1
    return watched


def compute_hit_rate(
    scores: npt.NDArray[np.float64], history: npt.NDArray[np.float64], target: npt.NDArray[np.intp]
) -> float:
    top = np.argsort(np.where(history > 0, -np.inf, scores), axis=1)[:, -10:]
    return float((top == target[:, None]).any(axis=1).mean())


def test_item_knn_finds_a_held_out_title_far_more_often_than_popularity(
    users: Interactions, generated: Interactions
) -> None:
    rng = np.random.default_rng(0)
    history = to_dense(generated)
    target = np.array([rng.choice(np.flatnonzero(row)) for row in history])
    history[np.arange(len(history)), target] = 0
    train = to_dense(users)
    counts = train.sum(axis=0)
    cosines = train.T @ train / np.sqrt(np.outer(counts, counts) + 1e-9)
    np.fill_diagonal(cosines, 0)
    popular = compute_hit_rate(np.tile(counts, (len(history), 1)), history, target)
    neighbours = compute_hit_rate(history @ cosines, history, target)
    assert neighbours > 2 * popular


def test_ratings_and_list_lengths_follow_the_law_of_the_users(users: Interactions, generated: Interactions) -> None:
    real, made = users.table, generated.table
    assert made["rating"].mean() == pytest.approx(real["rating"].mean(), abs=0.15)
    assert made["rating"].std() == pytest.approx(real["rating"].std(), rel=0.15)
    lengths = [table.groupby("user_id").size().median() for table in (real, made)]
    assert lengths[1] == pytest.approx(lengths[0], rel=0.15)
    generosities = [table.groupby("user_id")["rating"].mean().std() for table in (real, made)]
    assert generosities[1] == pytest.approx(generosities[0], rel=0.25)


def test_no_user_is_copied(users: Interactions, generated: Interactions) -> None:
    real, made = to_dense(users), to_dense(generated)
    cosines = made @ real.T / np.sqrt(np.outer(made.sum(axis=1), real.sum(axis=1)))
    assert cosines.max() < 0.95
    assert len(np.unique(made, axis=0)) > 0.98 * len(made)


def test_the_same_seed_is_the_same_user(population: Population) -> None:
    first, again, other = (generate_ratings(population, np.random.default_rng(seed)) for seed in (4, 4, 5))
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)


def test_neighbours_come_from_the_camp_of_the_template(population: Population) -> None:
    neighbours, cosines = select_neighbours(population, 8)
    assert 8 not in neighbours
    assert (np.diff(cosines) <= 0).all()
    assert (neighbours % N_CAMPS == 8 % N_CAMPS).mean() > 0.8


ratings_of_a_few = st.dictionaries(
    st.tuples(st.integers(1, 4), st.integers(1, 6)), st.integers(1, 10), min_size=1, max_size=20
)


@given(ratings=ratings_of_a_few, seed=st.integers(0, 2**32))
def test_any_population_yields_valid_users(ratings: dict[tuple[int, int], int], seed: int) -> None:
    rows = [(user, item, rating) for (user, item), rating in ratings.items()]
    interactions = Interactions(pd.DataFrame(rows, columns=["user_id", "item_id", "rating"]))
    some_user = generate_ratings(fit_population(interactions), np.random.default_rng(seed))
    valid = Interactions(some_user.assign(user_id=1))
    assert len(valid) >= 1
    assert set(some_user["item_id"]) <= set(interactions.table["item_id"])
