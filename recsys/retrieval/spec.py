"""How a model is declared: its name, what it needs, which part it takes in a version and how it is tuned."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from recsys.exceptions import EvaluationError
from recsys.progress import OnProgress, ignore_progress
from recsys.retrieval.base import CandidateGenerator
from recsys.types import Floats

# Constructor arguments that are not hyper-parameters.
Need: TypeAlias = Literal["text_vectors", "seed", "n_threads", "on_progress"]


def normalise_name(name: str) -> str:
    """Write a model's name as the registry does: `Item_kNN` is `item-knn`."""
    return name.strip().lower().replace("_", "-")


@dataclass(frozen=True)
class Range:
    """Values between two bounds, whole numbers where the bounds are; `log` searches orders of magnitude."""

    low: float
    high: float
    log: bool = False
    step: int = 1

    def suggest(self, trial: Any, name: str) -> float:
        """Let a trial of Optuna choose."""
        if isinstance(self.low, int):
            return int(trial.suggest_int(name, self.low, self.high, step=self.step, log=self.log))
        return float(trial.suggest_float(name, self.low, self.high, log=self.log))


def refuse_text_vectors() -> Floats:
    """Stand in for the text vectors where there are none.

    Raises
    ------
    EvaluationError
        Always.
    """
    raise EvaluationError("a model needs text vectors and none were given; pass `text_vectors` to ModelInputs")


@dataclass(frozen=True)
class ModelInputs:
    """What models are made from besides ratings.

    Parameters
    ----------
    text_vectors
        Returns the synopsis embeddings in catalog order, `(n_items, 384)`; called for models that need them only.
    params
        Hyper-parameters by model and name that replace the defaults, for example those a tuning found.
    on_progress
        Told of the epochs of models that are trained in epochs.
    """

    text_vectors: Callable[[], Floats] = refuse_text_vectors
    seed: int = 0
    n_threads: int = 1
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    on_progress: OnProgress = ignore_progress

    def get(self, need: Need) -> Any:
        """Look up a constructor argument."""
        return self.text_vectors() if need == "text_vectors" else getattr(self, need)


@dataclass(frozen=True)
class ModelSpec:
    """The declaration of one model.

    Parameters
    ----------
    name
        Public name, lower case with hyphens, as in `otaku evaluate --models`.
    unfitted
        A dataclass instance with the default hyper-parameters.
    aliases
        Further names that are accepted.
    algorithm
        Value of the field `algorithm` under which the model answers alone; None if it never does.
    needs
        Constructor arguments that come from `ModelInputs`.
    reads_ratings
        False for a model fitted on the catalog and text vectors alone: every version has it, stored or not.
    first_stage
        Whether the weekly training fits and stores it with each version.
    standalone
        Whether the weekly training fits and stores it with each version to answer alone; the ranker does not read it.
    proposes
        Whether its best titles become candidates; otherwise the ranker reads its scores only.
    fallback
        Whether it orders the catalog for users without a history; exactly one first-stage model does.
    item_vectors
        Whether its item vectors are those of the item side (similar titles, features); exactly one first-stage model.
    loads
        Packages that a fit imports and the service does not have; they are loaded before fits start in threads.
    space
        Where each hyper-parameter is searched; empty if there is nothing to tune.
    """

    name: str
    unfitted: CandidateGenerator
    aliases: tuple[str, ...] = ()
    algorithm: str | None = None
    needs: tuple[Need, ...] = ()
    reads_ratings: bool = True
    first_stage: bool = False
    standalone: bool = False
    proposes: bool = True
    fallback: bool = False
    item_vectors: bool = False
    loads: tuple[str, ...] = ()
    space: Mapping[str, Range] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Name within a version: of its files, its scores and its features."""
        return self.unfitted.name

    @property
    def names(self) -> tuple[str, ...]:
        """The public name and the aliases."""
        return (self.name, *self.aliases)

    def select_params(self, params: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
        """Select the hyper-parameters of this model, under whichever of its names they are given."""
        return next((found for name, found in params.items() if normalise_name(name) in self.names), {})

    def make(self, inputs: ModelInputs) -> CandidateGenerator:
        """Return an unfitted model."""
        given = {need: inputs.get(need) for need in self.needs} | dict(self.select_params(inputs.params))
        made: CandidateGenerator = replace(self.unfitted, **given)  # type: ignore[type-var]
        return made
