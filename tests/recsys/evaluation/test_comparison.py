"""Models side by side: what is compared with what, and how sure it is."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys.evaluation.comparison import COVERAGE, Result, compare, pair
from recsys.evaluation.comparison_plots import plot_differences, plot_metrics, plot_slices
from recsys.exceptions import EvaluationError, SchemaMismatchError
from recsys.gate.intervals import Interval, paired_difference

N_USERS = 60
COVERED = Interval(0.4, 0.3, 0.5, 0.95, N_USERS)


def result(name: str, shift: float, *, seed: int = 0, **more: object) -> Result:
    rng = np.random.default_rng(seed)
    ndcg = np.clip(rng.beta(2, 3, N_USERS) + shift + rng.normal(0, 0.02, N_USERS), 0, 1)
    ndcg[:3] = np.nan
    table = pd.DataFrame(
        {
            "user_id": np.arange(N_USERS),
            "n_history": np.arange(N_USERS) * 3,
            "arrived": np.arange(N_USERS) % 10 == 0,
            "ndcg_at_10": ndcg,
            "discovery_ndcg_at_10": np.where(np.arange(N_USERS) < 30, ndcg, np.nan),
            **more,
        }
    )
    return Result(name, table, COVERED, {"fit_seconds": 1.5, "odd": float("nan")})


RESULTS = [result("ease", 0.0), result("ranker", 0.1, seed=1), result("popular", -0.2, mae=np.nan)]


def test_everything_is_compared_with_the_reference() -> None:
    found = compare(RESULTS, "ease", seed=3)
    assert found["reference"] == "ease"
    assert found["n_users"] == N_USERS
    ranker = found["models"]["ranker"]
    expected = paired_difference(RESULTS[1].values("ndcg_at_10"), RESULTS[0].values("ndcg_at_10"))
    assert ranker["differences"]["ndcg_at_10"]["mean"] == expected.mean
    assert ranker["differences"]["ndcg_at_10"]["low"] == expected.low
    assert ranker["differences"]["ndcg_at_10"]["lift"] == pytest.approx(expected.mean / expected.champion_mean)
    assert ranker["metrics"]["ndcg_at_10"]["n"] == N_USERS - 3
    assert ranker["metrics"]["discovery_ndcg_at_10"]["n"] == 27
    assert ranker["metrics"][COVERAGE] == {"mean": 0.4, "low": 0.3, "high": 0.5, "level": 0.95, "n": N_USERS}
    assert found["models"]["ease"]["differences"]["ndcg_at_10"]["mean"] == 0.0
    # Nobody has a value, or it is no number: left out, so that JSON stays JSON.
    assert "mae" not in found["models"]["popular"]["metrics"]
    assert ranker["facts"] == {"fit_seconds": 1.5}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_slices_hold_their_own_users() -> None:
    slices = compare(RESULTS, "ease")["models"]["ranker"]["slices"]
    sizes = {name: part["n_users"] for name, part in slices.items()}
    assert sizes == {
        "history of up to 20": 7,
        "history of 21 to 100": 27,
        "history of more than 100": 26,
        "new arrivals": 6,
    }
    part = slices["history of more than 100"]
    assert part["metrics"]["ndcg_at_10"]["mean"] == pytest.approx(RESULTS[1].values("ndcg_at_10")[34:].mean())
    difference = RESULTS[1].values("ndcg_at_10")[34:] - RESULTS[0].values("ndcg_at_10")[34:]
    assert part["differences"]["ndcg_at_10"]["mean"] == pytest.approx(difference.mean())
    # The discovery targets of these users are all known: no mean of nothing.
    assert "discovery_ndcg_at_10" not in part["metrics"]


def test_a_pair_is_told_for_all_and_by_slice() -> None:
    found = pair(RESULTS[1], RESULTS[0])
    whole = compare(RESULTS, "ease")["models"]["ranker"]
    assert found["all"]["ndcg_at_10"] == whole["differences"]["ndcg_at_10"]
    assert found["new arrivals"] == whole["slices"]["new arrivals"]["differences"]


def test_equal_models_draw_equal_intervals() -> None:
    twin = Result("twin", RESULTS[0].table, COVERED)
    models = compare([RESULTS[0], twin], "ease", seed=8)["models"]
    assert models["twin"]["metrics"] == models["ease"]["metrics"]


def test_a_reference_that_was_not_evaluated_is_refused() -> None:
    with pytest.raises(EvaluationError, match="'als' was not evaluated; choose among ease, ranker, popular"):
        compare(RESULTS, "als")


def test_other_evaluation_users_are_refused() -> None:
    stranger = Result("stranger", RESULTS[0].table.assign(user_id=np.arange(N_USERS) + 1), COVERED)
    with pytest.raises(SchemaMismatchError, match="stranger and ease were evaluated on different users"):
        compare([RESULTS[0], stranger], "ease")


def test_plots_show_every_model_and_slice(tmp_path: Path) -> None:
    found = compare(RESULTS, "ease")
    figures = [plot_metrics(found, ["ndcg_at_10", COVERAGE]), plot_differences(found), plot_slices(found)]
    texts = []
    for number, figure in enumerate(figures):
        path = tmp_path / f"{number}.svg"
        figure.savefig(path)
        texts.append(set(re.findall(r"<!-- (.+?) -->", path.read_text())))
    assert {"ease", "ranker", "popular", "NDCG@10", "coverage"} <= texts[0]
    assert {"ranker", "popular", "NDCG@10, model minus ease"} <= texts[1]
    assert "ease" not in texts[1]
    assert {"history of up to 20", "7 users", "new arrivals"} <= texts[2]
