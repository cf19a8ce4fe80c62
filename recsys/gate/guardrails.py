"""Limits that a challenger must not break, however good its lists are on average.

Every value is a function of the data and the models: the same inputs give the same verdict on any machine under any
load. Times are reported beside the decision and have no limit here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from recsys.gate.decision import Guardrail
from recsys.gate.intervals import paired_difference
from recsys.gate.scorecard import Scorecard


@dataclass(frozen=True)
class GuardrailLimits:
    """How far a challenger may go, most of it relative to the champion.

    Parameters
    ----------
    coverage_ratio
        Least catalog coverage, as a share of the champion's.
    popularity_rise
        Largest rise of the share of popular titles in the lists, in absolute terms.
    size_ratio
        Largest artefact, as a multiple of the champion's.
    cost_ratio
        Largest work per list, as a multiple of the champion's. Work is counted, not timed: what else a machine does
        must not decide about a model.
    splits_floor, values_floor
        Splits visited and feature values computed per list that never fail, whatever the champion needs: less than
        about 10 ms of one core each, if LightGBM itself visits the splits; the exact forests need a thirtieth of it.
    overlap
        Least mean share of the champion's ten titles that the challenger's lists hold.
    short_lists, empty_lists
        Largest share of lists that are not full, or empty; they hold without a champion too.
    arrived_drop
        Largest significant loss of NDCG@10 among new users, as a share of the champion's mean there.
    """

    coverage_ratio: float = 0.8
    popularity_rise: float = 0.1
    size_ratio: float = 3.0
    cost_ratio: float = 2.0
    splits_floor: float = 2.5e6
    values_floor: float = 1e5
    overlap: float = 0.2
    short_lists: float = 0.01
    empty_lists: float = 0.0
    arrived_drop: float = 0.05


def check_guardrails(
    challenger: Scorecard,
    champion: Scorecard | None,
    limits: GuardrailLimits,
    *,
    alpha: float = 0.05,
    min_test_users: int = 30,
) -> tuple[Guardrail, ...]:
    """Hold a challenger against every limit; relative ones are left out where there is no champion."""
    found = [
        _at_most(challenger, "empty_list_share", limits.empty_lists),
        _at_most(challenger, "short_list_share", limits.short_lists),
    ]
    if champion is not None:
        found.extend(_check_against(challenger, champion, limits))
        found.append(_check_arrived(challenger, champion, limits, alpha, min_test_users))
    return tuple(found)


def _check_against(challenger: Scorecard, champion: Scorecard, limits: GuardrailLimits) -> Iterator[Guardrail]:
    past = champion.facts
    coverage, popularity = past.get("catalog_coverage"), past.get("popularity_share")
    size = past.get("artifact_bytes")
    yield _at_least(challenger, "catalog_coverage", None if coverage is None else coverage * limits.coverage_ratio)
    yield _at_most(challenger, "popularity_share", None if popularity is None else popularity + limits.popularity_rise)
    yield _at_most(challenger, "artifact_bytes", None if size is None else size * limits.size_ratio)
    for name, floor in (("splits_per_list", limits.splits_floor), ("feature_values_per_list", limits.values_floor)):
        work = past.get(name)
        yield _at_most(challenger, name, None if work is None else max(work * limits.cost_ratio, floor))
    yield _at_least(challenger, "overlap_at_10", limits.overlap)


def _at_most(challenger: Scorecard, name: str, limit: float | None) -> Guardrail:
    value = challenger.facts.get(name)
    if value is None or limit is None:
        return Guardrail(name, True, value, limit, f"{name} was not measured for both models")
    passed = value <= limit
    return Guardrail(
        name, passed, value, limit, f"{name} is {value:.4g}, {'within' if passed else 'above'} {limit:.4g}"
    )


def _at_least(challenger: Scorecard, name: str, limit: float | None) -> Guardrail:
    value = challenger.facts.get(name)
    if value is None or limit is None:
        return Guardrail(name, True, value, limit, f"{name} was not measured for both models")
    passed = value >= limit
    return Guardrail(name, passed, value, limit, f"{name} is {value:.4g}, {'above' if passed else 'below'} {limit:.4g}")


def _check_arrived(
    challenger: Scorecard, champion: Scorecard, limits: GuardrailLimits, alpha: float, min_test_users: int
) -> Guardrail:
    """Refuse a loss among new users that is both significant and larger than allowed."""
    name = "arrived_ndcg_at_10"
    if challenger.arrived is None:
        return Guardrail(name, True, None, None, "it is not known which test users are new")
    ours, theirs = (card.ndcg[challenger.arrived] for card in (challenger, champion))
    n_evaluated = int((~np.isnan(ours) & ~np.isnan(theirs)).sum())
    if n_evaluated < max(2, min_test_users):
        return Guardrail(name, True, None, None, f"only {n_evaluated} new test users have targets, too few to evaluate")
    difference = paired_difference(ours, theirs, level=1 - alpha)
    limit = -limits.arrived_drop * difference.champion_mean
    passed = difference.high >= 0 or difference.mean >= limit
    verdict = "within" if passed else "significantly below"
    sentence = f"NDCG@10 among {difference.n} new users changed by {difference.mean:+.4f}, {verdict} {limit:+.4f}"
    return Guardrail(name, passed, difference.mean, limit, sentence)
