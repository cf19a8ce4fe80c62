"""Evaluation by shares of the held-out users: each user is measured as on one machine, lists are counted together."""

import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from distributed import Client
from threadpoolctl import threadpool_limits

from recsys.distributed.cluster import translate_losses
from recsys.distributed.partitions import RETRIES
from recsys.distributed.places import open_place
from recsys.evaluation.evaluate import EvaluationResult, evaluate_generator, evaluate_recommender, join_results
from recsys.evaluation.evaluation_set import EvaluationSet
from recsys.recommender import Recommender
from recsys.recommender.scoring_once import prepare_for_evaluation
from recsys.settings import Settings
from recsys.types import Positions

USERS: Final = 500  # of a share


def evaluate_on_cluster(
    client: Client,
    name: str,
    folder: Path,
    eval_set: EvaluationSet,
    address: str,
    settings: Settings | None = None,
    *,
    alone: bool = False,
) -> list[EvaluationResult]:
    """Evaluate a stored version on the workers.

    Parameters
    ----------
    name
        Of the result of the whole recommender; also of its files in the place.
    folder
        Of the version.
    address, settings
        Of a place that all workers see, and of its bucket.
    alone
        Whether each model of the version that answers alone is evaluated too.

    Returns
    -------
    The result of the recommender, then those of its models.

    Raises
    ------
    ServiceUnavailableError
        If the scheduler is lost, or a task failed for good.
    """
    place = open_place(settings, address)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        place.write(f"{name}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    n_users = len(eval_set.users.user_ids)
    shares: list[Positions] = [np.arange(n_users)[start : start + USERS] for start in range(0, n_users, USERS)]
    with translate_losses(f"evaluation of {name}"):
        futures = [
            client.submit(
                evaluate_share, name, address, settings, eval_set.select(rows), alone, pure=False, retries=RETRIES
            )
            for rows in shares
        ]
        found = client.gather(futures)
    return [join_results(list(zip(shares, results, strict=True)), eval_set) for results in zip(*found, strict=True)]


def evaluate_share(
    name: str, address: str, settings: Settings | None, eval_set: EvaluationSet, alone: bool
) -> list[EvaluationResult]:
    """Evaluate on some users: what a worker does."""
    model = _load(name, address, settings)
    singles = (*model.retriever.first_stage.models.values(), *model.retriever.standalone.values()) if alone else ()
    with threadpool_limits(1):
        whole = evaluate_recommender(name, model, eval_set)
        return [whole, *(evaluate_generator(single, eval_set) for single in singles)]


@lru_cache(maxsize=1)
def _load(name: str, address: str, settings: Settings | None) -> Recommender:
    place = open_place(settings, address)
    with tempfile.TemporaryDirectory(prefix="otaku-") as scratch:
        for stored in place.list_names(f"{name}/"):
            path = Path(scratch) / stored.removeprefix(f"{name}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(place.read(stored))
        return prepare_for_evaluation(Recommender.load(Path(scratch)))
