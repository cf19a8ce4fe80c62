"""What is known of the franchises of a catalog, computed once for each training and stored with the version."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys.data.catalog import Catalog
from recsys.exceptions import ArtifactError
from recsys.features.franchises.grouping import group_titles
from recsys.features.franchises.order import find_requirements
from recsys.features.franchises.relations import Relations
from recsys.types import Ids, RatingMatrix


@dataclass(frozen=True)
class Franchises:
    """Franchises and the order within them, by catalog position.

    Parameters
    ----------
    numbers
        Franchise of each title, from 0, `(n_items,)`; a title alone has a number of its own.
    is_main
        Whether a title is a season of a main line; films, specials and recaps are beside it, `(n_items,)`.
    requirements
        CSR `(n_items, n_items)`; row j holds the main seasons that come before title j.
    """

    numbers: npt.NDArray[np.int64]
    is_main: npt.NDArray[np.bool_]
    requirements: RatingMatrix

    @property
    def state(self) -> dict[str, npt.NDArray[Any]]:
        """The same as plain arrays."""
        return {
            "numbers": self.numbers,
            "is_main": self.is_main,
            "indices": self.requirements.indices,
            "indptr": self.requirements.indptr,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[Any]], n_items: int) -> Self:
        """Rebuild from plain arrays.

        Raises
        ------
        ArtifactError
            If they lack an array, or are not of this number of titles.
        """
        missing = [name for name in ("numbers", "is_main", "indices", "indptr") if name not in state]
        if missing:
            raise ArtifactError(f"franchises.npz holds no array {missing[0]!r}")
        whole = [state[name] for name in ("numbers", "indices", "indptr")]
        if state["is_main"].dtype != np.bool_ or any(part.dtype.kind != "i" or part.ndim != 1 for part in whole):
            raise ArtifactError("the arrays of franchises.npz are not of whole numbers")
        numbers, indices, indptr = whole
        is_main = state["is_main"]
        in_range = not len(indices) or (int(indices.min()) >= 0 and int(indices.max()) < n_items)
        if (
            not (len(numbers) == len(is_main) == len(indptr) - 1 == n_items)
            or not in_range
            or indptr[0] != 0
            or bool((np.diff(indptr) < 0).any())
            or indptr[-1] != len(indices)
        ):
            raise ArtifactError(f"franchises.npz is not of the {n_items} titles of the catalog")
        if n_items and (int(numbers.min()) < 0 or int(numbers.max()) >= n_items):
            raise ArtifactError("franchises.npz numbers its franchises from 0 to less than there are titles")
        ones = np.ones(len(indices), dtype=np.float32)
        return cls(numbers, is_main, csr_matrix((ones, indices, indptr), shape=(n_items, n_items)))

    @cached_property
    def n_required(self) -> npt.NDArray[np.intp]:
        """How many seasons come before each title, `(n_items,)`."""
        return np.asarray(np.diff(self.requirements.indptr), dtype=np.intp)

    def list_before(self, position: int) -> list[int]:
        """List the positions of the seasons that come before a title, the first one first."""
        row = slice(self.requirements.indptr[position], self.requirements.indptr[position + 1])
        before = self.requirements.indices[row]
        return [int(other) for other in sorted(before, key=lambda other: (self.n_required[other], other))]


def group_franchises(catalog: Catalog, ratings: RatingMatrix | None = None) -> Ids:
    """Find the franchise of each title, `(n_items,)`, without the order of its seasons; see `compute_franchises`."""
    return group_titles(Relations.build(catalog, ratings))


def compute_franchises(catalog: Catalog, ratings: RatingMatrix | None = None) -> Franchises:
    """Find the franchises of a catalog and the order of their seasons.

    Names in all languages propose which titles belong together; the users that titles share, studios and sources
    confirm it. See `recsys.features.franchises.grouping` and `.order`.

    Parameters
    ----------
    ratings
        Ratings of training users, CSR `(n_users, n_items)`; without them names, studios and sources decide alone.
    """
    relations = Relations.build(catalog, ratings)
    numbers = group_titles(relations)
    is_main, requirements = find_requirements(relations, numbers)
    return Franchises(numbers, is_main, requirements)
