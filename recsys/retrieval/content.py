"""Content models: a user is the weighted sum of the titles of the history, a candidate scores by its cosine."""

from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np

from recsys.data.catalog import Catalog
from recsys.exceptions import NotFittedError
from recsys.features.item_side import normalise_rows
from recsys.retrieval.base import ArrayModel, State, map_values
from recsys.retrieval.rating_sums import EVIDENCE
from recsys.types import Floats, RatingMatrix


class Content(ArrayModel):
    """Shared part: item vectors of unit length `(n_items, n_dimensions)` and cosines of a profile with them."""

    units_: Floats | None = None

    def score(self, history: RatingMatrix) -> Floats:
        """Compute the cosine of each profile with each title, `(n_users, n_items)`; 0 for an empty history."""
        if self.units_ is None:
            raise NotFittedError(self)
        profiles = normalise_rows(np.asarray(map_values(history, EVIDENCE) @ self.units_, dtype=np.float32))
        return np.asarray(profiles @ self.units_.T, dtype=np.float32)

    def state(self) -> State:
        """Return the vectors."""
        if self.units_ is None:
            raise NotFittedError(self)
        return {"units": self.units_}

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild from the vectors."""
        model = cls()
        model.units_ = state["units"]
        return model


@dataclass
class TextProfile(Content):
    """Cosine between synopses.

    Parameters
    ----------
    text_vectors
        Synopsis embeddings `(n_items, 384)` in catalog order; a title without a synopsis is a zero row and
        scores 0.
    """

    text_vectors: Floats | None = field(default=None, repr=False)
    name: ClassVar[str] = "synopsis"

    def fit(self, ratings: RatingMatrix, catalog: Catalog) -> Self:
        """Keep the vectors; ratings are not read."""
        if self.text_vectors is None:
            raise NotFittedError(self)
        self.units_ = normalise_rows(self.text_vectors)
        return self


@dataclass
class GenreTfidf(Content):
    """Cosine between genres, weighted by TF-IDF.

    The weight of a genre is `log(n_items / n_carrying)`, the inverse document frequency of Spärck Jones, "A statistical
    interpretation of term specificity and its application in retrieval" (1972).
    """

    name: ClassVar[str] = "content_genre"

    def fit(self, ratings: RatingMatrix, catalog: Catalog) -> Self:
        """Compute the weights of genres; ratings are not read."""
        carried = catalog.genre_matrix
        frequency = np.log(len(catalog) / np.maximum(carried.sum(axis=0), 1.0))
        self.units_ = normalise_rows(np.asarray(carried * frequency, dtype=np.float32))
        return self
