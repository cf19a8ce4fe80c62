"""How the matrix factorisation is trained, and that new users need no fit."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from recsys.retrieval.embedding import fold_in
from recsys.retrieval.mf import MatrixFactorisation
from recsys.retrieval.standalone import read_training_curves, read_training_facts, save_standalone
from recsys.types import RatingMatrix
from tests.factories import tiny_world

CATALOG, INTERACTIONS = tiny_world()
RATINGS: RatingMatrix = INTERACTIONS.to_matrix(CATALOG)


@cache
def fitted() -> MatrixFactorisation:
    return MatrixFactorisation(n_factors=16, min_ratings=2).fit(RATINGS, CATALOG)


def test_loss_and_errors_of_the_validation_split_are_noted_for_every_epoch() -> None:
    told: list[tuple[str, int, int]] = []
    small = MatrixFactorisation(n_factors=16, min_ratings=2, n_epochs=5, on_progress=lambda *news: told.append(news))
    log = small.fit(RATINGS, CATALOG).training_
    assert {len(values) for values in log.curves.values()} == {5}
    assert set(log.curves) == {"learning_rate", "loss", "validation_loss", "validation_mae", "validation_mse"}
    assert log.curves["loss"][-1] < log.curves["loss"][0]
    assert log.curves["validation_loss"][-1] < log.curves["validation_loss"][0]
    squared, absolute = log.curves["validation_mse"], log.curves["validation_mae"]
    assert all(0 < one <= other < 1 for one, other in zip(squared, absolute, strict=True))
    assert log.facts["n_users"] == RATINGS.shape[0]
    assert 0.85 * RATINGS.nnz < log.facts["n_ratings"] < 0.95 * RATINGS.nnz
    assert told == [("train mf", epoch, 5) for epoch in range(6)]


def test_the_learning_rate_rises_and_decays() -> None:
    model = MatrixFactorisation(n_factors=4, min_ratings=2, n_epochs=5, learning_rate=0.01, warm_up=2, decay=0.5)
    rates = model.fit(RATINGS, CATALOG).training_.curves["learning_rate"]
    np.testing.assert_allclose(rates, [0.005, 0.01, 0.005, 0.0025, 0.00125])


def test_training_stops_early_and_keeps_the_best_weights() -> None:
    """Steps far too large: the first epochs are the best, and what follows is thrown away."""
    greedy = MatrixFactorisation(
        n_factors=16, min_ratings=2, n_epochs=30, learning_rate=0.3, warm_up=1, decay=1.0, patience=2, batch_size=256
    )
    model = greedy.fit(RATINGS, CATALOG)
    losses, best = model.training_.curves["validation_loss"], int(model.training_.facts["best_epoch"])
    assert len(losses) < 30
    assert losses[best - 1] == min(losses)
    assert len(losses) == best + 2
    short = replace(greedy, n_epochs=best).fit(RATINGS, CATALOG)
    assert np.array_equal(short.score(RATINGS), model.score(RATINGS))


def test_only_active_users_are_trained_on_unless_nobody_is() -> None:
    lengths = np.diff(RATINGS.indptr)
    some, nobody = (
        MatrixFactorisation(n_factors=4, n_epochs=1, min_ratings=limit).fit(RATINGS, CATALOG).training_.facts["n_users"]
        for limit in (12, 10_000)
    )
    assert some == (lengths >= 12).sum() < RATINGS.shape[0]
    assert nobody == RATINGS.shape[0]


def test_a_new_user_is_the_unit_vector_that_explains_the_history_best() -> None:
    model, user = fitted(), RATINGS[7]
    assert model.vectors_ is not None
    np.testing.assert_allclose(np.linalg.norm(model.vectors_, axis=1), 1, atol=1e-5)
    confidences = user.copy()
    confidences.data = 1 + user.data / 10
    gram = model.unseen_weight * model.vectors_.T @ model.vectors_
    expected = fold_in(model.vectors_, gram, confidences, model.regularisation)[0]
    found = model.embed_users(user)[0]
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-5)
    np.testing.assert_allclose(model.score(user)[0], model.vectors_ @ found, atol=1e-5)


def test_what_was_rated_is_nearer_than_what_was_not() -> None:
    scores, rated = fitted().score(RATINGS), (RATINGS > 0).toarray()
    assert np.abs(scores).max() <= 1 + 1e-5
    assert scores[rated].mean() > scores[~rated].mean() + 0.1


def test_what_is_stored_holds_the_log_and_no_user(tmp_path: Path) -> None:
    fitted().save(tmp_path)
    loaded = MatrixFactorisation.load(tmp_path)
    assert loaded.training_ == fitted().training_
    with np.load(tmp_path / "mf.npz") as arrays:
        assert {name: arrays[name].shape for name in arrays} == {"vectors": (len(CATALOG), 16), "constants": (2,)}


@pytest.mark.parametrize("n_users", [0, 1])
def test_hardly_any_rating_is_enough_for_a_fit(n_users: int) -> None:
    model = MatrixFactorisation(n_factors=4).fit(RATINGS[:n_users], CATALOG)
    assert np.isfinite(model.score(RATINGS[:3])).all()


def test_the_curves_of_a_version_are_read_by_model(tmp_path: Path) -> None:
    save_standalone({"mf": fitted()}, tmp_path)
    curves = read_training_curves(tmp_path)
    assert set(curves) == {f"mf.{name}" for name in fitted().training_.curves}
    assert curves["mf.validation_mae"] == fitted().training_.curves["validation_mae"]
    assert read_training_curves(tmp_path / "nowhere") == {}
    facts = read_training_facts(tmp_path)
    assert facts == {f"mf.{name}": value for name, value in fitted().training_.facts.items()}
    assert facts["mf.best_epoch"] >= 1
    assert read_training_facts(tmp_path / "nowhere") == {}
