"""The protocols by which the original My Otaku Friend evaluated itself, repeated step by step. They leak.

They exist so that its published numbers can stand beside ours, and are no measure of what new users get:

1. **LightFM**: ratings are split at random, 80 to 20; every rating counts as a hit, a 1 as well as a 10; titles of the
   training part stay among the candidates and fill the lists; genre shares and mean ratings of users are computed from
   the test part too.
2. **Rating error**: users are split, but the mean rating and the genre shares that predict a rating are computed from
   that rating too, and the title vectors were fitted on the test users. The median is pooled over ratings.
3. **Lists**: watched titles are candidates, the query is the mean of the best rated titles, and those same titles are
   the hits. Nothing is hidden at all.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from scipy.sparse import csr_matrix

from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.features.item_side import normalise_rows
from recsys.retrieval.original import (
    build_schema,
    describe_users,
    fit_embeddings,
    fit_lightfm_on_everything,
    fit_regressor,
    make_predictor,
    order_as_shown,
)
from recsys.types import Floats, Mask, RatingMatrix

K: Final = 10
TEST_SHARE: Final = 0.2
# Seeds of the original's notebooks.
SPLIT_SEED: Final = 42
LIGHTFM_SEED: Final = 77
USERS_SEED: Final = 2023
VALIDATION_SEED: Final = 586
# What the original published, on another and larger sample of users.
PUBLISHED: Final = {
    "lightfm_precision_at_10": 0.1305,
    "lightfm_recall_at_10": 0.0907,
    "median_absolute_error": 0.72,
    "lists_precision_at_10": 0.4449,
    "lists_recall_at_10": 0.1856,
}
NAMES: Final = {
    "lightfm_precision_at_10": "LightFM: Precision@10, training titles among the candidates",
    "lightfm_recall_at_10": "LightFM: Recall@10, training titles among the candidates",
    "lightfm_precision_at_10_fixed": "the same with training titles left out: Precision@10",
    "lightfm_recall_at_10_fixed": "the same with training titles left out: Recall@10",
    "median_absolute_error": "regressor: median absolute error, own rating in the features",
    "median_absolute_error_of_mean": "the same by the user's mean alone, no model",
    "lists_precision_at_10": "lists: Precision@10, nothing hidden, watched titles among the candidates",
    "lists_recall_at_10": "lists: Recall@10, nothing hidden, watched titles among the candidates",
}


@dataclass(frozen=True)
class OriginalSettings:
    """What the original was run with; less of it makes a quicker and weaker copy.

    Parameters
    ----------
    n_rows
        Ratings that the regressor learns from at most; None for all.
    n_evaluation_users
        Test users that are looked at, at most; None for all.
    """

    n_components: int = 64
    n_epochs: int = 50
    n_estimators: int = 2000
    learning_rate: float = 0.01
    n_rows: int | None = None
    n_evaluation_users: int | None = None
    n_threads: int = 1


def measure_original(
    catalog: Catalog,
    interactions: Interactions,
    text_vectors: Floats,
    settings: OriginalSettings,
    *,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, Any]:
    """Repeat the three protocols on these data.

    Returns
    -------
    JSON-ready: `settings`, and `measures` with `key`, `name`, `value` and `published` (None where there is none).
    """
    ratings = interactions.to_matrix(catalog)
    profiles = describe_users(ratings, catalog.genre_matrix)
    on_progress(0, 3)
    values = evaluate_embeddings(ratings, profiles, catalog, settings)
    on_progress(1, 3)
    vectors = np.hstack([_fit_final_embeddings(ratings, profiles, catalog, settings), text_vectors]).astype(np.float32)
    learning, validating, test_rows = split_users(ratings.shape[0])
    known = learning | validating
    booster = fit_regressor(
        ratings[known],
        profiles[known],
        vectors,
        validating[known],
        build_schema(catalog.genres, settings.n_components, text_vectors.shape[1]),
        n_estimators=settings.n_estimators,
        learning_rate=settings.learning_rate,
        n_rows=settings.n_rows,
        seed=SPLIT_SEED,
        n_threads=settings.n_threads,
    )

    on_progress(2, 3)
    values |= evaluate_lists(
        ratings[test_rows], profiles[test_rows], vectors, make_predictor(booster, vectors), settings
    )
    on_progress(3, 3)
    measures = [
        {"key": key, "name": NAMES[key], "value": value, "published": PUBLISHED.get(key)}
        for key, value in values.items()
    ]
    return {"label": "leaky", "settings": asdict(settings), "measures": measures}


def _fit_final_embeddings(
    ratings: RatingMatrix, profiles: Floats, catalog: Catalog, settings: OriginalSettings
) -> Floats:
    """Fit the vectors once more on all ratings, those of the test users included, as the original did."""
    return fit_embeddings(
        ratings,
        profiles,
        catalog,
        n_components=settings.n_components,
        n_epochs=settings.n_epochs,
        seed=LIGHTFM_SEED,
        n_threads=settings.n_threads,
    )


def split_users(n_users: int) -> Sequence[Mask]:
    """Split users, in the order of their ids, into learning, validation and test as the original did."""
    from sklearn.model_selection import train_test_split

    rest, test = train_test_split(np.arange(n_users), test_size=TEST_SHARE, random_state=USERS_SEED)
    learning, validating = train_test_split(rest, test_size=0.15, random_state=VALIDATION_SEED)
    masks = np.zeros((3, n_users), dtype=np.bool_)
    for mask, rows in zip(masks, (learning, validating, test), strict=True):
        mask[rows] = True
    return list(masks)


def evaluate_embeddings(
    ratings: RatingMatrix, profiles: Floats, catalog: Catalog, settings: OriginalSettings
) -> dict[str, float]:
    """Evaluate LightFM on a random fifth of the ratings, with and without its training titles among the candidates."""
    from lightfm.cross_validation import random_train_test_split
    from lightfm.evaluation import precision_at_k, recall_at_k

    parts = random_train_test_split(
        ratings.tocoo(), test_percentage=TEST_SHARE, random_state=np.random.RandomState(SPLIT_SEED)
    )
    train, test = (csr_matrix(part, dtype=np.float32) for part in parts)
    model, user_features, item_features = fit_lightfm_on_everything(
        train,
        profiles,
        catalog,
        n_components=settings.n_components,
        n_epochs=settings.n_epochs,
        seed=LIGHTFM_SEED,
        n_threads=settings.n_threads,
    )
    given = {
        "k": K,
        "user_features": user_features,
        "item_features": item_features,
        "num_threads": settings.n_threads,
    }
    return {
        f"lightfm_{name}_at_10{suffix}": float(measure(model, test, train_interactions=excluded, **given).mean())
        for suffix, excluded in (("", None), ("_fixed", train))
        for name, measure in (("precision", precision_at_k), ("recall", recall_at_k))
    }


def evaluate_lists(
    ratings: RatingMatrix,
    profiles: Floats,
    vectors: Floats,
    predict: Callable[[Floats], Floats],
    settings: OriginalSettings,
) -> dict[str, float]:
    """Evaluate the predicted ratings and the lists of the test users.

    The error is the median over all of their ratings. A list is compared with the user's best rated titles, which are
    candidates and query at once.
    """
    units = normalise_rows(vectors)
    errors, trivial, found = [], [], []
    for row in range(min(len(profiles), settings.n_evaluation_users or len(profiles))):
        part = slice(ratings.indptr[row], ratings.indptr[row + 1])
        seen, given = ratings.indices[part], ratings.data[part]
        predicted = predict(profiles[row])
        errors.append(np.abs(predicted[seen] - given))
        trivial.append(np.abs(given.mean() - given))
        shown = order_as_shown(predicted, seen, given, vectors, units)[:K]
        favourites = seen[given >= given.max() - 1]
        n_hits = np.isin(shown, favourites).sum()
        found.append((n_hits / K, n_hits / len(favourites)))
    precision, recall = np.mean(found, axis=0)
    return {
        "median_absolute_error": float(np.median(np.concatenate(errors))),
        "median_absolute_error_of_mean": float(np.median(np.concatenate(trivial))),
        "lists_precision_at_10": float(precision),
        "lists_recall_at_10": float(recall),
    }
