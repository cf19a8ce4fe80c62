"""Measure what decides about lists besides the model: order of seasons, slider of popularity, diversity, groups.

    python research/1-recommendation-quality/list_rules.py DIRECTORY WORK

WORK is the folder of `measure.py`, where it left the fitted ranker. Lists are made as the service makes them, for the
usual test users and the first of their hidings. The result is WORK/list_rules.json, which `render.py` reads.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from measure import open_harness, say_progress
from variants import build_parser

from recsys.evaluation.comparison import DISCOVERY, PRIMARY
from recsys.evaluation.evaluate import evaluate_lists
from recsys.evaluation.evaluation_set import EvaluationSet, find_relevant
from recsys.evaluation.measured_lists import K, pad_lists
from recsys.gate.intervals import Interval, bootstrap_interval, paired_difference
from recsys.gate.metrics import PerUser, compute_ranking_metrics
from recsys.recommender import Recommender, UserProfile
from recsys.recommender.list_rules import PLAIN, ListOptions
from recsys.recommender.model import WantedList
from recsys.recommender.retriever import RANKER
from recsys.recommender.together import FLOOR, POOL, recommend_together
from recsys.types import Positions, RatingMatrix

BASE: Final = "as scored"
SLIDER: Final = (-1.0, -0.5, 0.0, 0.5, 1.0)
SETTINGS: Final = {
    BASE: PLAIN,
    "next season, without disliked franchises": ListOptions(seasons="next", without_disliked=True),
    **{f"popularity {value:+g}": replace(PLAIN, popularity=value) for value in SLIDER if value},
    "diversity 0.3": replace(PLAIN, diversity=0.3),
    "diversity 0.7": replace(PLAIN, diversity=0.7),
}
GROUP_SIZES: Final = (2, 3, 5)
N_GROUPS: Final = 100  # of each size
OURS: Final = "mean probability of the first choice, with a floor"


def read_profiles(model: Recommender, history: RatingMatrix) -> list[UserProfile]:
    """Turn rows of ratings into profiles."""
    rows = history.tocsr()
    ends = rows.indptr
    parts = [slice(ends[row], ends[row + 1]) for row in range(rows.shape[0])]
    return [UserProfile(model.catalog.item_ids[rows.indices[part]], rows.data[part]) for part in parts]


def measure_settings(model: Recommender, eval_set: EvaluationSet) -> dict[str, Any]:
    """Evaluate the lists of every setting, each paired with those of the scores alone."""
    report, start = say_progress(), time.monotonic()
    found, tables, ranks = {}, {}, {}
    for number, (name, options) in enumerate(SETTINGS.items()):

        def answer(batch: Any, options: ListOptions = options) -> Positions:
            """Make the lists of a batch of users."""
            wanted = [WantedList(profile, K, options=options) for profile in read_profiles(model, batch.history)]
            return pad_lists([model.catalog.positions(one.item_ids) for one in model.recommend_many(wanted)], K)

        result = evaluate_lists(name, answer, eval_set)
        tables[name] = result.metrics
        ranks[name] = average_popularity_rank(model, result.ranked)
        found[name] = summarise(result.metrics, tables[BASE])
        found[name]["coverage"] = asdict(result.coverage(eval_set))
        found[name]["popularity_rank"] = asdict(bootstrap_interval(ranks[name], rng=np.random.default_rng(0)))
        report("settings", number + 1, len(SETTINGS))
    names = [f"popularity {value:+g}" if value else BASE for value in SLIDER]
    steps = np.diff(np.stack([ranks[name] for name in names]), axis=0)
    found["monotone"] = {"share": float((steps <= 0).all(axis=0).mean()), "n": steps.shape[1]}
    print(f"settings: {time.monotonic() - start:.0f} s", flush=True)
    return found


def summarise(metrics: Mapping[str, PerUser], base: Mapping[str, PerUser]) -> dict[str, Any]:
    """Give means with intervals, and differences from the lists of the scores alone."""
    wanted = (PRIMARY, f"{DISCOVERY}{PRIMARY}", "novelty", "diversity")
    means = {name: asdict(bootstrap_interval(metrics[name], rng=np.random.default_rng(0))) for name in wanted}
    versus = {}
    for name in wanted[:2]:
        difference = paired_difference(metrics[name], base[name])
        lift = difference.mean / difference.champion_mean if difference.champion_mean else None
        versus[name] = {**asdict(difference), "lift": lift}
    return {"metrics": means, "versus": versus}


def average_popularity_rank(model: Recommender, ranked: Positions) -> npt.NDArray[np.float64]:
    """Average the popularity ranks of the titles of each list, `(n_users,)`."""
    return np.asarray(model.popularity_ranks[ranked].mean(axis=1))


Choose = Callable[[Recommender, Sequence[UserProfile], npt.NDArray[np.bool_]], Positions]


def measure_groups(model: Recommender, eval_set: EvaluationSet, seed: int) -> dict[str, Any]:
    """Evaluate lists for groups by what each member likes of them; nobody sees what another has watched."""
    profiles = read_profiles(model, eval_set.users.history)
    relevant = find_relevant(eval_set.users.targets).tocsr()
    chosen: dict[str, Choose] = {
        OURS: rank_together,
        "mean score": rank_by_mean_score,
        "mean percentile": rank_by_mean_percentile,
        "list of one member": rank_for_first,
    }
    report = say_progress()
    found: dict[str, Any] = {}
    for size in GROUP_SIZES:
        rng = np.random.default_rng([seed, size])
        values: dict[str, list[PerUser]] = {name: [] for name in chosen}
        for number in range(N_GROUPS):
            rows = rng.choice(len(profiles), size, replace=False)
            group = [profiles[row] for row in rows]
            free = np.asarray(eval_set.users.history[rows].sum(axis=0) == 0).ravel()
            for name, choose in chosen.items():
                lists = np.tile(pad_lists([choose(model, group, free)], K), (size, 1))
                values[name].append(compute_ranking_metrics(lists, relevant[rows], K)[PRIMARY])
            report(f"groups of {size}", number + 1, N_GROUPS)
        found[str(size)] = {
            name: {
                "mean": describe([float(np.nanmean(group)) for group in groups]),
                "least": describe([float(np.nanmin(group)) for group in groups]),
            }
            for name, groups in values.items()
        }
    return found


def describe(values: Sequence[float]) -> dict[str, float]:
    """Give the mean over groups with its interval."""
    interval: Interval = bootstrap_interval(np.array(values), rng=np.random.default_rng(0))
    return asdict(interval)


def rank_together(model: Recommender, group: Sequence[UserProfile], free: npt.NDArray[np.bool_]) -> Positions:
    """Rank as *Together* does."""
    return model.catalog.positions(recommend_together(model, group, free, K, PLAIN).item_ids)


def rank_for_first(model: Recommender, group: Sequence[UserProfile], free: npt.NDArray[np.bool_]) -> Positions:
    """Rank for the first member alone."""
    return model.catalog.positions(model.recommend(group[0], k=K, allowed=free).item_ids)


def rank_by_mean_score(model: Recommender, group: Sequence[UserProfile], free: npt.NDArray[np.bool_]) -> Positions:
    """Rank what anybody is recommended by the mean of all scores, although their scales differ."""
    positions, scores = score_pool(model, group, free)
    return np.asarray(positions[np.lexsort((positions, -scores.mean(axis=0)))[:K]])


def rank_by_mean_percentile(model: Recommender, group: Sequence[UserProfile], free: npt.NDArray[np.bool_]) -> Positions:
    """Rank what anybody is recommended by the mean of all ranks, as Borda counts votes."""
    positions, scores = score_pool(model, group, free)
    ranks = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1, kind="stable")
    return np.asarray(positions[np.lexsort((positions, ranks.mean(axis=0)))[:K]])


def score_pool(
    model: Recommender, group: Sequence[UserProfile], free: npt.NDArray[np.bool_]
) -> tuple[Positions, npt.NDArray[np.float32]]:
    """Return the pool of titles that anybody is recommended, and each member's scores of them."""
    lists = [model.recommend(profile, k=POOL, allowed=free).item_ids for profile in group]
    positions = model.catalog.positions(np.unique(np.concatenate(lists)))
    rows = [(profile.to_history(model.catalog), profile.to_tastes(model.catalog)) for profile in group]
    return positions, np.stack([model.score(history, tastes, [positions]) for history, tastes in rows])


def main() -> None:
    """Measure and write everything down."""
    parser = build_parser(__doc__)
    parser.set_defaults(group="test", preset="default", max_users=None)
    arguments = parser.parse_args()
    folder = arguments.work / "models" / RANKER
    if not folder.exists():
        sys.exit(f"{folder} is missing; run measure.py first")
    harness = open_harness(arguments)
    eval_set = replace(harness.eval_set, others=())
    model = Recommender.load(folder)
    found = {
        "n_users": len(eval_set.users.user_ids),
        "settings": measure_settings(model, eval_set),
        "groups": {"n_groups": N_GROUPS, "floor": FLOOR, "sizes": measure_groups(model, eval_set, arguments.seed)},
    }
    path = arguments.work / "list_rules.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"list rules: {path}")


if __name__ == "__main__":
    main()
