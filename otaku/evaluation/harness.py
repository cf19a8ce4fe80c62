"""Fit models by name and evaluate them on one evaluation set: single models, the ranker, registered versions."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

import recsys
from otaku.evaluation.training_data_store import read_training_data, write_training_data
from recsys.data.splits import TEST, TRAIN, hash_ids, select_group
from recsys.evaluation.evaluate import DEEP, EvaluationResult, evaluate_generator, evaluate_recommender
from recsys.evaluation.evaluation_set import EvaluationData, EvaluationSet, build_evaluation_set
from recsys.exceptions import EvaluationError
from recsys.features.franchises import compute_franchises
from recsys.features.title_neighbours import compute_title_neighbours
from recsys.ranking.params import Preset, get_preset
from recsys.recommender import Recommender
from recsys.recommender.fitting import OnProgress, TrainingData, build_retriever, build_training_data, train_heads
from recsys.recommender.retriever import RANKER
from recsys.recommender.training import N_FOLDS
from recsys.retrieval.base import CandidateGenerator
from recsys.retrieval.first_stage import FirstStage, cross_fit
from recsys.retrieval.registry import get_spec, list_names, make_first_stage, make_model
from recsys.retrieval.spec import ModelInputs, normalise_name
from recsys.types import Mask, RatingMatrix

_WITHOUT: Final = "-without-"
VERSION: Final = re.compile(r"v(\d+)")

Model = CandidateGenerator | Recommender


def ignore(_stage: str, _done: int, _total: int) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class EvaluationHarness:
    """Data with training ratings and evaluation set, and how models are made.

    Parameters
    ----------
    open_version
        Loads a registered version; None where there is no registry.
    scratch
        Keeps what several rankers share (fitted first stages, described candidates); None to keep nothing.
    refit
        Whether to fit again what is kept there, so that the time of a ranker is its own.
    first_stage
        Makes the unfitted first-stage models of the ranker.
    """

    world: EvaluationData
    training: RatingMatrix
    eval_set: EvaluationSet
    inputs: ModelInputs
    preset: Preset
    open_version: Callable[[int], Recommender] | None = None
    scratch: Path | None = None
    refit: bool = False
    on_progress: OnProgress = ignore
    first_stage: Callable[[ModelInputs], Sequence[CandidateGenerator]] = make_first_stage

    def check(self, name: str) -> str:
        """Return the public name of a model.

        Raises
        ------
        EvaluationError
            Names the models that exist.
        """
        spelled = normalise_name(name)
        base, _, group = spelled.partition(_WITHOUT)
        if base == RANKER and (not group or group in map(normalise_name, self.preset.groups)):
            return spelled
        if VERSION.fullmatch(spelled) and self.open_version is not None:
            return spelled
        try:
            return get_spec(name).name
        except EvaluationError as error:
            also = "" if self.open_version is None else ", v1 for version 1"
            known = ", ".join((*list_names(), RANKER))
            raise EvaluationError(f"there is no model {name!r}; choose among {known}{also}") from error

    def make(self, name: str) -> Model:
        """Fit a model on the training users, or load a registered version."""
        spelled = self.check(name)
        version = VERSION.fullmatch(spelled)
        if version and self.open_version is not None:
            return self.open_version(int(version[1]))
        base, _, group = spelled.partition(_WITHOUT)
        if base == RANKER:
            return self._fit_ranker(tuple(kept for kept in self.preset.groups if normalise_name(kept) != group))
        return make_model(spelled, self.inputs).fit(self.training, self.world.catalog)

    def evaluate(
        self, name: str, model: Model, eval_set: EvaluationSet | None = None, *, allowed: Mask | None = None
    ) -> EvaluationResult:
        """Evaluate a fitted model on the evaluation set, or on another one over the same catalog."""

        def report(done: int, total: int) -> None:
            """Report the progress of this model."""
            self.on_progress(f"evaluate {name}", done, total)

        chosen = eval_set or self.eval_set
        if isinstance(model, Recommender):
            return evaluate_recommender(name, model, chosen, depth=DEEP, allowed=allowed, on_progress=report)
        return evaluate_generator(model, chosen, name=name, depth=DEEP, allowed=allowed, on_progress=report)

    def _fit_ranker(self, groups: tuple[str, ...]) -> Recommender:
        # A table with all columns is used as it is; a part of it is a copy.
        training_data = self.training_data if groups == self.preset.groups else self.training_data.keep_groups(groups)
        return train_heads(
            training_data,
            replace(self.preset, groups=groups),
            seed=self.inputs.seed,
            n_threads=self.inputs.n_threads,
            on_progress=self.on_progress,
        ).recommender

    @cached_property
    def training_data(self) -> TrainingData:
        """Training data of this preset with the features of all groups; kept if there is a scratch folder."""
        world = self.world
        titles = (world.catalog, self.inputs.text_vectors(), compute_title_neighbours(world.catalog))
        full, *folds = self.stages
        folder = self._place("training data", self._describe_preset() + hashlib.sha256(titles[1].tobytes()).hexdigest())
        if folder is not None and not self.refit:
            kept = read_training_data(folder, build_retriever(full, titles, self.preset, self.training))
            if kept is not None:
                return kept
        built = build_training_data(
            full,
            folds,
            world.interactions,
            titles,
            self.preset,
            n_threads=self.inputs.n_threads,
            on_progress=self.on_progress,
        )
        if folder is not None:
            write_training_data(built, folder)
        return built

    def _describe_preset(self) -> str:
        """Describe the part of a preset that decides about its training data; the trees do not."""
        preset = self.preset
        return f"{preset.groups} {preset.n_per_model} {preset.n_splits} {preset.negative_share}"

    @property
    def _first_stage_inputs(self) -> ModelInputs:
        """Inputs without tuned hyper-parameters: those are for the single models."""
        return replace(self.inputs, params={})

    def _place(self, kind: str, made_of: str = "") -> Path | None:
        """Name a folder in the scratch by the digest of everything that its content was made from."""
        models = self.first_stage(self._first_stage_inputs)
        content = f"{self.world.name} {len(self.world.interactions)} {models} {compute_code_digest()} {made_of}"
        key = hashlib.sha256(content.encode()).hexdigest()[:12]
        return None if self.scratch is None else self.scratch / f"{kind}-{key}"

    @cached_property
    def stages(self) -> list[FirstStage]:
        """Return the first stage of all training users, and those of the folds."""
        names = ("full", *(f"fold-{fold}" for fold in range(N_FOLDS)))
        kept = self._place("first-stage")
        if kept is not None and not self.refit and (kept / "done").exists():
            return [FirstStage.load(kept / name) for name in names]
        stages = []
        fitted = cross_fit(
            self.training,
            select_group(self.world.interactions, TRAIN).user_ids,
            self.world.catalog,
            lambda: self.first_stage(self._first_stage_inputs),
            n_folds=N_FOLDS,
            n_threads=self.inputs.n_threads,
        )
        for name, stage in zip(names, fitted, strict=True):
            stages.append(stage)
            self.on_progress("fit first stage", len(stages), len(names))
            if kept is not None:
                (kept / name).mkdir(parents=True, exist_ok=True)
                stage.save(kept / name)
        if kept is not None:
            (kept / "done").touch()
        return stages


def build_harness(
    world: EvaluationData,
    inputs: ModelInputs,
    *,
    group: str = TEST,
    preset: str = "default",
    max_users: int | None = None,
    open_version: Callable[[int], Recommender] | None = None,
    scratch: Path | None = None,
    on_progress: OnProgress = ignore,
) -> EvaluationHarness:
    """Split the data and build the evaluation set.

    Parameters
    ----------
    max_users
        Evaluation users at most, always the same ones; None for all.

    Raises
    ------
    EvaluationError
        If there are no training users or no evaluation users.
    """
    training = select_group(world.interactions, TRAIN)
    if not len(training):
        raise EvaluationError("the data have no training users; ingest more, or let more arrive")
    ratings = training.to_matrix(world.catalog)
    eval_set = build_evaluation_set(
        world, ratings, group, franchises=compute_franchises(world.catalog, ratings).numbers
    )
    if max_users is not None and max_users < len(eval_set.users.user_ids):
        eval_set = select_evaluation_users(eval_set, max_users)
    return EvaluationHarness(
        world,
        ratings,
        eval_set,
        inputs,
        get_preset(preset),
        open_version,
        scratch=scratch,
        on_progress=on_progress,
    )


def compute_code_digest() -> str:
    """Compute the digest of the code that fits first stages and features, to detect stale ones."""
    package = Path(recsys.__file__).parent
    paths = sorted(
        path for part in ("data", "features", "retrieval", "recommender") for path in (package / part).rglob("*.py")
    )
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()


def select_evaluation_users(eval_set: EvaluationSet, n_users: int) -> EvaluationSet:
    """Keep some users of an evaluation set, chosen by a hash of their ids."""
    order = np.argsort(hash_ids(eval_set.users.user_ids, salt=8), kind="stable")
    rows = np.sort(order[:n_users])
    return eval_set.select(rows)
