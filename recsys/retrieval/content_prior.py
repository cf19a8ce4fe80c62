"""Weights for titles that nobody has rated, from those of the titles they resemble."""

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, hstack

from recsys.data.catalog import Catalog
from recsys.retrieval.base import sparse_from_state
from recsys.retrieval.tfidf import MetadataTfidf
from recsys.types import Floats, Positions, RatingMatrix

# Added to the cosine of titles of one franchise.
FRANCHISE: Final = 0.5
# What a resembled title in the history itself says, beside what its own weights say.
OWN: Final = 0.1
# Columns that are computed together: bounds the memory of a fit.
CHUNK: Final = 512


def compute_resemblance(
    catalog: Catalog, franchises: npt.NDArray[np.int64], rated: Positions, unrated: Positions, n_neighbours: int
) -> RatingMatrix:
    """Weigh the rated titles that each unrated one resembles most, CSR `(n_rated, n_unrated)`.

    Names, genres, studios, source, type, decade, age rating and synopsis are compared, and franchises. Squared
    similarities are divided by the root of their sum, so that a title that resembles many well counts more than one
    that resembles none.

    Parameters
    ----------
    franchises
        Number of each title's franchise, `(n_items,)`.
    """
    nothing = csr_matrix((0, len(catalog)), dtype=np.float32)
    units = sparse_from_state(MetadataTfidf().fit(nothing, catalog).state())
    known = units[rated]
    n_kept = min(n_neighbours, len(rated))
    parts = []
    for start in range(0, len(unrated), CHUNK):
        columns = unrated[start : start + CHUNK]
        near = (known @ units[columns].T).toarray()
        near += FRANCHISE * (franchises[rated][:, None] == franchises[columns][None, :])
        rows = np.argpartition(-near, n_kept - 1, axis=0)[:n_kept]
        values = np.take_along_axis(near, rows, axis=0) ** 2
        values /= np.sqrt(np.maximum(values.sum(axis=0), 1e-9))
        places = np.tile(np.arange(len(columns)), n_kept)
        parts.append(csr_matrix((values.ravel(), (rows.ravel(), places)), shape=(len(rated), len(columns))))
    return hstack(parts, format="csr", dtype=np.float32)


def extend_weights(
    weights: RatingMatrix, resemblance: RatingMatrix, rated: Positions, unrated: Positions, n_kept: int, share: float
) -> RatingMatrix:
    """Give each unrated title the weights of the titles that it resembles, and the weight of those themselves.

    Parameters
    ----------
    weights
        CSR `(n_items, n_items)`, columns of unrated titles empty.
    n_kept
        Weights of largest magnitude kept of each unrated title.
    share
        Factor of its weights.
    """
    inherited = (weights[rated][:, rated] @ resemblance + OWN * resemblance).tocsc()
    columns: list[Floats] = []
    rows: list[Positions] = []
    sizes = np.zeros(len(unrated), dtype=np.intp)
    for place in range(len(unrated)):
        part = slice(inherited.indptr[place], inherited.indptr[place + 1])
        values, positions = inherited.data[part], inherited.indices[part]
        if len(values) > n_kept:
            largest = np.argpartition(-np.abs(values), n_kept - 1)[:n_kept]
            values, positions = values[largest], positions[largest]
        columns.append(share * values)
        rows.append(rated[positions])
        sizes[place] = len(values)
    entries = np.concatenate(columns), (np.concatenate(rows), np.repeat(unrated, sizes))
    return (weights + csr_matrix(entries, shape=weights.shape)).astype(np.float32).tocsr()
