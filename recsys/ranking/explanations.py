"""Faithful reasons: each is the part of the score that a feature family or title contributes, by the model itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from recsys.ranking.ranker import Ranker
from recsys.types import Floats, ItemId

Doubles = npt.NDArray[np.float64]

Kind = Literal["liked_title", "disliked_title", "genres", "collaborative", "popularity", "audience", "synopsis"]

# Feature family by the prefix of its names; those of first-stage models come from the registry.
GENRES: Final = ("genre_",)


@dataclass(frozen=True)
class Reason:
    """Why a title is in a list.

    Parameters
    ----------
    text
        One sentence for users.
    contribution
        How much of the score it brings. For a cited title, by how much the score falls when that title is taken out of
        the history; below 0 for a disliked one, without which the score rises.
    item_id
        The title of the history that the reason cites, if it cites one.
    """

    kind: Kind
    text: str
    contribution: float
    item_id: ItemId | None = None


def compute_contributions(ranker: Ranker, features: Floats, families: Sequence[Sequence[str]]) -> Doubles:
    """Attribute the scores of rows to families of features, `(n_rows, n_families)`.

    Shapley values of the families as players (`forest_attribution`): how far each moves the score from the mean. Where
    only LightGBM can evaluate the trees, the values of a family's features (Lundberg et al., "From local explanations
    to global understanding with explainable AI for trees", Nature Machine Intelligence 2020) are summed.

    Parameters
    ----------
    families
        Beginnings of the names of features; a feature belongs to the first family that has one of its name.
    """
    names = ranker.schema.names
    places = [
        next((place for place, family in enumerate(families) if name.startswith(tuple(family))), len(families))
        for name in names
    ]
    if "relevance" in ranker.forests:
        return ranker.forests["relevance"].attribute(features, places)[:, : len(families)]
    values = np.asarray(ranker.relevance.predict(features, pred_contrib=True, num_threads=1))[:, :-1]
    members = np.array(places)[:, None] == np.arange(len(families))
    return np.asarray(values @ members.astype(np.float64), dtype=np.float64)
