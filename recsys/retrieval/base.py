"""The contract of a first-stage model: from a history to scores over the whole catalog."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeAlias
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys.data.catalog import Catalog
from recsys.exceptions import ArtifactError
from recsys.types import Floats, Positions, RatingMatrix

State: TypeAlias = Mapping[str, npt.NDArray[Any]]


class CandidateGenerator(Protocol):
    """A model that needs a history only, so that users who arrived a minute ago are served without a refit.

    Hyper-parameters are given to the constructor; `fit` learns from training users and returns self; `state` and
    `from_state` carry what was learned through plain arrays.
    """

    name: ClassVar[str]

    def fit(self, ratings: RatingMatrix, catalog: Catalog) -> Self:
        """Learn from ratings 1..10 of training users, CSR `(n_users, n_items)`; refits from scratch."""
        ...

    def score(self, history: RatingMatrix) -> Floats:
        """Score the whole catalog for each row of a history, `(n_users, n_items)`; higher is better."""
        ...

    def state(self) -> State:
        """Return what was learned as named arrays."""
        ...

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild a fitted model."""
        ...


def write_state(state: State, path: Path) -> None:
    """Write named arrays as one NPZ file."""
    np.savez(path, allow_pickle=False, **dict(state))


def read_state(path: Path) -> State:
    """Read what `write_state` wrote; objects that would need a pickle are refused.

    Raises
    ------
    ArtifactError
        If the file is missing, truncated or no NPZ file of plain arrays.
    """
    try:
        # Opened here: np.load leaves the file open when it is no archive.
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise ArtifactError(f"{path.name} cannot be read as plain arrays: {error}") from error


def sparse_to_state(matrix: RatingMatrix) -> State:
    """Take a CSR matrix apart."""
    return {
        "data": matrix.data,
        "indices": matrix.indices,
        "indptr": matrix.indptr,
        "shape": np.asarray(matrix.shape, dtype=np.int64),
    }


def sparse_from_state(state: State) -> RatingMatrix:
    """Put a CSR matrix together again."""
    shape = tuple(int(size) for size in state["shape"])
    return csr_matrix((state["data"].astype(np.float32, copy=False), state["indices"], state["indptr"]), shape=shape)


def map_values(ratings: RatingMatrix, weights: npt.NDArray[np.float32]) -> RatingMatrix:
    """Replace each stored rating 1..10 by `weights[rating]`, shape `(11,)`; entries that become 0 disappear."""
    mapped = ratings.copy()
    mapped.data = weights[np.rint(ratings.data).astype(np.intp).clip(0, 10)]
    mapped.eliminate_zeros()
    return mapped


def select_top(scores: Floats, allowed: npt.NDArray[np.bool_], k: int) -> list[Positions]:
    """Pick the k best allowed items of each row, best first; ties by position, so that lists are reproducible.

    Parameters
    ----------
    scores, allowed
        `(n_users, n_items)`.
    """
    masked = np.where(allowed, scores, -np.inf)
    k = min(k, masked.shape[1])
    # Negated, since a partition from the other end is slow where most scores are the same zero.
    top = np.argpartition(-masked, k - 1, axis=1)[:, :k]
    picked = []
    for row, positions in enumerate(top):
        finite = positions[np.isfinite(masked[row, positions])]
        picked.append(finite[np.lexsort((finite, -masked[row, finite]))])
    return picked
