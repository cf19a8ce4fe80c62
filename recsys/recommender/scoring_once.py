"""A recommender for evaluations: exact forests, and first-stage scores that are computed once per history."""

from dataclasses import dataclass, field, replace

from recsys.recommender.model import Recommender
from recsys.recommender.retriever import Retriever
from recsys.retrieval.first_stage import ModelScores
from recsys.types import RatingMatrix


@dataclass(frozen=True)
class ScoringOnce(Retriever):
    """A retriever that keeps the scores of the last history, for callers that rank and rate the same one."""

    kept: dict[str, tuple[RatingMatrix, ModelScores]] = field(default_factory=dict, repr=False, compare=False)

    def score(self, history: RatingMatrix) -> ModelScores:
        """Score the whole catalog with every model, unless this very history was the last one."""
        found = self.kept.get("last")
        if found is None or found[0] is not history:
            found = self.kept["last"] = (history, super().score(history))
        return found[1]


def prepare_for_evaluation(model: Recommender) -> Recommender:
    """Return the same recommender with the same answers, faster where many users are ranked and rated.

    Not to be shared among threads.
    """
    retriever = model.retriever
    once = ScoringOnce(retriever.first_stage, retriever.items, retriever.n_per_model, retriever.standalone)
    return replace(model, retriever=once, ranker=model.ranker.accelerate())
