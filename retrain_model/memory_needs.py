"""What the steps of a retraining will hold in memory, predicted from the size of the data before they start.

What grows is counted: the matrices of the regressions, the weights that are kept, the rows of the ranker. What does not
was measured, on an invented world of 120,000 ratings and on MyAnimeList. The steps of one process find what earlier
ones left behind, so that what the last retraining took is the better prediction as soon as there was one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sqlalchemy import Connection, func, select

from recsys.data.splits import TARGET_SHARE
from recsys.data.users import BATCH_USERS
from recsys.ranking.params import Preset
from recsys.recommender.training import COLD_SHARE
from recsys.retrieval.ease_mixture import EaseMixture
from recsys.retrieval.item_item import AT_ONCE
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.tables import items, ratings, users
from retrain_model.context import ROOT, USAGE

MIB: Final = 1 << 20
GIB: Final = 1 << 30
TRAINING_SHARE: Final = 0.8
# Libraries and tables, and the libraries that models of their own bring.
_BASE_MIB: Final = 600
_STANDALONE_MIB: Final = 300
_STANDALONE_BYTES: Final = 900  # for each training rating, of the model that takes most
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


def predict_needs(
    connection: Connection, preset: Preset, n_threads: int, measured: Mapping[str, float] = MappingProxyType({})
) -> Needs:
    """Predict what a retraining of the present tables takes at most.

    Parameters
    ----------
    measured
        What the steps of the last one took, in MiB; a step takes no less.
    """
    size = count_data(connection)
    predicted = predict_peaks(size, preset, n_threads)
    peaks = {step: max(predicted.get(step, 0.0), measured.get(step, 0.0)) for step in predicted.keys() | measured}
    step, peak = max(peaks.items(), key=lambda pair: pair[1])
    return Needs(step, peak * MIB, size)


def read_last_peaks(store: ArtifactStore) -> dict[str, float]:
    """Read the peak of each step of the retraining that finished a step last, in MiB; empty before the first one."""
    found = [stored for stored in store.list_objects(f"{ROOT}/") if stored.key.endswith(USAGE)]
    if not found:
        return {}
    run, _, _ = max(found, key=lambda stored: stored.written_at).key.rpartition("/")
    own = [stored.key for stored in found if stored.key.startswith(f"{run}/")]
    steps = {key.removeprefix(f"{run}/").removesuffix(USAGE): key for key in own}
    return {step: float(json.loads(store.read_bytes(key))["peak_mib"]) for step, key in steps.items()}


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
    alone = size.n_ratings * TRAINING_SHARE * _STANDALONE_BYTES
    return _BASE_MIB + max((square * at_once + weights) / MIB, _STANDALONE_MIB + alone / MIB)


def _predict_training(size: DataSize, preset: Preset, n_threads: int) -> float:
    """Count the rows of both heads with their bins, and the scores of the batches that are described."""
    shown = (preset.n_splits + 1 / COLD_SHARE) * size.n_users * TRAINING_SHARE
    candidates = min(_CANDIDATES_PER_MODEL * preset.n_per_model, size.n_items) * preset.negative_share
    rated = size.n_ratings * TRAINING_SHARE * TARGET_SHARE * (preset.n_splits + 1 / COLD_SHARE)
    n_features = _FEATURES.get(preset.name, _FEATURES["default"])
    rows = (shown * candidates + rated) * n_features * (_SINGLE + 1)
    scores = n_threads * BATCH_USERS * size.n_items * _SINGLE * _MODELS
    return _BASE_MIB + (rows + scores) / MIB
