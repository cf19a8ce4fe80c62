"""Tune the baselines fairly: the same validation users, the same number of trials, all of it recorded."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from recsys.data.catalog import Catalog
from recsys.evaluation.evaluate import evaluate_generator
from recsys.evaluation.evaluation_set import EvaluationSet
from recsys.exceptions import ArtifactError, EvaluationError
from recsys.retrieval import registry
from recsys.retrieval.spec import Range
from recsys.types import RatingMatrix

METRIC: Final = "ndcg_at_10"


def list_tunable() -> tuple[str, ...]:
    """List the models that have hyper-parameters to tune."""
    return tuple(spec.name for spec in registry.MODELS if spec.space)


# Called with number, value and parameters of each finished trial.
OnTrial = Callable[[int, float, Mapping[str, Any]], None]


def ignore_trial(_number: int, _value: float, _params: Mapping[str, Any]) -> None:
    """Report nothing."""


def tune(
    name: str,
    training: RatingMatrix,
    catalog: Catalog,
    eval_set: EvaluationSet,
    *,
    n_trials: int,
    seed: int,
    journal: Path,
    on_trial: OnTrial = ignore_trial,
) -> dict[str, Any]:
    """Search hyper-parameters by NDCG@10 on validation users with Optuna's TPE.

    The first trial is the default, so that the result is never worse. A search that was killed resumes: its journal
    keeps every finished trial.

    Parameters
    ----------
    eval_set
        Validation users, never test users.
    n_trials
        Trials in total, those of earlier runs included.
    journal
        File that Optuna keeps the trials in; one for several models does.
    on_trial
        Called with number, value and parameters of each finished trial.

    Returns
    -------
    `params` and `value` of the best trial, `default_value`, `n_trials` and `seconds` of all, JSON-ready.

    Raises
    ------
    EvaluationError
        If there is nothing to tune about the model.
    """
    spec = registry.get_spec(name)
    if not spec.space:
        raise EvaluationError(f"{name!r} has no hyper-parameters to tune; choose among {', '.join(list_tunable())}")

    def measure(params: Mapping[str, Any]) -> float:
        model = replace(spec.unfitted, **params).fit(training, catalog)  # type: ignore[type-var]
        return float(np.nanmean(evaluate_generator(model, eval_set).metrics[METRIC]))

    defaults = {key: getattr(spec.unfitted, key) for key in spec.space}
    return search(
        spec.name, spec.space, defaults, measure, n_trials=n_trials, seed=seed, journal=journal, on_trial=on_trial
    )


def search(
    name: str,
    space: Mapping[str, Range],
    defaults: Mapping[str, Any],
    measure: Callable[[Mapping[str, Any]], float],
    *,
    n_trials: int,
    seed: int,
    journal: Path,
    on_trial: OnTrial = ignore_trial,
) -> dict[str, Any]:
    """Search for the parameters that measure best, the defaults first; the rest as in `tune`.

    Parameters
    ----------
    measure
        Gives the value of parameters, the higher the better.
    """

    def objective(trial: Any) -> float:
        params = {key: bounds.suggest(trial, key) for key, bounds in space.items()}
        value = measure(params)
        on_trial(trial.number, value, params)
        return value

    study = _open_study(name, journal, seed)
    study.enqueue_trial(dict(defaults), skip_if_exists=True)
    study.optimize(objective, n_trials=max(0, n_trials - len(_find_finished(study))))
    return _summarise(study, defaults)


def _open_study(name: str, journal: Path, seed: int) -> Any:
    import optuna  # training only
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
    study = optuna.create_study(study_name=name, storage=storage, load_if_exists=True, direction="maximize")
    # A resumed sampler must not draw again what an earlier run has drawn.
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
    return study


def _find_finished(study: Any) -> list[Any]:
    return [trial for trial in study.trials if trial.state.name == "COMPLETE"]


def _summarise(study: Any, defaults: Mapping[str, Any]) -> dict[str, Any]:
    finished = _find_finished(study)
    default = next((trial.value for trial in finished if trial.params == defaults), None)
    return {
        "metric": METRIC,
        "params": dict(study.best_trial.params),
        "value": float(study.best_trial.value),
        "default_value": default,
        "n_trials": len(finished),
        "seconds": sum(trial.duration.total_seconds() for trial in finished),
        "trials": [{"params": dict(trial.params), "value": float(trial.value)} for trial in finished],
    }


def read_best_params(path: Path) -> dict[str, dict[str, Any]]:
    """Read hyper-parameters by model: plain ones, or what `tune` found by model.

    Raises
    ------
    ArtifactError
        If the file holds something else.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): dict(found.get("params", found)) for name, found in stored.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ArtifactError(f"{path.name} holds no hyper-parameters by model: {error}") from error
