"""The original's algorithm, spelled out again slowly, and its leaky protocols on answers that are known."""

from functools import cache

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from recsys.evaluation.original_protocols import (
    NAMES,
    PUBLISHED,
    OriginalSettings,
    evaluate_lists,
    measure_original,
    split_users,
)
from recsys.exceptions import NotFittedError
from recsys.retrieval.original import (
    OriginalPipeline,
    describe_users,
    make_predictor,
    order_as_shown,
)
from recsys.types import Floats, RatingMatrix
from tests.factories import tiny_world

QUICK = OriginalSettings(n_components=8, n_epochs=2, n_estimators=30, learning_rate=0.1, n_evaluation_users=10)


def texts() -> Floats:
    return np.random.default_rng(0).normal(size=(len(tiny_world()[0]), 384)).astype(np.float32) / 20


def ratings() -> RatingMatrix:
    catalog, interactions = tiny_world()
    return interactions.to_matrix(catalog)


@cache
def fitted() -> OriginalPipeline:
    return OriginalPipeline(texts(), n_components=8, n_epochs=2, n_estimators=30, learning_rate=0.1).fit(
        ratings(), tiny_world()[0]
    )


def test_users_are_genre_shares_and_a_mean() -> None:
    genres = np.array([[1, 0], [1, 1], [0, 0]], dtype=np.float32)
    history = csr_matrix(np.array([[10, 1, 0], [0, 0, 4], [0, 0, 0]], dtype=np.float32))
    expected = [[1.0, 0.5, 0.5], [0.0, 0.0, 1 / 3], [0.0, 0.0, 0.0]]
    np.testing.assert_allclose(describe_users(history, genres), expected, rtol=1e-6)


def test_predictions_are_those_of_lightgbm() -> None:
    model = fitted()
    assert model.vectors_ is not None
    assert model.booster_ is not None
    profile = describe_users(ratings()[:1], tiny_world()[0].genre_matrix)[0]
    rows = np.hstack([np.tile(profile, (len(model.vectors_), 1)), model.vectors_]).astype(np.float32)
    np.testing.assert_allclose(
        make_predictor(model.booster_, model.vectors_)(profile), model.booster_.predict(rows), rtol=1e-6
    )


def test_ten_titles_are_shown_as_the_original_would() -> None:
    """Top thousand by prediction, ten by cosine with the favourites, ordered by prediction."""
    model, catalog = fitted(), tiny_world()[0]
    assert model.vectors_ is not None
    assert model.booster_ is not None
    predict = make_predictor(model.booster_, model.vectors_)
    history = ratings()[:12]
    scores = model.score(history)
    for row in range(history.shape[0]):
        seen, given = history[row].indices, history[row].data
        predicted = predict(describe_users(history[row], catalog.genre_matrix)[0])
        candidates = sorted(set(range(len(catalog))) - set(seen), key=lambda item: (-predicted[item], item))[:1000]
        shown = candidates[:10]
        if given.max() >= 7:
            query = model.vectors_[seen[given == given.max()]].mean(axis=0)
            cosine = {item: model.vectors_[item] @ query / np.linalg.norm(model.vectors_[item]) for item in candidates}
            nearest = sorted(candidates, key=lambda item: (-round(float(cosine[item]), 4), item))[:10]
            shown = sorted(nearest, key=lambda item: (-predicted[item], item))
        assert np.argsort(-scores[row], kind="stable")[:10].tolist() == shown
        assert set(np.argsort(-scores[row])[-len(seen) :]) == set(seen)


def test_a_user_who_likes_nothing_gets_the_best_predicted() -> None:
    predicted = np.array([5.0, 9.0, 7.0], dtype=np.float32)
    vectors = np.eye(3, dtype=np.float32)
    disliked = order_as_shown(predicted, np.array([0]), np.array([6.0]), vectors, vectors)
    assert disliked.tolist() == [1, 2, 0]
    assert sorted(order_as_shown(predicted, np.array([0]), np.array([7.0]), vectors, vectors)) == [0, 1, 2]


def test_without_texts_or_a_fit_there_is_no_model() -> None:
    catalog, _ = tiny_world()
    with pytest.raises(NotFittedError):
        OriginalPipeline().fit(ratings(), catalog)
    for use in (lambda: OriginalPipeline(texts()).score(ratings()), OriginalPipeline(texts()).state):
        with pytest.raises(NotFittedError):
            use()


def test_users_are_split_as_in_the_notebooks() -> None:
    parts = split_users(13_102)
    assert [int(part.sum()) for part in parts] == [8_908, 1_573, 2_621]
    assert (np.sum(parts, axis=0) == 1).all()


def test_the_lists_are_evaluated_by_what_they_were_asked_with() -> None:
    """Two users whose lists are known: the favourites are candidates, and a title one point below counts too."""
    vectors = np.vstack([np.eye(12), -np.eye(12)]).astype(np.float32)
    given = np.zeros((2, 24), dtype=np.float32)
    given[0, [0, 1, 2]] = [10, 9, 3]
    given[1, [3, 4]] = [4, 3]
    predicted = np.linspace(9, 1, 24).astype(np.float32)
    found = evaluate_lists(
        csr_matrix(given), np.zeros((2, 1), np.float32), vectors, lambda _: predicted, OriginalSettings()
    )
    # The first is shown 0 (the query) and what is orthogonal in order, so 0 and 1; the second the ten best predicted.
    assert found["lists_precision_at_10"] == pytest.approx((2 + 2) / 2 / 10)
    assert found["lists_recall_at_10"] == pytest.approx(1.0)
    errors = np.abs([*(predicted[[0, 1, 2]] - [10, 9, 3]), *(predicted[[3, 4]] - [4, 3])])
    assert found["median_absolute_error"] == pytest.approx(np.median(errors))
    trivial = np.abs([22 / 3 - 10, 22 / 3 - 9, 22 / 3 - 3, 0.5, 0.5])
    assert found["median_absolute_error_of_mean"] == pytest.approx(np.median(trivial))


def test_all_leaky_measures_stand_beside_what_was_published() -> None:
    catalog, interactions = tiny_world()
    steps: list[int] = []
    found = measure_original(catalog, interactions, texts(), QUICK, on_progress=lambda done, _: steps.append(done))
    assert found["label"] == "leaky"
    values = {line["key"]: line["value"] for line in found["measures"]}
    assert set(values) == set(NAMES)
    assert {line["key"] for line in found["measures"] if line["published"] is not None} == set(PUBLISHED)
    assert all(np.isfinite(value) for value in values.values())
    # Training titles crowd the lists, so leaving them out finds more.
    assert values["lightfm_precision_at_10_fixed"] > values["lightfm_precision_at_10"]
    assert steps == [0, 1, 2, 3]
