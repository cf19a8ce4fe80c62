"""Three forms of EASE in one score."""

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from recsys.retrieval.base import map_values
from recsys.retrieval.ease_mixture import EaseMixture
from recsys.retrieval.first_stage import FirstStage
from recsys.retrieval.item_item import Ease, compute_sums_of_users
from recsys.retrieval.rating_sums import EVIDENCE
from recsys.types import RatingMatrix
from tests.factories import tiny_world

CATALOG, INTERACTIONS = tiny_world()
RATINGS = INTERACTIONS.to_matrix(CATALOG)


def fit(**params: float) -> EaseMixture:
    return EaseMixture(**params).fit(RATINGS, CATALOG)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def model() -> EaseMixture:
    return fit()


def scale(scores: np.ndarray, history: RatingMatrix) -> np.ndarray:
    """Divide by the tenth best of the unseen, user by user."""
    rows = []
    for row, values in enumerate(scores):
        unseen = np.delete(values, history[row].indices)
        rows.append(values / max(abs(np.sort(unseen)[-10]), 1e-6))
    return np.array(rows)


def test_the_score_is_the_mean_of_its_forms(model: EaseMixture) -> None:
    history = RATINGS[:40]
    evidence = map_values(history, EVIDENCE).toarray().astype(np.float64)
    shares = map_values(RATINGS, EVIDENCE).toarray().astype(np.float64)
    mean = (shares / shares.sum(axis=1, keepdims=True)).mean(axis=0)
    centred = evidence - 0.4 * evidence.sum(axis=1, keepdims=True) * mean
    assert model.weights_ is not None
    forms = [centred @ model.weights_.toarray(), evidence @ model.parts_["short"].toarray()]
    forms.append(centred @ model.parts_["sparse"].toarray())
    one, short, sparse = (scale(form, history) for form in forms)
    lengths = np.diff(history.indptr)[:, None]
    weight, other = 1 / (1 + (lengths / 40) ** 2), 1 / (1 + (60 / lengths) ** 2)
    expected = (1 - weight) * one + weight * short + other * sparse
    np.testing.assert_allclose(model.score(history), expected, rtol=1e-3, atol=1e-3)


def test_the_first_form_moves_weight_to_what_few_rated() -> None:
    plain, moved = Ease(n_kept=10_000).fit(RATINGS, CATALOG).weights_, fit(n_kept=10_000).weights_
    assert plain is not None
    assert moved is not None
    n_ratings = np.bincount(RATINGS.indices, minlength=len(CATALOG)).astype(float)
    rows, columns = plain.nonzero()
    expected = np.asarray(plain[rows, columns]).ravel() * (n_ratings[columns] / n_ratings[rows]) ** 0.15
    np.testing.assert_allclose(np.asarray(moved[rows, columns]).ravel(), expected, rtol=1e-4, atol=1e-6)


def test_solved_again_for_all_others_the_third_form_is_the_first() -> None:
    """Without itself a title is explained by all others, whether by a constraint or by leaving it out."""
    n_titles = len(compute_sums_of_users(EaseMixture(), RATINGS)[1].frequent)
    same = fit(n_kept=10_000, sparse_kept=n_titles - 1, sparse_regularisation=80.0, sparse_dropout=0.25)
    assert same.weights_ is not None
    np.testing.assert_allclose(same.parts_["sparse"].toarray(), same.weights_.toarray(), rtol=1e-3, atol=1e-5)


def test_the_third_form_keeps_few_weights(model: EaseMixture) -> None:
    few = fit(sparse_kept=5).parts_["sparse"]
    assert np.diff(few.tocsc().indptr).max() == 5
    assert few.diagonal().max() == 0


def test_a_history_of_everything_and_of_nothing_has_scores(model: EaseMixture) -> None:
    everything = csr_matrix(np.full((1, len(CATALOG)), 8.0, dtype=np.float32))
    nothing = csr_matrix((1, len(CATALOG)), dtype=np.float32)
    assert np.isfinite(model.score(everything)).all()
    assert not model.score(nothing).any()


def test_a_user_s_scores_do_not_depend_on_who_else_asks(model: EaseMixture) -> None:
    together = model.score(RATINGS[:8])
    assert np.array_equal(together[3:4], model.score(RATINGS[3]))


def test_a_version_from_before_the_mixture_scores_as_it_did(tmp_path: Path) -> None:
    plain = Ease().fit(RATINGS, CATALOG)
    plain.save(tmp_path)
    loaded = FirstStage.load(tmp_path).models["ease"]
    assert isinstance(loaded, EaseMixture)
    assert np.array_equal(loaded.score(RATINGS[:8]), plain.score(RATINGS[:8]))
    loaded.save(tmp_path)
    assert np.array_equal(FirstStage.load(tmp_path).models["ease"].score(RATINGS[:8]), plain.score(RATINGS[:8]))
