"""Which single models can be judged by name, and how each is made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from recsys.evaluation.original import OriginalPipeline
from recsys.exceptions import EvaluationError
from recsys.retrieval.base import CandidateGenerator
from recsys.retrieval.content import GenreTfidf, TextProfile
from recsys.retrieval.embedding import Als, LightFm
from recsys.retrieval.item_item import PUBLISHED_EASE, Ease, ItemKnn
from recsys.retrieval.popular import Popular
from recsys.types import Floats

Model = TypeVar("Model", bound=CandidateGenerator)


@dataclass(frozen=True)
class Materials:
    """What models are made of besides ratings.

    Parameters
    ----------
    text_vectors
        Gives the synopsis embeddings in catalog order, `(n_items, 384)`; asked only by models that read them.
    params
        Hyper-parameters by model and name that replace the defaults, as a tuning found them.
    """

    text_vectors: Callable[[], Floats]
    seed: int = 0
    n_threads: int = 1
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def _tuned(model: Model, materials: Materials, name: str | None = None) -> Model:
    return replace(model, **materials.params.get(name or model.name, {}))  # type: ignore[type-var]


_MAKERS: Final[Mapping[str, Callable[[Materials], CandidateGenerator]]] = {
    "popular": lambda _: Popular(),
    "item_knn": lambda given: _tuned(ItemKnn(), given),
    "als": lambda given: _tuned(Als(seed=given.seed), given),
    # The published model, and the one of the first stage, with what was found to improve it.
    "ease": lambda given: _tuned(PUBLISHED_EASE, given),
    "ease_extended": lambda given: _tuned(Ease(), given, "ease_extended"),
    "lightfm": lambda given: _tuned(LightFm(seed=given.seed), given),
    "text": lambda given: TextProfile(given.text_vectors()),
    "genre": lambda _: GenreTfidf(),
    "seed004": lambda given: _tuned(OriginalPipeline(given.text_vectors(), n_threads=given.n_threads), given),
}
BASELINE_NAMES: Final = tuple(_MAKERS)


def normalise_name(name: str) -> str:
    """Spell a model's name as the code does: `item-kNN` is `item_knn`."""
    return name.strip().lower().replace("-", "_")


def make_baseline(name: str, materials: Materials) -> CandidateGenerator:
    """Make an unfitted model.

    Raises
    ------
    EvaluationError
        Names the models that exist.
    """
    if name not in _MAKERS:
        raise EvaluationError(f"there is no model {name!r}; choose among {', '.join(BASELINE_NAMES)}")
    return _MAKERS[name](materials)
