"""Both heads on a cluster by LightGBM's own Dask estimators: an ordinary text model, the same for the same workers.

Every worker holds whole query groups. Histograms are added up over the network in the order of the workers, to whom the
stored rows are dealt out by number: as many workers train the same trees again, after one of them was lost as well.
Estimators on Dask do not stop early; all trees are grown, and those up to the best iteration on validation users kept.
"""

import logging
import re
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillRunning
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pandas as pd
from distributed import Client

from recsys.data.catalog import Catalog
from recsys.distributed.cluster import LOSSES, translate_losses
from recsys.distributed.fitting import FRANCHISE_USERS, read_training_users
from recsys.distributed.partitions import Partitions
from recsys.distributed.tables import FULL, StoredTable, describe_users, read_table, read_tables, store_retriever
from recsys.exceptions import ConfigurationError, RetrainError, ServiceUnavailableError
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

logger = logging.getLogger(__name__)
ATTEMPTS: Final = 3
POLL_SECONDS: Final = 2.0
RETURN_SECONDS: Final = 300.0  # that a lost worker has to come back in
SOCKET_MINUTES: Final = 10  # without a word from another worker
AT: Final = 10
# Of the network of one training, which a model must not depend on.
_NETWORK: Final = {"machines": "", "local_listen_port": "12400", "num_machines": "1"}


class OrderedClient(Client):  # type: ignore[misc]
    """A client that says where results are in the order in which it is asked.

    The order of the workers is that of LightGBM's additions, which it takes from this answer.
    """

    def who_has(self, futures: Any = None, **options: Any) -> Any:
        """Tell which workers hold each result, by key."""
        found = super().who_has(futures, **options)
        return found if futures is None else {future.key: found[future.key] for future in futures}


@dataclass(frozen=True)
class ClusterTable:
    """Stored rows of one head."""

    client: Client
    partitions: Partitions
    parts: tuple[StoredTable, ...]
    head: str
    n_workers: int


def train_recommender_on_cluster(
    client: Client,
    partitions: Partitions,
    full: FirstStage,
    folds: Iterable[FirstStage],
    titles: tuple[Catalog, Floats, RatingMatrix],
    preset: Preset,
    *,
    seed: int,
    dropped: pd.DataFrame | None = None,
    on_progress: OnProgress = ignore_progress,
) -> FittedRecommender:
    """Do what `recsys.recommender.fitting.train_recommender` does, with rows and trees on the workers.

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
        store_retriever(partitions, FULL, final)
        for fold, stage in enumerate(folds):
            side = swap_item_vectors(final.items, stage)
            store_retriever(partitions, f"fold-{fold}", Retriever(stage, side, preset.n_per_model))
            on_progress("featurise", fold, N_FOLDS + 1)
        training, validation = describe_users(client, partitions, preset, dropped)
        on_progress("featurise", N_FOLDS + 1, N_FOLDS + 1)
        if not training or not validation:
            raise RetrainError("there are too few users to train and validate on; ingest more, or let more arrive")
        trained = train_heads_on_cluster(
            client, partitions, training, validation, preset, seed=seed, on_progress=on_progress
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
    on_progress: OnProgress = ignore_progress,
) -> TrainedRanker:
    """Train both heads of a preset on stored rows."""
    schema = training[0].schema
    validation[0].schema.check(schema.names)
    members = {"relevance": preset.list_members(), "rating": (preset.rating,)}
    tables, n_workers = read_tables(partitions, validation), len(list_workers(client))
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


def list_workers(client: Client) -> list[str]:
    """List the addresses of the workers by their names, which a worker that was replaced has again."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return sorted(workers, key=lambda address: (len(str(workers[address]["name"])), str(workers[address]["name"])))


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
        If workers were lost again and again.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            grown = _grow(params, schema, train, seed)
            break
        except (lgb.basic.LightGBMError, ServiceUnavailableError, *LOSSES) as error:
            if attempt == ATTEMPTS:
                raise ServiceUnavailableError(f"LightGBM lost its workers {ATTEMPTS} times: {error}") from error
            logger.warning("the %s head is trained again: %s", train.head, error)
            _wait_for_workers(train)
    on_iteration(params.n_estimators, params.n_estimators)
    name, curve = measure_curve(grown, validation)
    n_trees = find_best_iteration(curve if name == "l1" else [-value for value in curve], params.early_stopping_rounds)
    booster = lgb.Booster(model_str=grown.model_to_string(num_iteration=n_trees))
    return TrainedHead(booster, {"validation": {name: curve}}, n_trees, compute_importance([booster]))


def _wait_for_workers(train: ClusterTable) -> None:
    deadline = time.monotonic() + RETURN_SECONDS
    while len(list_workers(train.client)) < train.n_workers and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _grow(params: HeadParams, schema: FeatureSchema, train: ClusterTable, seed: int) -> lgb.Booster:
    """Grow all trees, by a client of its own, which is closed to end what waits for a lost worker."""
    workers = list_workers(train.client)[: len(train.parts)]
    scheduler = train.client.scheduler.address
    with OrderedClient(scheduler, set_as_default=False) as own, ThreadPoolExecutor(1) as pool:
        training = pool.submit(_fit, own, params, schema, train, seed, workers)
        while True:
            try:
                return training.result(timeout=POLL_SECONDS)
            except StillRunning:
                if training.done():
                    raise
                if lost := set(workers) - set(list_workers(train.client)):
                    own.close()
                    raise ServiceUnavailableError(f"{', '.join(sorted(lost))} was lost") from None


def _fit(
    client: Client, params: HeadParams, schema: FeatureSchema, train: ClusterTable, seed: int, workers: Sequence[str]
) -> lgb.Booster:
    from dask import array

    da: Any = array

    columns: dict[str, list[Any]] = {"features": [], "labels": [], "group_sizes": []}
    for number, part in enumerate(train.parts):
        where = {"workers": [workers[number % len(workers)]], "allow_other_workers": False, "pure": False}
        table = client.submit(read_table, train.partitions, part.name, train.head, **where)
        n_rows = part.n_rows[train.head]
        shapes = {"features": (n_rows, len(schema.names)), "labels": (n_rows,), "group_sizes": (part.n_groups,)}
        for name, found in columns.items():
            if name != "group_sizes" or train.head == "relevance":
                values = client.submit(getattr, table, name, **where)
                dtype = np.int64 if name == "group_sizes" else np.float32
                found.append(da.from_delayed(values, shape=shapes[name], dtype=dtype))
    settings = params.to_lightgbm(seed=seed, n_threads=1) | {"time_out": SOCKET_MINUTES}
    del settings["num_threads"]
    kinds = {"lambdarank": lgb.DaskLGBMRanker, "binary": lgb.DaskLGBMClassifier}
    estimator = kinds.get(params.objective, lgb.DaskLGBMRegressor)(
        client=client, n_estimators=params.n_estimators, **settings
    )
    groups = {"group": da.concatenate(columns["group_sizes"])} if params.objective == "lambdarank" else {}
    features, labels = da.concatenate(columns["features"]), da.concatenate(columns["labels"])
    with warnings.catch_warnings():
        # A default of its own that it does not use: workers have as many threads as Dask gives them.
        warnings.filterwarnings("ignore", "Parameter n_jobs will be ignored")
        estimator.fit(features, labels, feature_name=list(schema.names), **groups)
    return lgb.Booster(model_str=_forget_network(estimator.booster_.model_to_string(num_iteration=-1)))


def _forget_network(text: str) -> str:
    for name, value in _NETWORK.items():
        text = re.sub(rf"^\[{name}: .*\]$", f"[{name}: {value}]", text, flags=re.MULTILINE)
    return text


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
