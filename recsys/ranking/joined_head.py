"""Train a head as several boosters, of other losses and other seeds, joined into one."""

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any

import lightgbm as lgb
import numpy as np

from recsys.exceptions import SchemaMismatchError
from recsys.features.schema import FeatureSchema
from recsys.ranking.ensemble import compute_importance, compute_spread, join_boosters
from recsys.ranking.forest_text import PLAIN_OBJECTIVES
from recsys.ranking.params import LOSS_WEIGHTS, HeadParams
from recsys.ranking.ranker import TrainedHead, TrainingTable, train_head
from recsys.types import Floats, Positions


class TrainingStoppedError(Exception):
    """Another booster of the head has failed, or the training was interrupted."""


def train_joined_head(
    members: tuple[HeadParams, ...],
    schema: FeatureSchema,
    train: Any,
    validation: TrainingTable,
    *,
    seed: int,
    n_threads: int,
    on_iteration: Callable[[int, int], None] = lambda _done, _total: None,
    train_one: Callable[..., TrainedHead] = train_head,
) -> TrainedHead:
    """Train one booster for each member, each with a seed of its own, and join them.

    A booster counts with the weight of its loss, in units of the spread of its scores among the candidates of a
    validation user. A single one is left as it is, if its score is the plain sum of its leaves.

    Boosters are trained side by side and share the threads: threads of one booster wait for each other hundreds of
    times a tree, which beside another busy process takes ten times as long; those of several boosters never do.

    Parameters
    ----------
    train
        The rows as `train_one` takes them: for `train_head` a `TrainingTable`.
    on_iteration
        Called with trees grown and trees at most, of all boosters together; by one thread at a time.
    train_one
        Trains one booster; has the parameters of `train_head`.

    Raises
    ------
    SchemaMismatchError
        If boosters are to be joined and the validation table has no query groups.
    """
    is_plain = len(members) == 1 and members[0].objective in PLAIN_OBJECTIVES
    if not is_plain and validation.group_sizes is None:
        raise SchemaMismatchError("boosters are weighed by query groups, and the validation table has none")
    grown, total = [0] * len(members), sum(member.n_estimators for member in members)
    lock, stopped = threading.Lock(), threading.Event()
    n_workers = min(n_threads, len(members))

    def train_member(number: int) -> TrainedHead:
        member = members[number]

        def report(done: int, most: int) -> None:
            if stopped.is_set():
                raise TrainingStoppedError
            with lock:
                # After an early stop a booster is complete with fewer trees.
                grown[number] = member.n_estimators if done == most else done
                on_iteration(sum(grown), total)

        own, share = derive_seed(seed, number), n_threads // n_workers
        return train_one(member, schema, train, validation, seed=own, n_threads=share, on_iteration=report)

    with ThreadPoolExecutor(n_workers, thread_name_prefix="booster") as pool:
        try:
            training = [pool.submit(train_member, number) for number in range(len(members))]
            for ended in wait(training, return_when=FIRST_EXCEPTION).done:
                ended.result()
        except BaseException:
            # Whatever it is that ends one of them or all, nobody waits for the others.
            stopped.set()
            raise
    heads = [ended.result() for ended in training]
    return heads[0] if is_plain else _join(members, heads, validation)


def derive_seed(seed: int, number: int) -> int:
    """Derive the seed of a booster from that of the head; the first one has the head's own."""
    return seed if number == 0 else int(np.random.SeedSequence((seed, number)).generate_state(1)[0] >> 1)


def compute_factors(
    members: tuple[HeadParams, ...], boosters: list[lgb.Booster], features: Floats, group_sizes: Positions
) -> list[float]:
    """Compute what the score of each booster is multiplied by in the mean; 0 for one that orders nothing."""
    spreads = [
        compute_spread(np.asarray(booster.predict(features, raw_score=True, num_threads=1)), group_sizes)
        for booster in boosters
    ]
    weights = [LOSS_WEIGHTS.get(member.objective, 1.0) for member in members]
    return [
        weight / (spread * sum(weights)) if spread > 0 else 0.0 for weight, spread in zip(weights, spreads, strict=True)
    ]


def _join(members: tuple[HeadParams, ...], heads: list[TrainedHead], validation: TrainingTable) -> TrainedHead:
    boosters, sizes = [head.booster for head in heads], validation.group_sizes
    curves = {
        f"{number}: {member.objective}": head.curves["validation"]
        for number, (member, head) in enumerate(zip(members, heads, strict=True), start=1)
    }
    factors = compute_factors(members, boosters, validation.features, np.asarray(sizes))
    return TrainedHead(
        join_boosters(boosters, factors), curves, sum(head.n_trees for head in heads), compute_importance(boosters)
    )
