"""Score models on the held-out users: the same users and the same hidden ratings for every model."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import numpy as np
import pandas as pd

from recsys.columns import Columns
from recsys.data.catalog import Catalog
from recsys.data.splits import hash_ids
from recsys.data.users import Users, is_generated
from recsys.evaluation.evaluation_set import EvaluationSet, drop_unshown
from recsys.evaluation.list_metrics import compute_list_metrics, coverage_interval
from recsys.evaluation.measured_lists import K, average_hidings, measure_lists, pad_lists
from recsys.evaluation.reliability import ReliabilityBin, compute_reliability
from recsys.evaluation.translation import Translation
from recsys.gate.intervals import Interval
from recsys.gate.metrics import PerUser, absolute_rating_error
from recsys.gate.scorecard import Scorecard
from recsys.retrieval.base import CandidateGenerator, select_top
from recsys.types import Floats, Mask, Positions, RatingMatrix

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
    """What one model achieved on an evaluation set.

    Parameters
    ----------
    ranked
        Lists for the first hiding, positions in the evaluation set's catalog padded with -1, `(n_users, K)`.
    metrics
        Per-user values by metric name, the mean over the hidings, each `(n_users,)`.
    rating_error
        Mean absolute error per user and hiding, averaged likewise; None where the model predicts no ratings.
    facts
        Numbers about all lists together, averaged over the hidings.
    reliability
        Predicted beside given ratings by tenths, of the first hiding; empty where the model predicts no ratings.
    hidings
        Lists as in `ranked`, of every hiding.
    predictions
        Predicted beside given ratings of the first hiding, user by user; None where the model predicts no ratings.
    """

    name: str
    ranked: Positions
    metrics: Mapping[str, PerUser]
    rating_error: PerUser | None = None
    facts: Mapping[str, float] = field(default_factory=dict)
    reliability: tuple[ReliabilityBin, ...] = ()
    hidings: tuple[Positions, ...] = field(default=(), repr=False)
    predictions: tuple[Floats, Floats] | None = field(default=None, repr=False)

    def to_scorecard(self, eval_set: EvaluationSet) -> Scorecard:
        """Reduce to what the gate looks at."""
        return Scorecard(
            user_ids=eval_set.users.user_ids,
            ndcg=self.metrics["ndcg_at_10"],
            rating_error=self.rating_error,
            arrived=eval_set.arrived,
            generated=is_generated(eval_set.users.user_ids),
            facts=self.facts,
        )

    def means(self) -> dict[str, float]:
        """Average every metric over the users that it is defined for; one that is defined for none is left out."""
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
        history = there.translate(batch.history)
        predictions.append(_predict_targets(model, history, batch, there))
        found = model.rank(history, _translate_tastes(batch, eval_set.catalog, model.catalog), k=deeper, allowed=shown)
        return pad_lists([there.back(positions) for positions, _ in found], deeper)

    result = evaluate_lists(name, answer, eval_set, depth=depth, on_progress=on_progress)
    targets = [users.targets.tocsr() for users in eval_set.hidings]
    ends = np.cumsum([ratings.nnz for ratings in targets])[:-1]
    predicted = np.split(np.concatenate(predictions), ends)
    timed = there.translate(eval_set.users.history[:N_TIMED])
    return replace(
        result,
        rating_error=average_hidings(list(map(_compute_errors, predicted, targets))),
        facts={**result.facts, "scoring_p95_ms": measure_scoring_ms(model, timed)},
        reliability=compute_reliability(predicted[0], targets[0].data),
        predictions=(predicted[0], targets[0].data),
    )


def _compute_errors(predicted: Floats, targets: RatingMatrix) -> PerUser:
    rows = np.repeat(np.arange(targets.shape[0]), np.diff(targets.indptr))
    return absolute_rating_error(predicted, targets.data, rows, n_users=targets.shape[0])


def evaluate_lists(
    name: str,
    answer: ResponseModel,
    eval_set: EvaluationSet,
    *,
    depth: int = K,
    on_progress: OnProgress = lambda _done, _total: None,
) -> EvaluationResult:
    """Measure what a model answers, batch by batch and hiding by hiding; only ten places of each list are kept.

    Parameters
    ----------
    answer
        Gives lists of `depth` places, and one more for each title that the evaluation set may take out.
    """
    results, done = [], 0
    total = len(eval_set.users.user_ids) * len(eval_set.hidings)
    for users in eval_set.hidings:
        ranked, tables, first = [], [], done
        for batch in users.batches():
            lists = answer(batch)
            if eval_set.unshown is not None:
                place = done - first
                lists = drop_unshown(lists, eval_set.unshown[place : place + len(batch.user_ids)], depth)
            ranked.append(pad_lists(list(lists), K))
            tables.append(measure_lists(lists, batch, eval_set))
            done += len(batch.user_ids)
            on_progress(done, total)
        metrics = {metric: np.concatenate([table[metric] for table in tables]) for metric in tables[0]}
        results.append((np.concatenate(ranked), metrics))
    facts = [compute_list_metrics(top, eval_set.item_counts, eval_set.n_training_users) for top, _ in results]
    return EvaluationResult(
        name,
        results[0][0],
        {metric: average_hidings([metrics[metric] for _, metrics in results]) for metric in results[0][1]},
        facts=_average_facts(facts),
        hidings=tuple(top for top, _ in results),
    )


def _average_facts(facts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {fact: float(np.mean([found[fact] for found in facts])) for fact in facts[0]}


def join_results(shares: Sequence[tuple[Positions, EvaluationResult]], eval_set: EvaluationSet) -> EvaluationResult:
    """Join what one model achieved on shares of the users; only the time of a list is that of the slowest share.

    Parameters
    ----------
    shares
        Rows of the evaluation set, and the result for them; all rows together occur once.
    """
    rows = np.concatenate([found for found, _ in shares])
    results, order = [result for _, result in shares], np.argsort(rows, kind="stable")
    hidings = [np.concatenate(tops)[order] for tops in zip(*(result.hidings for result in results), strict=True)]
    facts = [compute_list_metrics(top, eval_set.item_counts, eval_set.n_training_users) for top in hidings]
    slowest = {"scoring_p95_ms": max(result.facts.get("scoring_p95_ms", 0.0) for result in results)}
    errors = [result.rating_error for result in results if result.rating_error is not None]
    predictions = [result.predictions for result in results if result.predictions is not None]
    names = results[0].metrics
    return EvaluationResult(
        results[0].name,
        hidings[0],
        {name: np.concatenate([result.metrics[name] for result in results])[order] for name in names},
        np.concatenate(errors)[order] if errors else None,
        _average_facts(facts) | (slowest if errors else {}),
        compute_reliability(*map(np.concatenate, zip(*predictions, strict=True))) if predictions else (),
        tuple(hidings),
    )


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
    """Measure a single request for each history and return the 95th percentile in milliseconds.

    CPU time of this thread, the better of two rounds. It is reported and decides nothing: caches and clocks are shared
    with whatever else the machine does.
    """
    rounds = []
    for _ in range(2):
        times = []
        for row in range(history.shape[0]):
            start = time.thread_time()
            model.rank(history[row], k=K)
            times.append(1000 * (time.thread_time() - start))
        rounds.append(float(np.percentile(times, 95)))
    return min(rounds)
