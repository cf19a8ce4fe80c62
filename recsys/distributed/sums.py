"""Sums over users as sums over partitions: what each adds is computed where it is read, and added up in a tree.

The order of additions is fixed by the numbers of the partitions, so that the sum is the same to the last bit whoever
computes which part of it, and how often.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add, iadd
from typing import Any, Final

import numpy as np
from distributed import Client, Future
from scipy.sparse import csr_matrix

from recsys.distributed.partitions import RETRIES, Partitions
from recsys.retrieval.rating_sums import Products, RatingCounts, count_ratings, sum_likes, sum_products
from recsys.types import Positions

_OPTIONS: Final[dict[str, Any]] = {"pure": False, "retries": RETRIES}
GROUP: Final = 8  # partitions that one task adds up in turn and in place: of these only the sum is held


def sum_partitions(client: Client, compute: Callable[..., Any], partitions: Partitions, *arguments: Any) -> Future:
    """Add up `compute(partitions, number, *arguments)` over all partitions; the sum stays on the workers.

    Parameters
    ----------
    compute
        Returns what can be added with `+`.
    arguments
        Of every call; futures among them are waited for.
    """
    numbers = range(partitions.n_partitions)
    level = [
        client.submit(_sum_group, compute, partitions, numbers[start : start + GROUP], *arguments, **_OPTIONS)
        for start in range(0, partitions.n_partitions, GROUP)
    ]
    return add_up(client, level)


def add_up(client: Client, level: Sequence[Future]) -> Future:
    """Add up futures two by two, tuples part by part; the sum stays on the workers."""
    while len(level) > 1:
        pairs = [level[start : start + 2] for start in range(0, len(level), 2)]
        level = [client.submit(_add, *pair, **_OPTIONS) if len(pair) > 1 else pair[0] for pair in pairs]
    return level[0]


def _add(one: Any, other: Any) -> Any:
    return tuple(map(add, one, other)) if isinstance(one, tuple) else one + other


def _sum_group(compute: Callable[..., Any], partitions: Partitions, numbers: Sequence[int], *arguments: Any) -> Any:
    return reduce(iadd, (compute(partitions, number, *arguments) for number in numbers))


def count_fold(partitions: Partitions, number: int, fold: int) -> RatingCounts:
    """Count the ratings of the training users of a fold in a partition."""
    return count_ratings(partitions.read_fold(number, fold))


def multiply_fold(partitions: Partitions, number: int, fold: int, frequent: Positions, discount: float) -> Products:
    """Sum the products of the training users of a fold in a partition; the usual length counts as 1 here."""
    return sum_products(partitions.read_fold(number, fold), frequent, discount, 1.0)


def count_fold_together(partitions: Partitions, number: int, fold: int) -> csr_matrix:
    """Count for each pair of titles the training users of a fold in a partition who like both."""
    return sum_likes(partitions.read_fold(number, fold))


def join_products(parts: Sequence[Products], frequent: Positions, discount: float, usual: float) -> Products:
    """Add up products of folds for some of their titles, each user counting as (ratings / usual)^-discount."""
    total = Products(frequent, *(np.zeros((len(frequent), len(frequent))) for _ in range(2)))
    for part in parts:
        total += part.select(frequent).scale(usual**discount)
    return total
