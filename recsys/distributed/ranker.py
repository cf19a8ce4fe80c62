"""Both heads on a cluster: an ordinary text model, the same for the same number of workers.

Estimators on Dask do not stop early; all trees are grown, and those up to the best iteration on validation users kept.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pandas as pd
from distributed import Client

from recsys.data.catalog import Catalog
from recsys.distributed.boosters import ClusterTable, grow_booster
from recsys.distributed.cluster import translate_losses
from recsys.distributed.fitting import FRANCHISE_USERS, count_folds, read_training_users, sum_counts
from recsys.distributed.partitions import Partitions
from recsys.distributed.tables import FULL, StoredTable, describe_users, read_tables, store_retriever
from recsys.exceptions import ConfigurationError, RetrainError
from recsys.features.schema import FeatureSchema
from recsys.progress import OnProgress, ignore_progress
from recsys.ranking.ensemble import compute_importance
from recsys.ranking.joined_head import train_joined_head
from recsys.ranking.params import HeadParams, Preset
from recsys.ranking.ranker import HEADS, Ranker, TrainedHead, TrainingTable
from recsys.recommender.fitting import FittedRecommender, build_retriever
from recsys.recommender.model import Recommender
from recsys.recommender.retriever import Retriever
from recsys.recommender.training import N_FOLDS, TrainedRanker, swap_item_vectors
from recsys.retrieval.first_stage import FirstStage
from recsys.types import Floats, Positions, RatingMatrix

AT: Final = 10


def train_recommender_on_cluster(
    client: Client,
    partitions: Partitions,
    full: FirstStage,
    folds: Iterable[FirstStage],
    titles: tuple[Catalog, Floats, RatingMatrix],
    preset: Preset,
    *,
    seed: int,
    n_workers: int,
    dropped: pd.DataFrame | None = None,
    on_progress: OnProgress = ignore_progress,
) -> FittedRecommender:
    """Do what `recsys.recommender.fitting.train_recommender` does, with rows and trees on the workers.

    Parameters
    ----------
    n_workers
        That grow trees; the model depends on it.

    Raises
    ------
    ConfigurationError
        If the preset reads raw vectors of LightFM, which one process holds.
    RetrainError
        If there are too few users.
    ServiceUnavailableError
        If the scheduler is lost, or a task failed for good.
    """
    if "lightfm_raw" in preset.groups:
        raise ConfigurationError(f"preset {preset.name} is trained on one machine; set OTAKU_TRAIN_ON=local")
    with translate_losses("train ranker"):
        ratings = read_training_users(partitions, None, FRANCHISE_USERS)
        final = build_retriever(full, titles, preset, ratings)
        counts = count_folds(client, partitions)
        store_retriever(partitions, FULL, final, sum_counts(counts, None).n_ratings > 0)
        for fold, stage in enumerate(folds):
            side = swap_item_vectors(final.items, stage)
            retriever, rated = Retriever(stage, side, preset.n_per_model), sum_counts(counts, fold).n_ratings > 0
            store_retriever(partitions, f"fold-{fold}", retriever, rated)
            on_progress("featurise", fold, N_FOLDS + 1)
        training, validation = describe_users(client, partitions, preset, dropped)
        on_progress("featurise", N_FOLDS + 1, N_FOLDS + 1)
        if not training or not validation:
            raise RetrainError("there are too few users to train and validate on; ingest more, or let more arrive")
        trained = train_heads_on_cluster(
            client, partitions, training, validation, preset, seed=seed, n_workers=n_workers, on_progress=on_progress
        )
    return FittedRecommender(Recommender(final, trained.ranker), trained, sum(part.n_users for part in training))


def train_heads_on_cluster(
    client: Client,
    partitions: Partitions,
    training: Sequence[StoredTable],
    validation: Sequence[StoredTable],
    preset: Preset,
    *,
    seed: int,
    n_workers: int,
    on_progress: OnProgress = ignore_progress,
) -> TrainedRanker:
    """Train both heads of a preset on stored rows."""
    schema = training[0].schema
    validation[0].schema.check(schema.names)
    members = {"relevance": preset.list_members(), "rating": (preset.rating,)}
    tables = read_tables(partitions, validation)
    heads = {
        head: train_joined_head(
            members[head],
            schema,
            ClusterTable(client, partitions, tuple(part for part in training if part.n_rows[head]), head, n_workers),
            tables[head],
            seed=seed,
            n_threads=1,
            on_iteration=partial(on_progress, f"train {head} head"),
            train_one=train_head_on_cluster,
        )
        for head in HEADS
    }
    ranker = Ranker(schema, heads["relevance"].booster, heads["rating"].booster)
    return TrainedRanker(ranker, heads, {head: sum(part.n_rows[head] for part in training) for head in HEADS})


def train_head_on_cluster(
    params: HeadParams,
    schema: FeatureSchema,
    train: ClusterTable,
    validation: TrainingTable,
    *,
    seed: int,
    n_threads: int,  # noqa: ARG001 - a worker has one
    on_iteration: Callable[[int, int], None] = lambda _done, _total: None,
) -> TrainedHead:
    """Train one booster; parameters as in `recsys.ranking.ranker.train_head`.

    Raises
    ------
    ServiceUnavailableError
        If workers are missing, or were lost again and again.
    """
    grown = grow_booster(params, schema, train, seed=seed)
    on_iteration(params.n_estimators, params.n_estimators)
    name, curve = measure_curve(grown, validation)
    n_trees = find_best_iteration(curve if name == "l1" else [-value for value in curve], params.early_stopping_rounds)
    booster = lgb.Booster(model_str=grown.model_to_string(num_iteration=n_trees))
    return TrainedHead(booster, {"validation": {name: curve}}, n_trees, compute_importance([booster]))


def measure_curve(booster: lgb.Booster, validation: TrainingTable) -> tuple[str, list[float]]:
    """Evaluate a booster after each of its trees: NDCG@10 where there are lists, else the mean absolute error.

    Returns
    -------
    The name of the metric, as LightGBM has it, and one value a tree.
    """
    scores: npt.NDArray[np.float64] = np.zeros(len(validation.labels))
    curve: list[float] = []
    sizes = validation.group_sizes
    for tree in range(booster.num_trees()):
        scores += booster.predict(
            validation.features, raw_score=True, start_iteration=tree, num_iteration=1, num_threads=1
        )
        curve.append(
            float(np.abs(validation.labels - scores).mean())
            if sizes is None
            else compute_mean_ndcg(scores, validation.labels, sizes)
        )
    return ("l1" if sizes is None else f"ndcg@{AT}"), curve


def compute_mean_ndcg(scores: npt.NDArray[np.floating], labels: Floats, sizes: Positions) -> float:
    """Compute the mean NDCG@10 of lists with labels 0 or 1 as LightGBM does: 1 for one without a 1.

    Parameters
    ----------
    scores, labels
        `(n_rows,)`, list after list.
    sizes
        Rows of each list, `(n_lists,)`.
    """
    lists = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((-scores, lists))
    places = np.arange(len(lists)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    discounts = np.where(places < AT, 1 / np.log2(places + 2), 0.0)
    gains = np.bincount(lists, weights=labels[order] * discounts, minlength=len(sizes))
    most = np.bincount(lists, weights=labels, minlength=len(sizes)).astype(np.intp)
    ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(AT) + 2))])[np.minimum(most, AT)]
    return float(np.where(most > 0, gains / np.where(most > 0, ideal, 1.0), 1.0).mean())


def find_best_iteration(losses: Sequence[float], patience: int) -> int:
    """Find how many trees are kept where training stops after so many trees without a smaller loss.

    Examples
    --------
    >>> find_best_iteration([3.0, 2.0, 2.5, 2.5, 1.0], patience=2)
    2
    """
    best = 0
    for place, loss in enumerate(losses):
        if loss < losses[best]:
            best = place
        elif place - best >= patience:
            break
    return best + 1
