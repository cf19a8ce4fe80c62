"""The verdict over the simulated error rates: a real fault is named, chance in one of many cells is not."""

from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from recsys.gate.calibration import binomial_interval
from tests.modules import import_file

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gate_calibration.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return import_file(SCRIPT)


def build_rows(script: ModuleType, n_promoted: int, n_trials: int) -> list[dict[str, Any]]:
    """Forty cells whose rates are as they should be, and one of models worse by the margin."""
    fine = {"rule": script.GATE, "source": "fine", "version": False, "lift": -script.MARGIN, "n_users": 200}
    rate = asdict(binomial_interval(n_trials * 3 // 100, n_trials))
    rows = [{**fine, "different": rate, "promoted": rate} for _ in range(40)]
    watched = asdict(binomial_interval(n_promoted, n_trials))
    return [*rows, {**fine, "source": "watched", "different": rate, "promoted": watched}]


@pytest.mark.parametrize(("n_promoted", "n_trials", "named"), [(13, 150, False), (26, 150, True), (75, 1000, True)])
def test_a_rate_is_out_of_bounds_when_chance_in_all_cells_does_not_explain_it(
    script: ModuleType, n_promoted: int, n_trials: int, named: bool
) -> None:
    faults = script.find_faults(build_rows(script, n_promoted, n_trials), [])
    assert [fault.startswith("watched, 200 users, lift -1%") for fault in faults] == [True] * named


def test_what_promotes_too_little_or_drifts_is_named(script: ModuleType) -> None:
    rate, seldom = asdict(binomial_interval(50, 1000)), asdict(binomial_interval(700, 1000))
    cell = {"rule": script.GATE, "source": "ranker", "version": True, "lift": 0.0, "n_users": script.PROMISED_USERS}
    chain = {"rule": script.CHAIN, "source": "ranker", "kept": asdict(binomial_interval(80, 100))}
    assert script.find_faults([{**cell, "different": rate, "promoted": seldom}], [chain]) == [
        "ranker, 600 users, lift +0%: promoted in 70.0% only",
        "ranker: 80.0% of the chains stay within the margin",
    ]
