"""The algorithm of the original My Otaku Friend, under the same contract as every other model.

A regressor predicts a rating for every title from the user's genre shares and mean rating and the title's LightFM and
synopsis vectors. The thousand best predicted that were not watched are taken; of those, the ten nearest to the mean
vector of the user's best rated titles are shown, in the order of their predicted ratings. A user whose best rating is
below 7, or who has none, is shown the best predicted; similar titles are the nearest by cosine.

Its errors are not repeated: all genres of a title count where genres are wanted, not the first alone; a user without a
history is an average one, not one whose mean rating is 0; watched titles are never shown; titles that came later have
synopsis vectors like all others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Final, Self
from urllib.parse import quote

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, hstack, identity

from recsys.data.catalog import Catalog
from recsys.data.interactions import POSITIVE_RATING
from recsys.exceptions import NotFittedError
from recsys.features.item_features import compute_item_features
from recsys.features.item_side import normalise_rows
from recsys.features.schema import FeatureSchema
from recsys.ranking.params import get_preset
from recsys.ranking.ranker import TrainingTable, parse_booster, train_head
from recsys.retrieval.base import ArrayModel, State
from recsys.types import Floats, Genre, Mask, Positions, RatingMatrix

N_BEST: Final = 1000
N_SHOWN: Final = 10
VALIDATION_SHARE: Final = 0.15
LIGHTFM_LEARNING_RATE: Final = 0.05
# With 493 features the histograms of a leaf take 2 MB, and a tree has up to 255 leaves; keeping fewer grows the same
# trees. Bins are drawn from a copy of so many rows as doubles with their places, 6 kB each.
MEMORY_LIMITS: Final = {"histogram_pool_size": 64.0, "bin_construct_sample_cnt": 10_000}


@dataclass
class OriginalPipeline(ArrayModel):
    """The original's two stages, fitted on training users only.

    Parameters
    ----------
    text_vectors
        Synopsis embeddings in catalog order, `(n_items, 384)`.
    n_components, n_epochs
        Of LightFM; 64 and 50 in the original.
    n_estimators, learning_rate
        Trees at most, and how much each adds; 2,000 and 0.01 in the original.
    n_rows
        Ratings that the regressor is fitted on, drawn at random; None for all, each 2 kB in memory.
    """

    text_vectors: Floats | None = field(default=None, repr=False)
    n_components: int = 64
    n_epochs: int = 50
    n_estimators: int = 2000
    learning_rate: float = 0.01
    n_rows: int | None = None
    seed: int = 42
    n_threads: int = 1
    name: ClassVar[str] = "original"
    serves_cold_start_users: ClassVar[bool] = True
    vectors_: Floats | None = field(default=None, init=False, repr=False)
    genres_: Floats | None = field(default=None, init=False, repr=False)
    booster_: lgb.Booster | None = field(default=None, init=False, repr=False)
    average_: Floats | None = field(default=None, init=False, repr=False)
    item_features_: tuple[str, ...] = field(default=(), init=False, repr=False)

    def fit(self, ratings: RatingMatrix, catalog: Catalog) -> Self:
        """Fit LightFM, then the regressor; early stopping on a share of the users, as the original did."""
        if self.text_vectors is None:
            raise NotFittedError(self)
        self.__dict__.pop("_predictor", None)
        self.genres_ = catalog.genre_matrix
        profiles = describe_users(ratings, self.genres_)
        self.average_ = profiles.mean(axis=0) if len(profiles) else np.zeros(profiles.shape[1], dtype=np.float32)
        self.item_features_ = compute_item_features(catalog).names
        embedded = fit_embeddings(
            ratings,
            profiles,
            catalog,
            n_components=self.n_components,
            n_epochs=self.n_epochs,
            seed=self.seed,
            n_threads=self.n_threads,
        )
        self.vectors_ = np.hstack([embedded, self.text_vectors]).astype(np.float32)
        held_out = np.random.default_rng(self.seed).random(ratings.shape[0]) < VALIDATION_SHARE
        # With few users a draw may leave one side empty, which LightGBM refuses.
        held_out[:2] = [True, False]
        self.booster_ = fit_regressor(
            ratings,
            profiles,
            self.vectors_,
            held_out,
            build_schema(catalog.genres, self.n_components, self.text_vectors.shape[1]),
            n_estimators=self.n_estimators,
            learning_rate=self.learning_rate,
            n_rows=self.n_rows,
            seed=self.seed,
            n_threads=self.n_threads,
        )
        return self

    def score(self, history: RatingMatrix) -> Floats:
        """Score the whole catalog so that the best ten are what the original shows, `(n_users, n_items)`.

        Behind them come the rest of the thousand by cosine and everything else by predicted rating.
        """
        if self.genres_ is None or self.vectors_ is None or self.average_ is None:
            raise NotFittedError(self)
        predict, units = self._predictor
        scores = np.empty(history.shape, dtype=np.float32)
        profiles = describe_users(history, self.genres_)
        profiles[np.diff(history.indptr) == 0] = self.average_
        for row, profile in enumerate(profiles):
            part = slice(history.indptr[row], history.indptr[row + 1])
            predicted = predict(profile)
            predicted[history.indices[part]] = -np.inf
            order = order_as_shown(predicted, history.indices[part], history.data[part], self.vectors_, units)
            scores[row, order] = np.arange(len(order), 0, -1)
        return scores

    @cached_property
    def _predictor(self) -> tuple[Callable[[Floats], Floats], Floats]:
        """Prepare what every list needs: the regressor over all titles, and their vectors of length 1."""
        if self.booster_ is None or self.vectors_ is None:
            raise NotFittedError(self)
        return make_predictor(self.booster_, self.vectors_), normalise_rows(self.vectors_)

    def compare(self, position: int) -> tuple[Floats, Floats]:
        """Return the parts of the cosine with each title that LightFM and the synopses have, `(n_items,)` both."""
        units = self._predictor[1]
        parts = (slice(None, self.n_components), slice(self.n_components, None))
        audience, synopsis = (units[:, part] @ units[position, part] for part in parts)
        return audience, synopsis

    @property
    def user_features(self) -> tuple[str, ...]:
        """Names of the features of users, those of the regressor that come first."""
        if self.booster_ is None or self.genres_ is None:
            raise NotFittedError(self)
        return tuple(self.booster_.feature_name()[: self.genres_.shape[1] + 1])

    def state(self) -> State:
        """Return vectors, genres, the average user, the names of the features that LightFM read, and trees."""
        if self.vectors_ is None or self.genres_ is None or self.booster_ is None or self.average_ is None:
            raise NotFittedError(self)
        return {
            "vectors": self.vectors_,
            "genres": self.genres_,
            "average": self.average_,
            "item_features": np.array(self.item_features_, dtype=np.str_),
            "n_components": np.array(self.n_components),
            "trees": np.frombuffer(self.booster_.model_to_string().encode(), dtype=np.uint8),
        }

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild from what `state` returned."""
        model = cls(n_components=int(state["n_components"]))
        model.vectors_, model.genres_, model.average_ = state["vectors"], state["genres"], state["average"]
        model.item_features_ = tuple(state["item_features"].tolist())
        model.booster_ = parse_booster(state["trees"].tobytes().decode(), f"{cls.name}.npz")
        return model


def build_schema(genres: Sequence[Genre], n_components: int, n_text: int) -> FeatureSchema:
    """Name the features of the regressor: 44 genre shares and the mean rating of the user, then the title's vector."""
    # LightGBM rewrites spaces and refuses commas, colons, quotes and brackets in names.
    shares = tuple(f"genre_share={quote(genre, safe='')}" for genre in genres)
    return FeatureSchema(
        {
            "user_profile": (*shares, "profile_mean_rating"),
            "lightfm_raw": tuple(f"lightfm_{dimension}" for dimension in range(n_components)),
            "text_raw": tuple(f"text_{dimension}" for dimension in range(n_text)),
        }
    )


def describe_users(history: RatingMatrix, genres: Floats) -> Floats:
    """Describe users by shares of genres and the mean rating from 0 to 1, `(n_users, n_genres + 1)`.

    A share is that of the watched titles which carry the genre. Both are 0 for an empty history, as in the
    original.
    """
    watched = csr_matrix((np.ones_like(history.data), history.indices, history.indptr), shape=history.shape)
    counts = np.maximum(np.diff(history.indptr), 1)[:, np.newaxis]
    means = np.asarray(history.sum(axis=1)).reshape(-1, 1) / counts
    return np.hstack([np.asarray(watched @ genres) / counts, np.maximum(means - 1, 0) / 9]).astype(np.float32)


def fit_embeddings(
    ratings: RatingMatrix,
    profiles: Floats,
    catalog: Catalog,
    *,
    n_components: int,
    n_epochs: int,
    seed: int,
    n_threads: int,
) -> Floats:
    """Fit LightFM as the original did, every rating a positive weighted by its value; item vectors `(n_items, n)`."""
    model, _, item_features = fit_lightfm_on_everything(
        ratings, profiles, catalog, n_components=n_components, n_epochs=n_epochs, seed=seed, n_threads=n_threads
    )
    return np.asarray(model.get_item_representations(item_features)[1], dtype=np.float32)


def fit_lightfm_on_everything(
    ratings: RatingMatrix,
    profiles: Floats,
    catalog: Catalog,
    *,
    n_components: int,
    n_epochs: int,
    seed: int,
    n_threads: int,
) -> tuple[Any, RatingMatrix, RatingMatrix]:
    """Fit LightFM's WARP on all ratings; return the model with the user and item features that it was given."""
    from lightfm import LightFM  # training only

    n_users, n_items = ratings.shape
    user_features = hstack([identity(n_users), csr_matrix(profiles)], format="csr", dtype=np.float32)
    item_features = hstack([identity(n_items), compute_item_features(catalog).values], format="csr", dtype=np.float32)
    weights = ratings.tocoo().astype(np.float32)
    positives = csr_matrix((np.ones_like(ratings.data), ratings.indices, ratings.indptr), shape=ratings.shape).tocoo()
    model = LightFM(n_components, loss="warp", learning_rate=LIGHTFM_LEARNING_RATE, random_state=seed)
    model.fit(
        positives,
        user_features=user_features,
        item_features=item_features,
        sample_weight=weights,
        epochs=n_epochs,
        num_threads=n_threads,
    )
    return model, user_features, item_features


def fit_regressor(
    ratings: RatingMatrix,
    profiles: Floats,
    vectors: Floats,
    held_out: Mask,
    schema: FeatureSchema,
    *,
    n_estimators: int,
    learning_rate: float,
    n_rows: int | None,
    seed: int,
    n_threads: int,
) -> lgb.Booster:
    """Fit the original's regressor of ratings, stopping early on the users held out, `(n_users,)`."""
    entries = ratings.tocoo()
    chosen = np.arange(entries.nnz)
    if n_rows is not None and n_rows < entries.nnz:
        chosen = np.sort(np.random.default_rng(seed).choice(entries.nnz, n_rows, replace=False))
    tables = [
        _build_table(entries, chosen[held_out[entries.row[chosen]] == side], profiles, vectors)
        for side in (False, True)
    ]
    params = replace(get_preset("original").rating, n_estimators=n_estimators, learning_rate=learning_rate)
    return train_head(params, schema, *tables, seed=seed, n_threads=n_threads, limits=MEMORY_LIMITS).booster


def _build_table(entries: RatingMatrix, chosen: Positions, profiles: Floats, vectors: Floats) -> TrainingTable:
    rows, columns = entries.row[chosen], entries.col[chosen]
    features = np.empty((len(chosen), profiles.shape[1] + vectors.shape[1]), dtype=np.float32)
    features[:, : profiles.shape[1]] = profiles[rows]
    features[:, profiles.shape[1] :] = vectors[columns]
    return TrainingTable(features, entries.data[chosen].astype(np.float32))


def make_predictor(booster: lgb.Booster, vectors: Floats) -> Callable[[Floats], Floats]:
    """Turn a regressor into a function from one user's profile to the rating of every title, `(n_items,)`.

    The titles' side of the trees is evaluated once for all users; the predictions are LightGBM's own.
    """
    from recsys.ranking.forest import Forest  # compiles what it needs on import, which takes seconds

    n_features = booster.num_feature()
    n_own = n_features - vectors.shape[1]
    forest = Forest.from_booster(booster, fixed=range(n_own, n_features))
    titles = forest.encode_fixed(np.hstack([np.zeros((len(vectors), n_own), dtype=np.float32), vectors]))

    def predict(profile: Floats) -> Floats:
        row = np.zeros((1, n_features), dtype=np.float32)
        row[0, :n_own] = profile
        return forest.score_codes(forest.encode(row, titles)).astype(np.float32)

    return predict


def order_as_shown(
    predicted: Floats, seen: Positions, ratings: Floats, vectors: Floats, units: Floats
) -> npt.NDArray[np.intp]:
    """Order the whole catalog as the original shows it; what is predicted as minus infinity comes last."""
    by_rating = np.argsort(-predicted, kind="stable")
    if ratings.max(initial=0) < POSITIVE_RATING:
        return by_rating
    query = vectors[seen[ratings == ratings.max()]].mean(axis=0)
    best = by_rating[:N_BEST]
    best = best[np.isfinite(predicted[best])]
    near = best[np.lexsort((best, -(units[best] @ query)))]
    return np.concatenate([_sort(near[:N_SHOWN], predicted), near[N_SHOWN:], by_rating[len(near) :]])


def _sort(positions: Sequence[int] | Positions, predicted: Floats) -> npt.NDArray[np.intp]:
    places = np.asarray(positions, dtype=np.intp)
    return places[np.lexsort((places, -predicted[places]))]
