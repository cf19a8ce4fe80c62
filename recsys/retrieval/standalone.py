"""Models that answer alone: fitted and stored with a version beside the first stage, and read by no ranker."""

import importlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

from recsys.data.catalog import Catalog
from recsys.exceptions import ConfigurationError
from recsys.progress import OnProgress, ignore_progress
from recsys.retrieval import registry
from recsys.retrieval.base import CandidateGenerator
from recsys.retrieval.spec import ModelInputs, ModelSpec
from recsys.retrieval.training_log import TrainingLog
from recsys.types import RatingMatrix

FOLDER: Final = "standalone"


def select_standalone(algorithms: Sequence[str] | None = None) -> tuple[ModelSpec, ...]:
    """Select the standalone models of some algorithms, in the order of the registry; None for all.

    Raises
    ------
    ConfigurationError
        Names the algorithms that exist.
    """
    specs = registry.list_standalone()
    if algorithms is None:
        return specs
    known = {spec.algorithm for spec in specs}
    unknown = [name for name in algorithms if name not in known]
    if unknown:
        choices = ", ".join(sorted(filter(None, known)))
        raise ConfigurationError(
            f"there is no standalone model {unknown[0]!r} (OTAKU_ALGORITHMS); choose among {choices}"
        )
    return tuple(spec for spec in specs if spec.algorithm in algorithms)


# Ratings up to which models are fitted side by side. Of more, each takes hundreds of megabytes: one after the other.
SIDE_BY_SIDE: Final = 200_000


def fit_standalone(
    ratings: RatingMatrix,
    catalog: Catalog,
    specs: Sequence[ModelSpec],
    inputs: ModelInputs,
    *,
    n_threads: int = 1,
    on_progress: OnProgress = ignore_progress,
) -> dict[str, CandidateGenerator]:
    """Fit models on the ratings of training users, and return them by key.

    Parameters
    ----------
    n_threads
        Concurrent fits, each on one thread, so that the result does not depend on it; one at a time above
        `SIDE_BY_SIDE` ratings, which bounds the memory.
    """
    # Loaded before any thread starts, as in `cross_fit`.
    from threadpoolctl import threadpool_limits

    for package in sorted({package for spec in specs for package in spec.loads}):
        importlib.import_module(package)
    fitted: dict[str, CandidateGenerator] = {}
    made = [spec.make(replace(inputs, on_progress=on_progress)) for spec in specs]
    at_once = n_threads if ratings.nnz <= SIDE_BY_SIDE else 1
    with threadpool_limits(1), ThreadPoolExecutor(at_once) as pool:
        for model in pool.map(lambda unfitted: unfitted.fit(ratings, catalog), made):
            fitted[model.name] = model
            on_progress("fit standalone models", len(fitted), len(made))
    return fitted


def save_standalone(models: Mapping[str, CandidateGenerator], directory: Path) -> None:
    """Write models into a subfolder of a version; without any there is none."""
    for model in models.values():
        (directory / FOLDER).mkdir(exist_ok=True)
        model.save(directory / FOLDER)


def load_standalone(directory: Path) -> dict[str, CandidateGenerator]:
    """Read the models that `save_standalone` wrote, by key.

    Raises
    ------
    ArtifactError
        If a file is missing, truncated or altered.
    """
    stored = {path.name.split(".")[0] for path in (directory / FOLDER).glob("*.*")}
    found = {spec.key: type(spec.unfitted) for spec in registry.list_standalone() if spec.key in stored}
    return {key: model.load(directory / FOLDER) for key, model in found.items()}


def read_training_curves(directory: Path) -> dict[str, Sequence[float]]:
    """Read what models that are trained in epochs noted of each, as `{key}.{curve}`."""
    logs = _read_training_logs(directory)
    return {f"{key}.{name}": values for key, log in logs.items() for name, values in log.curves.items()}


def read_training_facts(directory: Path) -> dict[str, float]:
    """Read what these models noted of their whole training, as `{key}.{fact}`: the epoch that was kept, ONNX parity."""
    logs = _read_training_logs(directory)
    return {f"{key}.{name}": value for key, log in logs.items() for name, value in log.facts.items()}


def _read_training_logs(directory: Path) -> dict[str, TrainingLog]:
    keys = sorted(path.name.split(".")[0] for path in (directory / FOLDER).glob("*.training.json"))
    return {key: TrainingLog.load(directory / FOLDER, key) for key in keys}
