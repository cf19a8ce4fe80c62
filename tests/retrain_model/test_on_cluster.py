"""A retraining on Dask workers: the same challenger in all that counts, and the same bytes when a worker is lost."""

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from distributed import Client, LocalCluster

from recsys.exceptions import RetrainError
from recsys.settings import Settings
from retrain_model import steps
from retrain_model.evidence import read_file_digests
from retrain_model.job import open_context
from retrain_model.reproduce import follow
from tests.retrain_model.conftest import SUNDAY

pytestmark = [pytest.mark.local, pytest.mark.slow]
FITTING = ("snapshot", "embed_text", "fit_retrieval", "train_ranker")


def test_where_it_trains_is_an_input_of_the_attempt(settings: Settings) -> None:
    with (
        open_context(SUNDAY, settings=settings) as alone,
        open_context(SUNDAY, settings=settings, train_on="dask") as on,
    ):
        assert "train_on" not in alone.inputs
        assert on.inputs["train_on"] == "dask"
        assert alone.own_key != on.own_key
        recipe: dict[str, Any] = {**on.inputs, "algorithms": (), "environment": {"n_threads": 1}}
        assert follow(recipe, on, "there").cluster is not None
        with pytest.raises(RetrainError, match="set OTAKU_TRAIN_ON=dask"):
            follow(recipe, alone, "there")


class Killer:
    """Kills a worker once, when a stage has made its first progress."""

    def __init__(self, client: Client, stage: str | None) -> None:
        self.client, self.stage = client, stage
        self.killed: list[int] = []

    def __call__(self, stage: str, done: int, _total: int) -> None:
        if stage == self.stage and done and not self.killed:
            self.killed.append(next(iter(self.client.run(os.getpid).values())))
            os.kill(self.killed[0], signal.SIGKILL)


def train(settings: Settings, victim: str | None, *, evaluates: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train on two workers, one of whom is lost at a stage; the digests of what was fitted, and the evaluation."""
    workers = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1")
    with workers as cluster, Client(cluster) as client:
        killer = Killer(client, victim)
        on = settings.model_copy(update={"dask_scheduler": cluster.scheduler_address, "relevance_boosters": 1})
        with open_context(SUNDAY, settings=on, train_on="dask", progress=killer) as context:
            for name in (*FITTING, *(["evaluate"] if evaluates else [])):
                getattr(steps, name)(context)
            assert bool(killer.killed) == (victim is not None)
            assert not context.store.list_keys(context.prefix("partitions"))
            digests = {step: read_file_digests(context, step) for step in FITTING[2:]}
            return digests, steps.read_evaluation(context)["models"] if evaluates else {}


@pytest.mark.e2e
@pytest.mark.timeout(1800)
def test_a_retraining_on_workers_is_one_of_this_process_and_survives_the_loss_of_a_worker(
    open_world: Callable[[], Settings],
) -> None:
    digests, ours = train(open_world(), None, evaluates=True)
    for victim in ("fit retrieval", "train relevance head"):
        assert train(open_world(), victim, evaluates=False)[0] == digests
    alone = open_world().model_copy(update={"relevance_boosters": 1})
    with open_context(SUNDAY, settings=alone) as context:
        for name in (*FITTING, "evaluate"):
            getattr(steps, name)(context)
        theirs = steps.read_evaluation(context)["models"]
    assert ours.keys() == theirs.keys()
    for name in ("ease", "item_knn", "lightfm", "popular"):
        assert ours[name]["ndcg_at_10"] == pytest.approx(theirs[name]["ndcg_at_10"], abs=1e-6)
    assert ours["challenger"]["ndcg_at_10"] == pytest.approx(theirs["challenger"]["ndcg_at_10"], abs=0.1)
