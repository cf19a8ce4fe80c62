"""Score models on the held-out users: the same people, the same hidden ratings, for every model."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_matrix

from recsys.columns import Columns
from recsys.data.catalog import Catalog
from recsys.data.interactions import POSITIVE_RATING
from recsys.data.people import People, build_people
from recsys.data.splits import TEST, select_group
from recsys.evaluation.list_metrics import compute_list_metrics
from recsys.evaluation.metrics import PerUser, absolute_rating_error, compute_ranking_metrics
from recsys.evaluation.reliability import ReliabilityBin, compute_reliability
from recsys.evaluation.scorecard import Scorecard
from recsys.exceptions import RetrainError
from recsys.recommender import Recommender
from recsys.retrieval.base import CandidateGenerator, select_top
from recsys.storage.snapshots import Snapshot
from recsys.types import Floats, Mask, Positions, RatingMatrix

K = 10
EMPTY = -1
N_TIMED = 50


@dataclass(frozen=True)
class Jury:
    """Held-out users of a snapshot with what they hide.

    Parameters
    ----------
    arrived
        Who came after the first ingest, `(n_users,)`.
    item_counts
        Ratings of each title among training users, `(n_items,)`.
    """

    catalog: Catalog
    people: People
    arrived: Mask
    item_counts: npt.NDArray[np.int64]
    n_training_users: int


def summon_jury(snapshot: Snapshot, training: RatingMatrix, group: str = TEST) -> Jury:
    """Take the users of a group with their fixed histories and targets.

    Raises
    ------
    RetrainError
        If the snapshot has no such user.
    """
    interactions = select_group(snapshot.interactions, group)
    people = build_people(interactions, snapshot.catalog)
    if not len(people.user_ids):
        raise RetrainError(f"the snapshot has no {group} users with two ratings; ingest more, or let more arrive")
    arrived = snapshot.users.set_index(Columns.User)[Columns.ArrivedOn].reindex(people.user_ids).notna().to_numpy()
    counts = np.bincount(training.indices, minlength=len(snapshot.catalog)).astype(np.int64)
    return Jury(snapshot.catalog, people, arrived, counts, training.shape[0])


@dataclass(frozen=True)
class Judgement:
    """One model before the jury.

    Parameters
    ----------
    ranked
        Lists of positions in the jury's catalog, padded with -1, `(n_users, K)`.
    metrics
        Per-user values by metric name, each `(n_users,)`.
    rating_error
        Mean absolute error per user, or None where the model predicts no ratings.
    facts
        Numbers about all lists together.
    reliability
        Predicted beside given ratings by tenths; empty where the model predicts no ratings.
    """

    name: str
    ranked: Positions
    metrics: Mapping[str, PerUser]
    rating_error: PerUser | None = None
    facts: Mapping[str, float] = field(default_factory=dict)
    reliability: tuple[ReliabilityBin, ...] = ()

    def to_scorecard(self, jury: Jury) -> Scorecard:
        """Reduce to what the gate looks at."""
        return Scorecard(
            user_ids=jury.people.user_ids,
            ndcg=self.metrics["ndcg_at_10"],
            rating_error=self.rating_error,
            arrived=jury.arrived,
            facts=self.facts,
        )

    def means(self) -> dict[str, float]:
        """Average every metric over the users that it is defined for."""
        table = dict(self.metrics)
        if self.rating_error is not None:
            table["mae"] = self.rating_error
        return {name: float(np.nanmean(values)) for name, values in table.items()} | dict(self.facts)

    def to_table(self, jury: Jury) -> pd.DataFrame:
        """Lay out the per-user values as one table."""
        n_history = np.diff(jury.people.history.tocsr().indptr)
        columns = {Columns.User: jury.people.user_ids, "n_history": n_history, **self.metrics}
        if self.rating_error is not None:
            columns["mae"] = self.rating_error
        return pd.DataFrame(columns).assign(model=self.name)


def _judge_lists(
    name: str,
    lists: list[Positions],
    jury: Jury,
    *,
    rating_error: PerUser | None = None,
    facts: Mapping[str, float] | None = None,
    reliability: tuple[ReliabilityBin, ...] = (),
) -> Judgement:
    ranked = np.full((len(lists), K), EMPTY, dtype=np.intp)
    for row, positions in enumerate(lists):
        ranked[row, : len(positions[:K])] = positions[:K]
    lengths = (ranked != EMPTY).sum(axis=1)
    found = compute_list_metrics(ranked, jury.item_counts, jury.n_training_users)
    found |= {"short_list_share": float((lengths < K).mean()), "empty_list_share": float((lengths == 0).mean())}
    relevant = (jury.people.targets >= POSITIVE_RATING).tocsr()
    metrics = compute_ranking_metrics(ranked, relevant, K)
    return Judgement(name, ranked, metrics, rating_error, found | dict(facts or {}), reliability)


def judge_generator(model: CandidateGenerator, jury: Jury) -> Judgement:
    """Rank the whole catalog by one first-stage model alone."""
    lists: list[Positions] = []
    for batch in jury.people.batches():
        allowed = np.ones(batch.history.shape, dtype=bool)
        allowed[batch.history.nonzero()] = False
        lists += select_top(model.score(batch.history), allowed, K)
    return _judge_lists(model.name, lists, jury)


def judge_recommender(name: str, model: Recommender, jury: Jury) -> Judgement:
    """Let a whole recommender answer, also one that knows another catalog than the jury's."""
    there = _Translation(jury.catalog, model.catalog)
    lists: list[Positions] = []
    predictions: list[Floats] = []
    for batch in jury.people.batches():
        history = there.translate(batch.history)
        lists += [there.back(positions) for positions, _ in model.rank(history, k=K)]
        predictions.append(_predict_targets(model, history, batch, there))
    targets = jury.people.targets.tocsr()
    rows = np.repeat(np.arange(targets.shape[0]), np.diff(targets.indptr))
    predicted = np.concatenate(predictions)
    return _judge_lists(
        name,
        lists,
        jury,
        rating_error=absolute_rating_error(predicted, targets.data, rows, n_users=targets.shape[0]),
        facts={"scoring_p95_ms": measure_scoring_ms(model, there.translate(jury.people.history))},
        reliability=compute_reliability(predicted, targets.data),
    )


def _predict_targets(model: Recommender, history: RatingMatrix, batch: People, there: "_Translation") -> Floats:
    """Predict the hidden ratings, in their order; for a title that the model does not know, the user's mean."""
    targets = batch.targets.tocsr()
    counts = np.diff(targets.indptr)
    rows = np.repeat(np.arange(len(counts)), counts)
    n_seen = np.maximum(np.diff(batch.history.indptr), 1)
    predicted = (np.asarray(batch.history.sum(axis=1)).ravel() / n_seen)[rows].astype(np.float32)
    positions = there.positions[targets.indices]
    known = positions >= 0
    per_user = np.split(positions[known], np.cumsum(np.bincount(rows[known], minlength=len(counts)))[:-1])
    no_tastes = np.zeros((len(counts), len(model.catalog.genres)), dtype=np.float32)
    predicted[known] = model.rate(history, no_tastes, per_user)
    return np.asarray(predicted, dtype=np.float32)


class _Translation:
    """Positions of one catalog in another; -1 where a title is missing there."""

    def __init__(self, source: Catalog, target: Catalog) -> None:
        known = target.contains(source.item_ids)
        self.positions = np.full(len(source), EMPTY, dtype=np.intp)
        self.positions[known] = target.positions(source.item_ids[known])
        self._n_target = len(target)
        self._back = np.full(len(target), EMPTY, dtype=np.intp)
        self._back[self.positions[known]] = np.flatnonzero(known)

    def translate(self, history: RatingMatrix) -> RatingMatrix:
        """Move a history into the other catalog; unknown titles drop out."""
        entries = history.tocoo()
        columns = self.positions[entries.col]
        kept = columns >= 0
        shape = (history.shape[0], self._n_target)
        return csr_matrix((entries.data[kept], (entries.row[kept], columns[kept])), shape=shape)

    def back(self, positions: Positions) -> Positions:
        """Move a list back; titles that have left the catalog drop out."""
        returned = self._back[positions]
        return returned[returned >= 0]


def measure_scoring_ms(model: Recommender, history: RatingMatrix) -> float:
    """Measure single requests of the first users and return the 95th percentile in milliseconds.

    CPU time of this thread, the better of two rounds: what else the machine does must not decide about a model.
    """
    rounds = []
    for _ in range(2):
        times = []
        for row in range(min(N_TIMED, history.shape[0])):
            start = time.thread_time()
            model.rank(history[row], k=K)
            times.append(1000 * (time.thread_time() - start))
        rounds.append(float(np.percentile(times, 95)))
    return min(rounds)
