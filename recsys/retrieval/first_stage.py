"""All first-stage models together: fitted, cross-fitted, stored and asked as one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from recsys.data.catalog import Catalog
from recsys.data.splits import assign_folds
from recsys.exceptions import ArtifactError
from recsys.retrieval.base import CandidateGenerator, read_state, select_top, write_state
from recsys.retrieval.content import GenreTfidf, TextProfile
from recsys.retrieval.embedding import Als, LightFm
from recsys.retrieval.item_item import Ease, ItemItem, ItemKnn
from recsys.retrieval.popular import Popular
from recsys.types import Floats, Ids, Mask, Positions, RatingMatrix

GENERATORS: Final[Mapping[str, type[CandidateGenerator]]] = {
    model.name: model for model in (Ease, Als, ItemKnn, LightFm, TextProfile, GenreTfidf, Popular)
}
ModelScores = dict[str, Floats]


@dataclass(frozen=True)
class FirstStage:
    """Fitted candidate generators by name, in the order of `GENERATORS`."""

    models: Mapping[str, CandidateGenerator]

    def score(self, history: RatingMatrix) -> ModelScores:
        """Score the whole catalog with every model, each `(n_users, n_items)`."""
        return {name: model.score(history) for name, model in self.models.items()}

    @property
    def proposers(self) -> tuple[str, ...]:
        """Models whose best titles become candidates.

        LightFM scores them but proposes none while there are others: its best titles lengthened the lists by a sixth
        and their recall by half a point on MyAnimeList.
        """
        return tuple(name for name in self.models if name != LightFm.name) or tuple(self.models)

    @cached_property
    def supporters(self) -> Mapping[str, RatingMatrix]:
        """By item-item model, CSR `(n_items, n_items)`: row j holds the weights of the titles that support j."""
        return {name: model.supporters for name, model in self.models.items() if isinstance(model, ItemItem)}

    def save(self, directory: Path) -> None:
        """Write one NPZ file a model."""
        for name, model in self.models.items():
            write_state(model.state(), directory / f"{name}.npz")

    @classmethod
    def load(cls, directory: Path) -> "FirstStage":
        """Read the models that `save` wrote."""
        names = [name for name in GENERATORS if (directory / f"{name}.npz").exists()]
        if not names:
            raise ArtifactError(f"no first-stage model is stored in {directory.name}")
        return cls({name: GENERATORS[name].from_state(read_state(directory / f"{name}.npz")) for name in names})


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

    The scores on which a ranker is trained must come from models that do not know its labels; otherwise it learns to
    trust them far too much (stacked generalisation, Wolpert 1992).

    Parameters
    ----------
    ratings
        All ratings of the training users, rows in the order of `user_ids`.
    n_threads
        Fits under way at the same time, each on one thread.
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
