"""Retrainings that compete, and challengers that the gate must know what to do with."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.connections import open_engine, open_registry
from recsys.ranking.ranker import TrainingTable
from recsys.recommender import fitting
from recsys.recommender.training import HeadTables
from recsys.settings import Settings
from recsys.storage import promotion
from retrain_model.job import open_context, retrain
from tests.retrain_model.conftest import SUNDAY, OpenWorld
from tests.retrain_model.forks import FAILED, Jobs
from tests.retrain_model.worlds import copy_text_vectors, read_traces

pytestmark = [pytest.mark.local, pytest.mark.slow, pytest.mark.usefixtures("without_figures")]
WEEK = timedelta(days=7)


def test_a_challenger_with_the_bytes_of_the_champion_takes_over_as_equal(jobs: Jobs, open_evaluated: OpenWorld) -> None:
    """As designed: not different and no loss beyond the margin; it counts as the newer one."""
    settings = open_evaluated()
    assert jobs.retrain(settings, SUNDAY)[0] == 0
    registry = open_registry(settings)
    challenger, champion = registry.read_version(2), registry.read_version(1)
    assert challenger.digest == champion.digest
    with open_engine(settings) as engine:
        entry = promotion.read_ledger(engine)[-1]
    assert (entry.action, entry.evidence["outcome"]) == ("promote", "not_different")
    for criterion in entry.evidence["criteria"]:
        difference = criterion["difference"]
        assert (difference["mean"], difference["low"], difference["p_value"], difference["t"]) == (0, 0, 1, None)
    assert registry.production_version() == 2


def test_a_week_that_is_run_again_does_not_bring_its_old_data_back(jobs: Jobs, open_evaluated: OpenWorld) -> None:
    settings = open_evaluated()
    assert jobs.retrain(settings, SUNDAY + WEEK)[0] == 0
    assert jobs.retrain(settings, SUNDAY)[0] == 0
    registry = open_registry(settings)
    with open_engine(settings) as engine:
        newer, older = promotion.read_ledger(engine)[-2:]
    assert (newer.action, older.action, older.evidence["outcome"]) == ("promote", "keep", "older_data")
    assert older.reason.startswith(f"version {newer.challenger_version} in Production was trained on data until ")
    assert registry.production_version() == newer.challenger_version


def test_two_run_keys_at_once_leave_one_linear_history(jobs: Jobs, open_evaluated: OpenWorld) -> None:
    """Whoever was evaluated against a champion that is gone stops, and is evaluated again by the next run."""
    settings = open_evaluated()
    days = [SUNDAY, SUNDAY + WEEK]

    def run(day: date) -> int:
        return jobs.retrain(settings, day)[0]

    with ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(run, days))
    assert set(codes) <= {0, FAILED}
    assert 0 in codes
    assert_linear(settings)
    for day, code in zip(days, codes, strict=True):
        if code == FAILED:
            assert run(day) == 0
    traces = assert_linear(settings)
    assert sorted(run_key for run_key, *_ in traces.ledger[1:]) == [day.isoformat() for day in days]
    assert len(traces.versions) == 3


def assert_linear(settings: Settings) -> Any:
    """Each move starts from where the last one ended, and the aliases stand where the last one put them."""
    traces = read_traces(settings)
    standing, before = None, None
    for _, action, _, challenger, champion in traces.ledger:
        assert champion == standing
        if action != "keep":
            standing, before = challenger, champion
    assert traces.aliases == {"production": standing, "previous": before}
    return traces


def test_a_challenger_trained_on_shuffled_labels_is_kept_out(
    open_world: Callable[[], Settings], undisturbed: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = open_world()
    copy_text_vectors(undisturbed, settings)
    champion = open_registry(undisturbed).download(1, tmp_path)
    registry = open_registry(settings)
    registry.register_model(registry.start_run("champion"), champion, "champion")
    with open_engine(settings) as engine:
        promotion.promote(
            engine, registry, 1, run_key="champion", champion=None, actor="user:test", reason="trained with care"
        )
    rng, build_tables = np.random.default_rng(5), fitting.build_tables

    def shuffle(table: TrainingTable) -> TrainingTable:
        return replace(table, labels=rng.permutation(table.labels))

    def build_shuffled(*args: Any, **named: Any) -> HeadTables:
        tables = build_tables(*args, **named)
        return replace(tables, relevance=shuffle(tables.relevance), rating=shuffle(tables.rating))

    monkeypatch.setattr(fitting, "build_tables", build_shuffled)
    with open_context(SUNDAY, settings=settings) as context:
        report = retrain(context)
    assert report.action == "keep"
    assert report.decision["outcome"] in ("worse", "inconclusive", "worse_ratings", "guardrail_failed")
    primary = report.decision["criteria"][0]["difference"]
    assert primary["mean"] < 0
    assert read_traces(settings).aliases == {"production": 1, "previous": None}


def test_a_champion_of_another_format_is_not_compared_with_and_can_be_replaced(
    open_world: Callable[[], Settings], undisturbed: Settings, tmp_path: Path
) -> None:
    settings = open_world()
    copy_text_vectors(undisturbed, settings)
    champion = open_registry(undisturbed).download(1, tmp_path)
    stored = json.loads((champion / "recommender.json").read_text())
    (champion / "recommender.json").write_text(json.dumps(stored | {"format": 1}))
    registry = open_registry(settings)
    registry.register_model(registry.start_run("champion"), champion, "champion")
    with open_engine(settings) as engine:
        promotion.promote(
            engine, registry, 1, run_key="champion", champion=None, actor="user:test", reason="an older code made it"
        )
    with open_context(SUNDAY, settings=settings) as context:
        report = retrain(context)
    assert report.action == "promote"
    assert report.decision["reference"] == "popularity"
    assert "version 1 in Production was not compared with: the version has format 1" in report.decision["reason"]
    assert read_traces(settings).aliases == {"production": 2, "previous": 1}
