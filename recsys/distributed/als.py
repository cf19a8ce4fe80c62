"""Weighted matrix factorisation by blocks: users are solved for where their ratings lie, titles from sums over users.

Hu, Koren & Volinsky (ICDM 2008) with exact half-steps. For a block of titles every group of users adds its part of the
normal equations, `(n_titles, n_factors, n_factors)`; nothing of the size of all users leaves the workers.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from distributed import Client

from recsys.distributed.partitions import RETRIES, Partitions
from recsys.distributed.sums import GROUP, add_up
from recsys.retrieval.embedding import Als, fold_in, solve
from recsys.types import Floats, RatingMatrix

BLOCK: Final = 512  # titles whose equations are added up together: 64 MiB at 128 factors
_SCALE: Final = 0.01  # of the vectors that the first half-step starts from
_OPTIONS: Final[dict[str, Any]] = {"pure": False, "retries": RETRIES}

# Matrices and right sides of the titles of a block.
Equations = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def fit_als(client: Client, model: Als, partitions: Partitions, n_items: int, without: int | None = None) -> Als:
    """Fit item vectors on the training users.

    Parameters
    ----------
    model
        Unfitted.
    without
        A fold of training users that is left out.
    """
    # Never handed over by this process: what a lost worker held is computed again from what came before it.
    shared = client.submit(_draw_vectors, model, n_items, **_OPTIONS)
    starts = range(0, partitions.n_partitions, GROUP)
    groups = [range(start, min(start + GROUP, partitions.n_partitions)) for start in starts]
    for _ in range(model.n_iterations):
        users = [client.submit(_solve_users, model, shared, partitions, group, without, **_OPTIONS) for group in groups]
        gram = add_up(client, [client.submit(_multiply, found, **_OPTIONS) for found in users])
        blocks = []
        for start in range(0, n_items, BLOCK):
            parts = [
                client.submit(_build_equations, model, found, partitions, group, without, start, **_OPTIONS)
                for found, group in zip(users, groups, strict=True)
            ]
            blocks.append(client.submit(_solve_titles, model, gram, add_up(client, parts), **_OPTIONS))
        shared = client.submit(_join, *blocks, **_OPTIONS)
    return Als.from_state({"vectors": shared.result(), "constants": np.array([model.regularisation, model.alpha])})


def _draw_vectors(model: Als, n_items: int) -> Floats:
    rng = np.random.default_rng(model.seed)
    return (_SCALE * rng.random((n_items, model.n_factors))).astype(np.float32)


def _join(*blocks: Floats) -> Floats:
    return np.concatenate(blocks)


def _read_confidences(
    model: Als, partitions: Partitions, numbers: Sequence[int], without: int | None
) -> list[RatingMatrix]:
    catalog = partitions.read_catalog()
    training = (partitions.read_training(number, without) for number in numbers)
    return [model.compute_confidences(ratings.to_matrix(catalog)) for ratings in training]


def _solve_users(
    model: Als, vectors: Floats, partitions: Partitions, numbers: Sequence[int], without: int | None
) -> list[Floats]:
    """Solve for the users of a group of partitions, `(n_users, n_factors)` each."""
    gram = vectors.T @ vectors
    return [
        fold_in(vectors, gram, confidences, model.regularisation)
        for confidences in _read_confidences(model, partitions, numbers, without)
    ]


def _multiply(users: list[Floats]) -> npt.NDArray[np.float64]:
    doubles = [found.astype(np.float64) for found in users]
    return np.asarray(sum(found.T @ found for found in doubles), dtype=np.float64)


def _build_equations(
    model: Als,
    users: list[Floats],
    partitions: Partitions,
    numbers: Sequence[int],
    without: int | None,
    start: int,
) -> Equations:
    """Add up what a group of users says about a block of titles."""
    confidences = _read_confidences(model, partitions, numbers, without)
    n_titles, n_factors = min(BLOCK, confidences[0].shape[1] - start), model.n_factors
    matrices, sides = np.zeros((n_titles, n_factors, n_factors)), np.zeros((n_titles, n_factors))
    for vectors, rows in zip(users, confidences, strict=True):
        columns = rows[:, start : start + n_titles].tocsc()
        for title in range(n_titles):
            part = slice(columns.indptr[title], columns.indptr[title + 1])
            if part.stop > part.start:
                seen = vectors[columns.indices[part]].astype(np.float64)
                confidence = columns.data[part].astype(np.float64)
                matrices[title] += (seen.T * (confidence - 1.0)) @ seen
                sides[title] += seen.T @ confidence
    return matrices, sides


def _solve_titles(model: Als, gram: npt.NDArray[np.float64], equations: Equations) -> Floats:
    """Solve for a block of titles, `(n_titles, n_factors)`; zero for those that nobody rated."""
    matrices, sides = equations
    vectors = np.zeros(sides.shape, dtype=np.float32)
    for title in np.flatnonzero(sides.any(axis=1)):
        matrix = gram + matrices[title]
        matrix.flat[:: len(matrix) + 1] += model.regularisation
        vectors[title] = solve(matrix, sides[title])
    return vectors
