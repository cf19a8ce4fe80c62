"""What the steps of a retraining will hold in memory, predicted from the size of the data before they start.

What grows is counted: the matrices of the regressions, the weights that are kept, the rows of the ranker. What does not
was measured, as was the share by which the whole is more than its parts (`benchmarks/training.py` compares both).
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, func, select

from recsys.data.splits import TARGET_SHARE
from recsys.data.users import BATCH_USERS
from recsys.ranking.params import Preset
from recsys.recommender.training import COLD_SHARE
from recsys.retrieval.ease_mixture import EaseMixture
from recsys.retrieval.item_item import AT_ONCE
from recsys.storage.tables import items, ratings, users

MIB: Final = 1 << 20
GIB: Final = 1 << 30
TRAINING_SHARE: Final = 0.8
# Libraries, and the libraries that some models bring.
_BASE_MIB: Final = 450
_STANDALONE_MIB: Final = 700
_DOUBLE, _SINGLE, _WEIGHT = 8, 4, 8  # bytes of a number, and of a weight with its position
_MODELS: Final = 6  # dense scores of a batch of users that are held at once
_FEATURES: Final = {"default": 90, "original": 493}
_CANDIDATES_PER_MODEL: Final = 2.3  # candidates of a user, in lists of one model: the three lists overlap


@dataclass(frozen=True)
class DataSize:
    """How much a retraining learns from.

    Parameters
    ----------
    n_frequent
        Titles with so many ratings that the regressions weigh each against all others.
    """

    n_users: int
    n_items: int
    n_ratings: int
    n_frequent: int


def count_data(connection: Connection) -> DataSize:
    """Count what a retraining of the present tables would learn from; users who are held back are not in them."""
    enough = EaseMixture().min_ratings / TRAINING_SHARE
    per_item = select(func.count().label("n")).select_from(ratings).group_by(ratings.c.item_id).subquery()
    n_frequent, n_ratings = connection.execute(
        select(func.count().filter(per_item.c.n >= enough), func.coalesce(func.sum(per_item.c.n), 0))
    ).one()
    n_users, n_items = (connection.scalar(select(func.count()).select_from(table)) or 0 for table in (users, items))
    return DataSize(n_users, n_items, int(n_ratings), n_frequent)


@dataclass(frozen=True)
class Needs:
    """The step that takes most memory, and how much."""

    step: str
    n_bytes: float
    size: DataSize

    def __str__(self) -> str:
        """Say it in one clause."""
        data = f"{self.size.n_ratings:,} ratings by {self.size.n_users:,} users"
        return f"about {self.n_bytes / GIB:.1f} GiB for {data}, in {self.step}"


def predict_needs(connection: Connection, preset: Preset, n_threads: int) -> Needs:
    """Predict what a retraining of the present tables takes at most."""
    size = count_data(connection)
    step, peak = max(predict_peaks(size, preset, n_threads).items(), key=lambda pair: pair[1])
    return Needs(step, peak * MIB, size)


def predict_peaks(size: DataSize, preset: Preset, n_threads: int) -> dict[str, float]:
    """Predict the most resident memory of the two steps that take most, in MiB."""
    return {
        "fit_retrieval": _predict_fit(size, n_threads),
        "train_ranker": _predict_training(size, preset, n_threads),
    }


def _predict_fit(size: DataSize, n_threads: int) -> float:
    """Count the four matrices of each regression, and the weights of finished ones."""
    model = EaseMixture()
    square = size.n_frequent**2 * 4 * _DOUBLE
    kept = min(model.n_kept, size.n_frequent) + min(model.short_kept, size.n_frequent) + model.sparse_kept
    at_once = 1 if size.n_frequent > AT_ONCE else n_threads
    weights = size.n_frequent * kept * _WEIGHT * (n_threads + 1)
    return max(_BASE_MIB + (square * at_once + weights) / MIB, float(_BASE_MIB + _STANDALONE_MIB))


def _predict_training(size: DataSize, preset: Preset, n_threads: int) -> float:
    """Count the rows of both heads with their bins, and the scores of the batches that are described."""
    shown = (preset.n_splits + 1 / COLD_SHARE) * size.n_users * TRAINING_SHARE
    candidates = min(_CANDIDATES_PER_MODEL * preset.n_per_model, size.n_items) * preset.negative_share
    rated = size.n_ratings * TRAINING_SHARE * TARGET_SHARE * (preset.n_splits + 1 / COLD_SHARE)
    n_features = _FEATURES.get(preset.name, _FEATURES["default"])
    rows = (shown * candidates + rated) * n_features * (_SINGLE + 1)
    scores = n_threads * BATCH_USERS * size.n_items * _SINGLE * _MODELS
    return _BASE_MIB + (rows + scores) / MIB
