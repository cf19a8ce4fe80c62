"""The second stage: two LightGBM heads over one feature schema.

The relevance head (the mean of ranking and classification losses) orders the list and is evaluated by NDCG@10; the
rating head (regression) predicts the rating shown to users and is evaluated by mean absolute error.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import lightgbm as lgb
import numpy as np

from recsys.exceptions import ArtifactError, SchemaMismatchError, UnsupportedForestError
from recsys.features.schema import FeatureSchema
from recsys.files import read_text
from recsys.ranking.ensemble import compute_importance
from recsys.ranking.forest_checks import check_forest_text
from recsys.ranking.params import HeadParams
from recsys.types import Floats, Positions

if TYPE_CHECKING:
    from recsys.ranking.forest import Forest

logger = logging.getLogger(__name__)
MIN_RATING: Final = 1.0
MAX_RATING: Final = 10.0
HEADS: Final = ("relevance", "rating")
# The rating head learns how far a rating lies from the user's mean, where the schema knows that mean; for a user
# without a history the usual mean on MyAnimeList stands in.
OFFSET_FEATURE: Final = "user_mean_rating"
USUAL_MEAN: Final = 7.6
ROWS_PER_THREAD: Final = 200_000


@dataclass(frozen=True)
class TrainingTable:
    """Rows of one head.

    Parameters
    ----------
    features
        `(n_rows, n_features)`.
    labels
        `(n_rows,)`: 0 or 1 for the relevance head, 1..10 for the rating head.
    group_sizes
        Candidates of each user in row order, `(n_users,)`; the rows of a user are contiguous. Only the relevance head
        needs it.
    """

    features: Floats
    labels: Floats
    group_sizes: Positions | None = None

    def __post_init__(self) -> None:
        if self.group_sizes is not None and int(self.group_sizes.sum()) != len(self.labels):
            raise SchemaMismatchError(
                f"query groups cover {int(self.group_sizes.sum())} rows of a table with {len(self.labels)}"
            )


@dataclass(frozen=True)
class TrainedHead:
    """A booster and its training history.

    Parameters
    ----------
    curves
        Learning curves by data set and metric; of joined boosters by booster and metric.
    n_trees
        Trees that are kept: up to the iteration that validated best.
    importance
        By feature, its share of the gain; all add up to 1.
    """

    booster: lgb.Booster
    curves: Mapping[str, Mapping[str, list[float]]]
    n_trees: int
    importance: Mapping[str, float]


def train_head(
    params: HeadParams,
    schema: FeatureSchema,
    train: TrainingTable,
    validation: TrainingTable,
    *,
    seed: int,
    n_threads: int,
    limits: Mapping[str, float] = MappingProxyType({}),
    on_iteration: Callable[[int, int], None] = lambda _done, _total: None,
) -> TrainedHead:
    """Train one head with early stopping on validation users.

    Parameters
    ----------
    limits
        Further parameters of LightGBM that limit its memory; none by default.
    on_iteration
        Called with trees grown and trees at most; after an early stop with trees grown twice.
    """
    # Where there are lists, the best list stops the training, whatever the loss.
    metric = {"metric": "l1"} if train.group_sizes is None else {"metric": "ndcg", "eval_at": [10]}
    # Threads that share few rows wait for one another more than they work.
    n_threads = min(n_threads, 1 + len(train.labels) // ROWS_PER_THREAD)
    settings = params.to_lightgbm(seed=seed, n_threads=n_threads) | metric | dict(limits)
    data = lgb.Dataset(
        train.features, train.labels, group=train.group_sizes, feature_name=list(schema.names), params=settings
    )
    valid = data.create_valid(validation.features, validation.labels, group=validation.group_sizes)
    curves: dict[str, dict[str, list[float]]] = {}

    def report(environment: Any) -> None:
        on_iteration(environment.iteration + 1, params.n_estimators)

    booster = lgb.train(
        settings,
        data,
        num_boost_round=params.n_estimators,
        valid_sets=[valid],
        valid_names=["validation"],
        callbacks=[
            lgb.early_stopping(params.early_stopping_rounds, verbose=False),
            lgb.record_evaluation(curves),
            report,
        ],
    )
    if booster.current_iteration() < params.n_estimators:
        on_iteration(booster.current_iteration(), booster.current_iteration())
    return TrainedHead(booster, curves, booster.best_iteration, compute_importance([booster]))


@dataclass(frozen=True)
class Ranker:
    """Both heads with the schema they were trained on.

    Parameters
    ----------
    forests
        Heads that are evaluated without LightGBM, by name; the others are left to it.
    """

    schema: FeatureSchema
    relevance: lgb.Booster
    rating: lgb.Booster
    forests: Mapping[str, "Forest"] = field(default_factory=dict, repr=False, compare=False)

    def accelerate(self) -> "Ranker":
        """Return a ranker with the same results that is many times faster, after seconds of preparation.

        A head that only LightGBM can evaluate is left to LightGBM.
        """
        # Compiles when it is imported; those who rank a few users need not wait for that.
        from recsys.ranking.forest import Forest

        forests = {}
        for name in HEADS:
            try:
                forests[name] = Forest.from_booster(getattr(self, name))
            except UnsupportedForestError as error:
                logger.warning("LightGBM evaluates the %s head itself: %s", name, error)
        return replace(self, forests=forests)

    def score(self, features: Floats) -> Floats:
        """Score pairs for ordering, `(n_pairs,)`; only differences within a user mean something."""
        return self._predict("relevance", features)

    def predict_ratings(self, features: Floats) -> Floats:
        """Predict ratings, `(n_pairs,)`, clipped to 1..10."""
        ratings = compute_rating_offsets(self.schema, features) + self._predict("rating", features)
        return np.asarray(np.clip(ratings, MIN_RATING, MAX_RATING), dtype=np.float32)

    def _predict(self, name: str, features: Floats) -> Floats:
        if not len(features):
            return np.empty(0, dtype=np.float32)
        if name in self.forests:
            return self.forests[name].score(features).astype(np.float32)
        return np.asarray(getattr(self, name).predict(features, num_threads=1), dtype=np.float32)

    def save(self, directory: Path) -> None:
        """Write the schema as JSON and each head in LightGBM's text format."""
        self.schema.save(directory / "schema.json")
        for name in HEADS:
            getattr(self, name).save_model(directory / f"{name}.lgb.txt")

    @classmethod
    def load(cls, directory: Path) -> "Ranker":
        """Read what `save` wrote.

        Raises
        ------
        ArtifactError
            If a file is missing or no LightGBM model.
        SchemaMismatchError
            If a head was trained on other features than the schema says.
        """
        schema = FeatureSchema.load(directory / "schema.json")
        heads = {name: parse_booster(read_text(directory / f"{name}.lgb.txt"), f"{name}.lgb.txt") for name in HEADS}
        for booster in heads.values():
            schema.check(tuple(booster.feature_name()))
        return cls(schema, heads["relevance"], heads["rating"])


def compute_rating_offsets(schema: FeatureSchema, features: Floats) -> Floats:
    """Return what the rating head adds its trees to, `(n_pairs,)`; 0 where the schema has no mean rating."""
    if OFFSET_FEATURE not in schema.names:
        return np.zeros(len(features), dtype=np.float32)
    means = features[:, schema.names.index(OFFSET_FEATURE)]
    return np.asarray(np.nan_to_num(means, nan=USUAL_MEAN), dtype=np.float32)


def parse_booster(text: str, name: str) -> lgb.Booster:
    """Build a booster from its text, which LightGBM sees only after it was checked.

    Parameters
    ----------
    name
        Of the file, for the message.

    Raises
    ------
    ArtifactError
        If the text is not what LightGBM writes.
    """
    try:
        check_forest_text(text)
        return lgb.Booster(model_str=text)
    except (ArtifactError, lgb.basic.LightGBMError, ValueError) as error:
        raise ArtifactError(f"{name} is no LightGBM model: {error}") from error
