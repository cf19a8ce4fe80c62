"""Score models on the held-out users: the same users, the same hidden ratings, for every model."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
import pandas as pd

from recsys.columns import Columns
from recsys.data.catalog import Catalog
from recsys.data.splits import hash_ids
from recsys.data.users import Users
from recsys.evaluation.evaluation_set import (
    EvaluationSet,
    close_ranks,
    drop_known,
    drop_unshown,
    find_known,
    find_relevant,
)
from recsys.evaluation.list_metrics import (
    compute_list_metrics,
    coverage_interval,
    intra_list_diversity,
    novelty,
    popularity_share,
)
from recsys.evaluation.reliability import ReliabilityBin, compute_reliability
from recsys.evaluation.translation import Translation
from recsys.features.item_side import normalise_rows
from recsys.gate.intervals import Interval
from recsys.gate.metrics import EMPTY, PerUser, absolute_rating_error, compute_ranking_metrics, recall_at_k
from recsys.gate.scorecard import Scorecard
from recsys.retrieval.base import CandidateGenerator, select_top
from recsys.types import Floats, Mask, Positions, RatingMatrix

K: Final = 10
FAR: Final = 100
# Deep enough for a look at the first hundred, and for ten titles of unknown franchises.
DEEP: Final = 200
N_TIMED: Final = 50

OnProgress = Callable[[int, int], None]
# Answers a batch of users with lists of positions in the evaluation set's catalog, best first, padded with -1.
ResponseModel = Callable[[Users], Positions]


class RankingModel(Protocol):
    """A whole recommender: ranks for many users at once and predicts ratings."""

    @property
    def catalog(self) -> Catalog:
        """The titles it knows."""
        ...

    def rank(
        self, history: RatingMatrix, tastes: Floats | None = None, *, k: int = 10, allowed: Mask | None = None
    ) -> list[tuple[Positions, Floats]]:
        """Return positions and scores for each user, best first."""
        ...

    def rate(self, history: RatingMatrix, tastes: Floats, candidates: list[Positions]) -> Floats:
        """Predict ratings of given positions for many users, flat in their order."""
        ...


@dataclass(frozen=True)
class EvaluationResult:
    """One model before the evaluation set.

    Parameters
    ----------
    ranked
        Lists of positions in the evaluation set's catalog, padded with -1, `(n_users, K)`.
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

    def to_scorecard(self, eval_set: EvaluationSet) -> Scorecard:
        """Reduce to what the gate looks at."""
        return Scorecard(
            user_ids=eval_set.users.user_ids,
            ndcg=self.metrics["ndcg_at_10"],
            rating_error=self.rating_error,
            arrived=eval_set.arrived,
            facts=self.facts,
        )

    def means(self) -> dict[str, float]:
        """Average every metric over the users that it is defined for; one that is defined for nobody is left out."""
        table = dict(self.metrics)
        if self.rating_error is not None:
            table["mae"] = self.rating_error
        defined = {name: values for name, values in table.items() if not np.isnan(values).all()}
        return {name: float(np.nanmean(values)) for name, values in defined.items()} | dict(self.facts)

    def coverage(self, eval_set: EvaluationSet) -> Interval:
        """Estimate the share of the catalog that so many users are shown."""
        return coverage_interval(self.ranked, len(eval_set.catalog))

    def to_table(self, eval_set: EvaluationSet) -> pd.DataFrame:
        """Lay out the per-user values as one table."""
        n_history = np.diff(eval_set.users.history.tocsr().indptr)
        columns = {Columns.User: eval_set.users.user_ids, "n_history": n_history, **self.metrics}
        if self.rating_error is not None:
            columns["mae"] = self.rating_error
        return pd.DataFrame(columns).assign(model=self.name)


def evaluate_generator(
    model: CandidateGenerator,
    eval_set: EvaluationSet,
    *,
    name: str | None = None,
    depth: int = K,
    allowed: Mask | None = None,
    on_progress: OnProgress = lambda _done, _total: None,
) -> EvaluationResult:
    """Rank the whole catalog but the history by one first-stage model alone.

    Parameters
    ----------
    depth
        Length of the lists; `DEEP` for everything that can be measured, `K` for what the gate needs.
    allowed
        Titles that may be shown, `(n_items,)`; None for all.
    on_progress
        Called with users done and in total.
    """
    deeper = depth + eval_set.n_unshown
    popularity = np.log1p(eval_set.item_likes).astype(np.float32)
    # Equal scores go by a hash: ids grow with the years, so that their order would favour the titles everybody knows.
    shuffled = np.argsort(hash_ids(eval_set.catalog.item_ids, salt=10), kind="stable")

    def answer(batch: Users) -> Positions:
        # Without a history a personal score says nothing: there every single model shows what is popular.
        scores = np.array(model.score(batch.history))
        if not model.serves_cold_start_users:
            scores[np.diff(batch.history.indptr) == 0] = popularity
        shown = np.ones(batch.history.shape, dtype=bool) if allowed is None else np.tile(allowed, (len(scores), 1))
        shown[batch.history.nonzero()] = False
        return pad_lists([shuffled[top] for top in select_top(scores[:, shuffled], shown[:, shuffled], deeper)], deeper)

    return evaluate_lists(name or model.name, answer, eval_set, depth=depth, on_progress=on_progress)


def evaluate_recommender(
    name: str,
    model: RankingModel,
    eval_set: EvaluationSet,
    *,
    depth: int = K,
    allowed: Mask | None = None,
    on_progress: OnProgress = lambda _done, _total: None,
) -> EvaluationResult:
    """Let a whole recommender answer, also one that knows another catalog than the evaluation set's."""
    there = Translation(eval_set.catalog, model.catalog)
    shown = None if allowed is None else there.translate_mask(allowed)
    predictions: list[Floats] = []
    deeper = depth + eval_set.n_unshown

    def answer(batch: Users) -> Positions:
        history, tastes = (
            there.translate(batch.history),
            _translate_tastes(batch, eval_set.catalog, model.catalog),
        )
        predictions.append(_predict_targets(model, history, batch, there))
        found = model.rank(history, tastes, k=deeper, allowed=shown)
        return pad_lists([there.back(positions) for positions, _ in found], deeper)

    result = evaluate_lists(name, answer, eval_set, depth=depth, on_progress=on_progress)
    targets = eval_set.users.targets.tocsr()
    rows = np.repeat(np.arange(targets.shape[0]), np.diff(targets.indptr))
    predicted = np.concatenate(predictions)
    return EvaluationResult(
        name,
        result.ranked,
        result.metrics,
        rating_error=absolute_rating_error(predicted, targets.data, rows, n_users=targets.shape[0]),
        facts={
            **result.facts,
            "scoring_p95_ms": measure_scoring_ms(model, there.translate(eval_set.users.history)),
        },
        reliability=compute_reliability(predicted, targets.data),
    )


def evaluate_lists(
    name: str,
    answer: ResponseModel,
    eval_set: EvaluationSet,
    *,
    depth: int = K,
    on_progress: OnProgress = lambda _done, _total: None,
) -> EvaluationResult:
    """Measure what a model answers, batch by batch, so that only ten places of each list are kept.

    Parameters
    ----------
    answer
        Gives lists of `depth` places, and one more for each title that the evaluation set may take out.
    """
    ranked, tables, done = [], [], 0
    for batch in eval_set.users.batches():
        lists = answer(batch)
        if eval_set.unshown is not None:
            lists = drop_unshown(lists, eval_set.unshown[done : done + len(batch.user_ids)], depth)
        ranked.append(pad_lists(list(lists), K))
        tables.append(measure_lists(lists, batch, eval_set))
        done += len(batch.user_ids)
        on_progress(done, len(eval_set.users.user_ids))
    top = np.concatenate(ranked)
    metrics = {metric: np.concatenate([table[metric] for table in tables]) for metric in tables[0]}
    return EvaluationResult(
        name, top, metrics, facts=compute_list_metrics(top, eval_set.item_counts, eval_set.n_training_users)
    )


def measure_lists(lists: Positions, users: Users, eval_set: EvaluationSet) -> dict[str, PerUser]:
    """Compute every metric of these users' lists, by name, each `(n_users,)`.

    `recall_at_100` needs lists of at least 100 places; the metrics with `discovery_` look only at titles of franchises
    that the history does not touch, in the lists and among the targets; they need an evaluation set with franchises.
    """
    relevant = find_relevant(users.targets)
    top = lists[:, :K]
    found = compute_ranking_metrics(lists, relevant, K)
    if lists.shape[1] >= FAR:
        found[f"recall_at_{FAR}"] = recall_at_k(lists, relevant, FAR)
    found["novelty"] = novelty(top, eval_set.item_counts, eval_set.n_training_users)
    found["popularity_share"] = popularity_share(top, eval_set.item_counts)
    found["diversity"] = intra_list_diversity(top, normalise_rows(eval_set.catalog.genre_matrix))
    if eval_set.franchises is not None:
        known = find_known(users.history, eval_set.franchises)
        unknown = ~np.take_along_axis(known, np.where(lists == EMPTY, 0, lists), axis=1)
        undiscovered = find_relevant(drop_known(users.targets, known))
        closed = close_ranks(lists, unknown, K)
        found |= {f"discovery_{key}": value for key, value in compute_ranking_metrics(closed, undiscovered, K).items()}
    return found


def pad_lists(lists: list[Positions], depth: int) -> Positions:
    """Arrange lists of any length as `(n_lists, depth)`, padded with -1."""
    padded = np.full((len(lists), depth), EMPTY, dtype=np.intp)
    for row, positions in enumerate(lists):
        padded[row, : len(positions[:depth])] = positions[:depth]
    return padded


def _translate_tastes(batch: Users, ours: Catalog, theirs: Catalog) -> Floats:
    """Arrange stated tastes by the genres of another catalog; a genre that it lacks drops out."""
    if ours.genres == theirs.genres:
        return batch.tastes
    tastes = np.zeros((len(batch.tastes), len(theirs.genres)), dtype=np.float32)
    shared = [genre for genre in ours.genres if genre in theirs.genres]
    places = [theirs.genres.index(genre) for genre in shared]
    tastes[:, places] = batch.tastes[:, [ours.genres.index(genre) for genre in shared]]
    return tastes


def _predict_targets(model: RankingModel, history: RatingMatrix, batch: Users, there: Translation) -> Floats:
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


def measure_scoring_ms(model: RankingModel, history: RatingMatrix) -> float:
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
