"""The contract of a first-stage model: from a history to scores over the whole catalog."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys.data.catalog import Catalog
from recsys.exceptions import ArtifactError
from recsys.files import UNREADABLE, read_arrays
from recsys.types import Floats, Positions, RatingMatrix

MAX_COLUMNS: Final = 10_000_000  # of a stored matrix: titles, or terms of titles

BLOCKS: Final = 4  # for each of the best that are looked for
MOST_LEFT: Final = 8  # times those looked for: more are left of equal scores only

State: TypeAlias = Mapping[str, npt.NDArray[Any]]


@runtime_checkable
class ComparesTitles(Protocol):
    """A model with an answer of its own to which titles are similar to one; others take it as a history."""

    def compare(self, position: int) -> tuple[Floats, Floats]:
        """Return what audience and synopsis add to the similarity of each title to one, `(n_items,)` both."""
        ...


class CandidateGenerator(Protocol):
    """A model that needs a history only, so that users who arrived a minute ago are served without a refit.

    Implementations are dataclasses of hyper-parameters; what `fit` learns is stored by `save`. `ArrayModel` is the
    shared part of models whose learned part is arrays.
    """

    # Of files, scores and features within a version: lower case with underscores.
    name: ClassVar[str]
    # Whether scores depend on the history; otherwise every user gets the same order.
    personal: ClassVar[bool]
    # Whether scores mean something for an empty history.
    serves_cold_start_users: ClassVar[bool]

    @property
    def item_weights(self) -> RatingMatrix | None:
        """CSR `(n_items, n_items)`, row i the weights of title i of a history for all titles; None if it has none."""
        ...

    @property
    def item_vectors(self) -> Floats | None:
        """Learned vectors of the titles, `(n_items, n_factors)`; None if it has none."""
        ...

    def fit(self, ratings: RatingMatrix, catalog: Catalog) -> Self:
        """Learn from ratings 1..10 of training users, CSR `(n_users, n_items)`; refits from scratch."""
        ...

    def score(self, history: RatingMatrix) -> Floats:
        """Score the whole catalog for each row of a history, `(n_users, n_items)`; higher is better."""
        ...

    def save(self, folder: Path) -> None:
        """Write files of any open format whose names start with `{name}.`; nothing that needs a pickle."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        ArtifactError
            If a file is missing, truncated or altered.
        """
        ...


class ArrayModel(ABC):
    """A candidate generator whose learned part is named arrays, stored as `{name}.npz`."""

    name: ClassVar[str]
    personal: ClassVar[bool] = True
    serves_cold_start_users: ClassVar[bool] = False

    @property
    def item_weights(self) -> RatingMatrix | None:
        """No title supports another."""
        return None

    @property
    def item_vectors(self) -> Floats | None:
        """No vectors."""
        return None

    @abstractmethod
    def state(self) -> State:
        """Return what was learned as named arrays."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild a fitted model."""

    def save(self, folder: Path) -> None:
        """Write the arrays."""
        write_state(self.state(), folder / f"{self.name}.npz")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the arrays.

        Raises
        ------
        ArtifactError
            If the file is missing, truncated or altered, or lacks an array.
        """
        state = read_state(folder / f"{cls.name}.npz")
        try:
            return cls.from_state(state)
        except KeyError as error:
            raise ArtifactError(f"{cls.name}.npz holds no array {error}") from error
        except (ArtifactError, *UNREADABLE) as error:
            raise ArtifactError(f"{cls.name}.npz holds other arrays than {cls.name} wrote: {error}") from error


def write_state(state: State, path: Path) -> None:
    """Write named arrays as one NPZ file."""
    np.savez(path, allow_pickle=False, **dict(state))


def read_state(path: Path) -> State:
    """Read what `write_state` wrote; objects that would need a pickle are refused.

    Raises
    ------
    ArtifactError
        If the file is missing, truncated or no NPZ file of plain arrays, or holds a number that is not finite.
    """
    state = read_arrays(path)
    for name, values in state.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ArtifactError(f"{path.name} holds numbers in {name!r} that are not finite")
    return state


def sparse_to_state(matrix: RatingMatrix) -> State:
    """Take a CSR matrix apart."""
    return {
        "data": matrix.data,
        "indices": matrix.indices,
        "indptr": matrix.indptr,
        "shape": np.asarray(matrix.shape, dtype=np.int64),
    }


def sparse_from_state(state: State) -> RatingMatrix:
    """Put a CSR matrix together again, whose indices stay inside it: scipy reads and writes wherever they point.

    Raises
    ------
    ArtifactError
        If the arrays are not those of a CSR matrix of numbers.
    """
    data, indices, indptr, shape = (state[name] for name in ("data", "indices", "indptr", "shape"))
    if any(part.ndim != 1 for part in (data, indices, indptr, shape)) or data.dtype.kind not in "biuf":
        raise ArtifactError("the parts of a sparse matrix are no rows of numbers")
    if any(part.dtype not in (np.int32, np.int64) for part in (indices, indptr, shape)):
        raise ArtifactError("the indices of a sparse matrix are no whole numbers")
    if len(shape) != 2 or not 0 <= shape[0] == len(indptr) - 1 or not 0 <= shape[1] <= MAX_COLUMNS:
        raise ArtifactError(f"a sparse matrix cannot have the shape {shape.tolist()[:4]}")
    if indptr[0] != 0 or (indptr[1:] < indptr[:-1]).any() or not indptr[-1] == len(indices) == len(data):
        raise ArtifactError("the rows of a sparse matrix do not follow one another")
    if len(indices) and not 0 <= indices.min() <= indices.max() < shape[1]:
        raise ArtifactError(f"a sparse matrix of {shape[1]} columns has entries outside them")
    if not np.isfinite(data).all():
        raise ArtifactError("a sparse matrix holds a value that is no number")
    values = data.astype(np.float32, copy=False)
    return csr_matrix((values, indices, indptr), shape=(int(shape[0]), int(shape[1])))


def check_square(matrix: RatingMatrix) -> RatingMatrix:
    """Return a matrix from titles to titles.

    Raises
    ------
    ArtifactError
        If it has more rows than columns, or fewer.
    """
    if matrix.shape[0] != matrix.shape[1]:
        raise ArtifactError(f"a matrix from titles to titles cannot have the shape {matrix.shape}")
    return matrix


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
    return [_select_best(row, k) for row in masked]


def _select_best(scores: Floats, k: int) -> Positions:
    positions = np.flatnonzero(scores >= max(_bound_nth_best(scores[None], k)[0], np.finfo(scores.dtype).min))
    if len(positions) <= MOST_LEFT * k:
        best = positions[np.lexsort((positions, -scores[positions]))]
        if len(best) <= k or scores[best[k]] != scores[best[k - 1]]:
            return np.asarray(best[:k])
    # Which of equal ones come first is up to the partition; negated, since one from the other end is slow for them.
    top = np.argpartition(-scores, k - 1)[:k]
    finite = top[np.isfinite(scores[top])]
    return np.asarray(finite[np.lexsort((finite, -scores[finite]))])


def find_nth_best(scores: Floats, n: int) -> Floats:
    """Return the n-th largest score of each row, `(n_users,)`, n at most the number of columns."""
    bounds = _bound_nth_best(scores, n)
    return np.array(
        [-np.partition(-(row[row >= bound]), n - 1)[n - 1] for row, bound in zip(scores, bounds, strict=True)],
        dtype=scores.dtype,
    )


def _bound_nth_best(scores: Floats, n: int) -> Floats:
    """Return what the n-th largest score of each row is at least, `(n_users,)`.

    The largest of each of n blocks are n scores that are at least as large as the smallest of them; the n largest of
    more blocks are closer to what is looked for.
    """
    n_users, n_items = scores.shape
    size = max(n_items // (BLOCKS * n), 1)
    n_blocks = n_items // size
    largest = scores[:, : n_blocks * size].reshape(n_users, n_blocks, size).max(axis=2)
    return np.asarray(-np.partition(-largest, n - 1, axis=1)[:, n - 1])
