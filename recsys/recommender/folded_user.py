"""A user as all models of the first stage have read the history, once for every question of a request."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from recsys.data.catalog import Catalog
from recsys.features.pairs import PairScores
from recsys.recommender.profile import UserProfile
from recsys.retrieval.first_stage import FirstStage, ModelScores
from recsys.retrieval.leave_one_out import FoldedModels
from recsys.types import Floats, Positions, RatingMatrix


@dataclass(frozen=True)
class FoldedUser:
    """A profile with its history and its scores, which are computed when they are first needed.

    Of one model version, and not to be shared among threads.

    Parameters
    ----------
    history
        CSR `(1, n_items)` of ratings 1..10.
    tastes
        Stated genre weights `(1, n_genres)`.
    models
        What each model of the first stage has read.
    """

    profile: UserProfile
    history: RatingMatrix
    tastes: Floats
    models: FoldedModels

    @classmethod
    def of(cls, profile: UserProfile, catalog: Catalog, first_stage: FirstStage) -> "FoldedUser":
        """Read a profile."""
        history = profile.to_history(catalog)
        return cls(profile, history, profile.to_tastes(catalog), first_stage.fold(history))

    @cached_property
    def scores(self) -> ModelScores:
        """First-stage scores of the history by model, each `(1, n_items)`."""
        return {name: folded.scores for name, folded in self.models.items()}

    def score_pairs_without(self, removed: Positions, rows: Positions, columns: Positions) -> Mapping[str, PairScores]:
        """Score pairs of a row of `removed` and a title, by model; see `Folded`."""
        return {name: folded.score_pairs_without(removed, rows, columns) for name, folded in self.models.items()}
