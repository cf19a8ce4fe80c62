"""All first-stage models together: fit, cross-fit, store and score."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from recsys.data.catalog import Catalog
from recsys.data.splits import assign_folds
from recsys.exceptions import ArtifactError
from recsys.features.support import Support
from recsys.retrieval import registry
from recsys.retrieval.base import CandidateGenerator, select_top
from recsys.retrieval.leave_one_out import FoldedModels, fold
from recsys.retrieval.spec import ModelSpec
from recsys.types import Floats, Ids, Mask, Positions, RatingMatrix

ModelScores = dict[str, Floats]


@dataclass(frozen=True)
class FirstStage:
    """Fitted candidate generators by name, in the order of the registry."""

    models: Mapping[str, CandidateGenerator]

    def score(self, history: RatingMatrix) -> ModelScores:
        """Score the whole catalog with every model, each `(n_users, n_items)`."""
        return {name: model.score(history) for name, model in self.models.items()}

    def fold(self, history: RatingMatrix) -> FoldedModels:
        """Let every model read a history, CSR `(1, n_items)`."""
        return {name: fold(model, history) for name, model in self.models.items()}

    @cached_property
    def proposers(self) -> tuple[str, ...]:
        """Models whose best titles become candidates; all if none is declared as such."""
        return self._select(lambda spec: spec.proposes) or tuple(self.models)

    @cached_property
    def impersonal(self) -> frozenset[str]:
        """Models that score the same for every user."""
        return frozenset(name for name, model in self.models.items() if not model.personal)

    @cached_property
    def collaborative(self) -> tuple[str, ...]:
        """Models whose scores come from users with a similar history."""
        return tuple(name for name in self._select(lambda spec: spec.reads_ratings) if name not in self.impersonal)

    @cached_property
    def support(self) -> Mapping[str, Support]:
        """What titles say about one another, by item-item model."""
        found = {name: model.item_weights for name, model in self.models.items()}
        return {name: Support.of(weights) for name, weights in found.items() if weights is not None}

    @cached_property
    def fallback(self) -> str:
        """The model that orders the catalog for users without a history.

        Raises
        ------
        ArtifactError
            If there is none.
        """
        return self._select_one(lambda spec: spec.fallback, "orders titles for users without a history")

    @cached_property
    def item_vectors(self) -> Floats:
        """Item vectors for the item side, `(n_items, n_components)`: of the model declared for them, else of the first.

        Raises
        ------
        ArtifactError
            If no model has them.
        """
        found = (
            self.models[name].item_vectors for name in (*self._select(lambda spec: spec.item_vectors), *self.models)
        )
        vectors = next((held for held in found if held is not None), None)
        if vectors is None:
            raise ArtifactError(
                f"no first-stage model has the vectors of titles, only {', '.join(self.models)} are stored"
            )
        return vectors

    def _select(self, declared: Callable[[ModelSpec], bool]) -> tuple[str, ...]:
        return tuple(name for name in self.models if (spec := registry.find_spec(name)) is not None and declared(spec))

    def _select_one(self, declared: Callable[[ModelSpec], bool], does: str) -> str:
        found = self._select(declared)
        if not found:
            raise ArtifactError(f"no first-stage model {does}, only {', '.join(self.models)} are stored")
        return found[0]

    def save(self, directory: Path) -> None:
        """Write the files of each model."""
        for model in self.models.values():
            model.save(directory)

    @classmethod
    def load(cls, directory: Path) -> "FirstStage":
        """Read the models that `save` wrote.

        Raises
        ------
        ArtifactError
            If no model is stored, or a file is missing, truncated or altered.
        """
        stored = {path.name.split(".")[0] for path in directory.glob("*.*")}
        # Baselines may share the key of a first-stage model, which is the one that is stored.
        specs = {spec.key: registry.find_spec(spec.key) for spec in registry.MODELS if spec.key in stored}
        if not specs:
            raise ArtifactError(f"no first-stage model is stored in {directory.name}")
        return cls({key: type(spec.unfitted).load(directory) for key, spec in specs.items() if spec is not None})


def fit_first_stage(
    ratings: RatingMatrix,
    catalog: Catalog,
    make_models: Callable[[], Sequence[CandidateGenerator]],
) -> FirstStage:
    """Fit a fresh set of models on the ratings of training users."""
    return FirstStage({model.name: model.fit(ratings, catalog) for model in make_models()})


def cross_fit(
    ratings: RatingMatrix,
    user_ids: Ids,
    catalog: Catalog,
    make_models: Callable[[], Sequence[CandidateGenerator]],
    *,
    n_folds: int,
    n_threads: int,
) -> Iterator[FirstStage]:
    """Yield models fitted on all users, then, fold by fold, models that never saw the users of that fold.

    The scores that a ranker is trained on must come from models that were not fitted on its labels (stacked
    generalisation, Wolpert 1992).

    Parameters
    ----------
    ratings
        All ratings of the training users, rows in the order of `user_ids`.
    n_threads
        Concurrent fits, each on one thread.
    """
    # Training only: the service does not carry these packages. Never imported first in a thread: loading a library
    # there while another thread lists the loaded ones, as limits on threads do, can leave both waiting for ever.
    import implicit.als  # noqa: F401
    import lightfm  # noqa: F401
    from threadpoolctl import threadpool_limits

    folds = assign_folds(user_ids, n_folds)
    parts = [ratings, *(ratings[folds != fold] for fold in range(n_folds))]
    with threadpool_limits(1), ThreadPoolExecutor(n_threads) as pool:
        yield from pool.map(lambda part: fit_first_stage(part, catalog, make_models), parts)


def select_candidates(scores: ModelScores, allowed: Mask, n_per_model: int) -> list[Positions]:
    """Unite the best titles of every model for each user, ascending by position.

    Parameters
    ----------
    scores
        Each `(n_users, n_items)`.
    allowed
        `(n_users, n_items)`; False for what was watched or filtered out.
    """
    tops = [select_top(model_scores, allowed, n_per_model) for model_scores in scores.values()]
    return [np.unique(np.concatenate(picked)) for picked in zip(*tops, strict=True)]
