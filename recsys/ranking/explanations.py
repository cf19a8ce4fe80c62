"""Faithful reasons: each is the part of the score that a feature family or title contributes, by the model itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from recsys.features.schema import FeatureSchema
from recsys.types import Floats, ItemId

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


def compute_contributions(
    booster: lgb.Booster, schema: FeatureSchema, features: Floats, families: Sequence[Sequence[str]]
) -> npt.NDArray[np.float64]:
    """Attribute the scores of rows to families of features, `(n_rows, n_families)`.

    Shapley values of the trees (Lundberg et al., "From local explanations to global understanding with explainable AI
    for trees", Nature Machine Intelligence 2020), summed over the features of a family: how far they move the score
    from the mean.
    """
    values = np.asarray(booster.predict(features, pred_contrib=True, num_threads=1))[:, :-1]
    members = np.array([[name.startswith(tuple(family)) for family in families] for name in schema.names])
    return np.asarray(values @ members.astype(np.float64), dtype=np.float64)
