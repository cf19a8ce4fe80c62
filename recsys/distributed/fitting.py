"""The first stage on a cluster: the models of one machine, fitted from sums over partitions of the users."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import pandas as pd
from distributed import Client, Future
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from recsys.columns import Columns
from recsys.data.interactions import Interactions
from recsys.distributed.als import fit_als
from recsys.distributed.cluster import translate_losses
from recsys.distributed.partitions import RETRIES, Partitions
from recsys.distributed.sums import count_fold, count_fold_together, join_products, multiply_fold, sum_partitions
from recsys.exceptions import ConfigurationError
from recsys.features.franchises import group_franchises
from recsys.recommender.training import N_FOLDS
from recsys.retrieval.base import CandidateGenerator
from recsys.retrieval.embedding import Als, LightFm
from recsys.retrieval.first_stage import FirstStage
from recsys.retrieval.item_item import Ease, ItemKnn
from recsys.retrieval.popular import Popular
from recsys.retrieval.rating_sums import Products, RatingCounts, select_frequent
from recsys.types import RatingMatrix

logger = logging.getLogger(__name__)
# LightFM reads all ratings in one process, user by user; beyond so many it is left out, and the vectors of titles are
# those of ALS.
LIGHTFM_RATINGS: Final = 20_000_000
# Users from whom franchises are confirmed: shares of common users, which more users leave as they are.
FRANCHISE_USERS: Final = 200_000


def cross_fit_on_cluster(
    client: Client,
    partitions: Partitions,
    make_models: Callable[[], Sequence[CandidateGenerator]],
) -> Iterator[FirstStage]:
    """Yield what `recsys.retrieval.first_stage.cross_fit` yields: fits on all training users, then without each fold.

    Raises
    ------
    ConfigurationError
        If a model has no fit by sums.
    ServiceUnavailableError
        If the scheduler is lost, or a task failed for good.
    """
    models = make_models()
    unknown = [model.name for model in models if not isinstance(model, Ease | ItemKnn | Popular | Als | LightFm)]
    if unknown:
        raise ConfigurationError(f"{', '.join(unknown)} cannot be fitted on a cluster; set OTAKU_TRAIN_ON=local")
    with translate_losses("fit retrieval"):
        counts = count_folds(client, partitions)
        sums = _sum_products(client, partitions, models, counts)
        for without in (None, *range(N_FOLDS)):
            yield _fit(client, partitions, models, counts, sums, without)


def count_folds(client: Client, partitions: Partitions) -> list[RatingCounts]:
    """Count the ratings of the training users of each fold."""
    futures = [sum_partitions(client, count_fold, partitions, fold) for fold in range(N_FOLDS)]
    return list(client.gather(futures))


def _sum_products(
    client: Client, partitions: Partitions, models: Sequence[CandidateGenerator], counts: Sequence[RatingCounts]
) -> dict[str, list[Future]]:
    """Start the sums of each fold, by model; they stay on the workers."""
    total = sum_counts(counts, None)
    sums: dict[str, list[Future]] = {}
    for model in models:
        if isinstance(model, Ease):
            # Titles that take part in any of the fits; without a fold they are fewer.
            least = min(int(sum_counts(counts, fold).n_ratings.max(initial=1)) for fold in range(N_FOLDS))
            frequent = select_frequent(total.n_ratings, min(model.min_ratings, least))
            sums[model.name] = [
                sum_partitions(client, multiply_fold, partitions, fold, frequent, model.discount)
                for fold in range(N_FOLDS)
            ]
        elif isinstance(model, ItemKnn):
            sums[model.name] = [
                sum_partitions(client, count_fold_together, partitions, fold) for fold in range(N_FOLDS)
            ]
    return sums


def sum_counts(counts: Sequence[RatingCounts], without: int | None) -> RatingCounts:
    """Add up the counts of all folds but one."""
    kept = [found for fold, found in enumerate(counts) if fold != without]
    total = kept[0]
    for found in kept[1:]:
        total += found
    return total


def _fit(
    client: Client,
    partitions: Partitions,
    models: Sequence[CandidateGenerator],
    counts: Sequence[RatingCounts],
    sums: dict[str, list[Future]],
    without: int | None,
) -> FirstStage:
    total = sum_counts(counts, without)
    n_ratings, n_items = int(total.n_ratings.sum()), len(total.n_ratings)
    fitted: dict[str, Future | CandidateGenerator] = {}
    for model in models:
        parts = [part for fold, part in enumerate(sums.get(model.name, ())) if fold != without]
        if isinstance(model, Ease):
            fitted[model.name] = client.submit(
                _fit_ease, model, total, partitions, without, *parts, pure=False, retries=RETRIES
            )
        elif isinstance(model, ItemKnn):
            fitted[model.name] = client.submit(_fit_item_knn, model, *parts, pure=False, retries=RETRIES)
        elif isinstance(model, Popular):
            fitted[model.name] = replace(model).fit_sums(total)
        elif isinstance(model, LightFm) and n_ratings <= LIGHTFM_RATINGS:
            fitted[model.name] = client.submit(_fit_alone, model, partitions, without, pure=False, retries=RETRIES)
        elif isinstance(model, LightFm):
            logger.info("%s is left out: %s ratings are more than %s", model.name, n_ratings, LIGHTFM_RATINGS)
        elif isinstance(model, Als):
            fitted[model.name] = fit_als(client, model, partitions, n_items, without)
    return FirstStage(
        {name: client.gather(found) if isinstance(found, Future) else found for name, found in fitted.items()}
    )


def read_training_users(partitions: Partitions, without: int | None, n_users: int | None = None) -> RatingMatrix:
    """Read the ratings of training users, CSR `(n_users, n_items)`, from as many partitions as it takes.

    Parameters
    ----------
    without
        A fold that is left out.
    n_users
        How many are enough; None for all.
    """
    tables: list[pd.DataFrame] = []
    for number in range(partitions.n_partitions):
        tables.append(partitions.read_training(number, without).table)
        if n_users is not None and sum(table[Columns.User].nunique() for table in tables) >= n_users:
            break
    return Interactions(pd.concat(tables)).to_matrix(partitions.read_catalog())


def _fit_ease(model: Ease, counts: RatingCounts, partitions: Partitions, without: int | None, *parts: Products) -> Ease:
    frequent = select_frequent(counts.n_ratings, model.min_ratings)
    products = join_products(parts, frequent, model.discount, counts.median_length)
    catalog = partitions.read_catalog()
    franchises = group_franchises(catalog, read_training_users(partitions, without, FRANCHISE_USERS))
    with threadpool_limits(1):
        return replace(model).fit_sums(counts, products, franchises, catalog)


def _fit_item_knn(model: ItemKnn, *parts: csr_matrix) -> ItemKnn:
    return replace(model).fit_sums(sum(parts[1:], start=parts[0]))


def _fit_alone(model: LightFm, partitions: Partitions, without: int | None) -> LightFm:
    ratings = read_training_users(partitions, without)
    with threadpool_limits(1):
        return replace(model).fit(ratings, partitions.read_catalog())
