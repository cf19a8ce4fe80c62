"""Collect real per-user results of trained models: the material that the gate's error rates are measured on.

Every user is scored by models that were fitted on the other half of the users, so that the vectors are as long as
the data allow. Ids are dropped; what is kept is one row of results per person, in random order.

    python research/2-gate-calibration/collect_vectors.py DIRECTORY
"""

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from recsys.columns import Columns
from recsys.data.catalog import Catalog
from recsys.data.interactions import POSITIVE_RATING, Interactions
from recsys.data.sources.reading import read_source
from recsys.data.splits import assign_folds
from recsys.data.users import Users, build_users
from recsys.gate.metrics import PerUser, absolute_rating_error, ndcg_at_k
from recsys.retrieval.base import CandidateGenerator, select_top
from recsys.retrieval.embedding import Als
from recsys.retrieval.item_item import Ease, ItemKnn
from recsys.retrieval.popular import Popular
from recsys.types import RatingMatrix

HERE = Path(__file__).parent
# Titles that fewer people rated are left out, so that EASE is fitted in a minute.
LEAST_RATINGS = 25
K = 10


def make_models() -> dict[str, CandidateGenerator]:
    """Return pairs of equals (two seeds of ALS), near equals (two penalties of EASE) and unequals."""
    return {
        "als_seed_0": Als(n_factors=64, seed=0),
        "als_seed_1": Als(n_factors=64, seed=1),
        "ease": Ease(),
        "ease_other_penalty": Ease(regularisation=2 * Ease().regularisation),
        "item_knn": ItemKnn(),
        "popular": Popular(),
    }


def read_world(directory: Path) -> tuple[Catalog, Interactions]:
    """Read a folder and keep the titles with enough ratings."""
    source = read_source(directory)
    counts = source.ratings[Columns.Item].value_counts()
    kept = counts.index[counts >= LEAST_RATINGS]
    items = source.items[source.items[Columns.Item].isin(kept)]
    return Catalog(items), Interactions(source.ratings[source.ratings[Columns.Item].isin(kept)])


def score(model: CandidateGenerator, known_users: Users) -> PerUser:
    """Compute NDCG@10 of the whole catalog minus the history."""
    values = []
    for batch in known_users.batches():
        allowed = np.ones(batch.history.shape, dtype=bool)
        allowed[batch.history.nonzero()] = False
        lists = select_top(model.score(batch.history), allowed, K)
        ranked = np.full((len(lists), K), -1, dtype=np.intp)
        for row, positions in enumerate(lists):
            ranked[row, : len(positions)] = positions
        values.append(ndcg_at_k(ranked, (batch.targets >= POSITIVE_RATING).tocsr(), K))
    return np.concatenate(values)


def rating_errors(training: RatingMatrix, known_users: Users, shrinkage: float) -> PerUser:
    """Judge the usual bias model: mean, plus title, plus person, both shrunk towards 0."""
    mean = training.data.mean()
    counts = np.asarray((training > 0).sum(axis=0)).ravel()
    title = (np.asarray(training.sum(axis=0)).ravel() - mean * counts) / (counts + shrinkage)
    history, targets = known_users.history.tocoo(), known_users.targets.tocoo()
    left = history.data - mean - title[history.col]
    n_rated = np.bincount(history.row, minlength=len(known_users.user_ids))
    user = np.bincount(history.row, weights=left, minlength=len(known_users.user_ids)) / (n_rated + shrinkage)
    predicted = np.clip(mean + title[targets.col] + user[targets.row], 1, 10)
    return absolute_rating_error(predicted, targets.data, targets.row, n_users=len(known_users.user_ids))


def collect(directory: Path) -> pd.DataFrame:
    """Fit on one half of the people, judge the other half, and the other way round."""
    catalog, interactions = read_world(directory)
    users = interactions.user_ids
    halves = assign_folds(users, 2)
    print(f"{len(catalog)} titles, {len(users)} people, {len(interactions)} ratings", flush=True)
    parts = []
    for half in (0, 1):
        training = interactions.select_users(users[halves != half]).to_matrix(catalog)
        known_users = build_users(interactions.select_users(users[halves == half]), catalog)
        columns: dict[str, npt.NDArray[np.float64]] = {}
        for name, model in make_models().items():
            columns[f"ndcg_at_10.{name}"] = score(model.fit(training, catalog), known_users)
            print(f"half {half}: {name} {np.nanmean(columns[f'ndcg_at_10.{name}']):.4f}", flush=True)
        for shrinkage in (5.0, 20.0):
            columns[f"mae.bias_{shrinkage:.0f}"] = rating_errors(training, known_users, shrinkage)
        parts.append(pd.DataFrame(columns))
    table = pd.concat(parts, ignore_index=True).dropna()
    return table.sample(frac=1.0, random_state=0, ignore_index=True).astype(np.float32)


if __name__ == "__main__":
    collect(Path(sys.argv[1])).to_parquet(HERE / "per_user_results.parquet", index=False, compression="zstd")
