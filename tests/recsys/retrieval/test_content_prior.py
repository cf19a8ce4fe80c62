"""Titles that nobody rated have the weights of those that they resemble."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from recsys.data.catalog import Catalog
from recsys.retrieval.content_prior import compute_resemblance, extend_weights
from recsys.retrieval.ease_mixture import EaseMixture
from recsys.types import RatingMatrix
from tests.factories import tiny_world

CATALOG, INTERACTIONS = tiny_world()
RATINGS = INTERACTIONS.to_matrix(CATALOG)
HIDDEN = np.arange(0, len(CATALOG), 7)


def hide(ratings: RatingMatrix) -> RatingMatrix:
    left = ratings.copy()
    left.data[np.isin(left.indices, HIDDEN)] = 0.0
    left.eliminate_zeros()
    return left


@pytest.fixture(scope="module")
def model() -> EaseMixture:
    return EaseMixture().fit(hide(RATINGS), CATALOG)


def test_unrated_titles_are_found_and_without_a_prior_they_are_not(model: EaseMixture) -> None:
    history = hide(RATINGS)[:60]
    assert (model.score(history)[:, HIDDEN] != 0).mean() > 0.9
    without = EaseMixture(prior_share=0.0).fit(hide(RATINGS), CATALOG)
    assert not without.score(history)[:, HIDDEN].any()


def test_the_users_who_like_them_find_them_above_chance(model: EaseMixture) -> None:
    """The mean rank of a hidden title among the hidden is lower for those who liked it."""
    scores = model.score(hide(RATINGS))[:, HIDDEN]
    liked = RATINGS[:, HIDDEN].toarray() >= 7
    ranks = (-scores).argsort(axis=1).argsort(axis=1)
    assert ranks[liked].mean() < 0.9 * ranks[~liked].mean()


def test_weights_of_rated_titles_stay(model: EaseMixture) -> None:
    without = EaseMixture(prior_share=0.0).fit(hide(RATINGS), CATALOG)
    rated = np.setdiff1d(np.arange(len(CATALOG)), HIDDEN)
    assert model.weights_ is not None
    assert without.weights_ is not None
    assert (model.weights_[:, rated] != without.weights_[:, rated]).nnz == 0
    for name, weights in model.parts_.items():
        assert (weights[:, rated] != without.parts_[name][:, rated]).nnz == 0
    supporters = model.item_weights.T.tocsr()
    assert np.diff(supporters.indptr)[HIDDEN].max() <= model.prior_kept


def test_the_share_scales_the_prior() -> None:
    whole, half = (EaseMixture(prior_share=share).fit(hide(RATINGS), CATALOG).weights_ for share in (1.0, 0.5))
    assert whole is not None
    assert half is not None
    np.testing.assert_allclose(half[:, HIDDEN].toarray(), 0.5 * whole[:, HIDDEN].toarray(), rtol=1e-5, atol=1e-7)


def test_a_title_most_resembles_its_twin() -> None:
    items = CATALOG.items.copy()
    twin, other = 3, 11
    for column in (
        "genres",
        "studios",
        "synopsis",
        "type",
        "source",
        "age_rating",
        "aired_from",
        "title",
        "title_english",
    ):
        items.at[items.index[other], column] = items[column].iloc[twin]
    rated = np.setdiff1d(np.arange(len(items)), [other])
    found = compute_resemblance(Catalog(items), np.arange(len(items)), rated, np.array([other]), 5)
    assert np.diff(found.tocsc().indptr).tolist() == [5]
    assert rated[found.toarray().argmax()] == twin


def test_inherited_weights_are_those_of_the_resembled_and_their_own() -> None:
    weights = csr_matrix(np.array([[0, 2.0, 0], [4.0, 0, 0], [0, 0, 0]], dtype=np.float32))
    resemblance = csr_matrix(np.array([[0.5], [0.25]], dtype=np.float32))
    found = extend_weights(weights, resemblance, np.array([0, 1]), np.array([2]), 10, 1.0).toarray()
    np.testing.assert_allclose(found[:, :2], weights.toarray()[:, :2])
    np.testing.assert_allclose(found[:, 2], [2 * 0.25 + 0.1 * 0.5, 4 * 0.5 + 0.1 * 0.25, 0], rtol=1e-6)
    (kept,) = np.flatnonzero(
        extend_weights(weights, resemblance, np.array([0, 1]), np.array([2]), 1, 1.0).toarray()[:, 2]
    )
    assert kept == 1
