"""A user as all models of the first stage have read the history, once for every question of a request."""

from dataclasses import dataclass
from functools import cached_property

from recsys.data.catalog import Catalog
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

    def score_without(self, removed: Positions) -> ModelScores:
        """Score the history without each of some of its titles, `(n_removed, n_items)` by model."""
        return {name: folded.score_without(removed) for name, folded in self.models.items()}
