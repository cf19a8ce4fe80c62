"""What a retraining will hold in memory, by the size of the data."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import text

from recsys.connections import open_engine
from recsys.memory import Memory
from recsys.ranking.params import get_preset
from recsys.settings import Settings
from recsys.storage.artifacts import ArtifactStore
from retrain_model import steps
from retrain_model.context import ROOT, USAGE
from retrain_model.job import open_context
from retrain_model.memory_needs import MIB, DataSize, count_data, predict_needs, predict_peaks, read_last_peaks
from tests.retrain_model.conftest import SUNDAY

REAL = DataSize(n_users=6_491, n_items=17_562, n_ratings=731_325, n_frequent=3_657)


def test_more_data_more_features_and_more_threads_take_more() -> None:
    default, original = get_preset("default"), get_preset("original")
    usual = predict_peaks(REAL, default, 2)
    assert predict_peaks(replace(REAL, n_frequent=9_000), default, 2)["fit_retrieval"] > usual["fit_retrieval"] + 1_000
    assert predict_peaks(replace(REAL, n_users=60_000), default, 2)["train_ranker"] > usual["train_ranker"] + 1_000
    assert predict_peaks(REAL, original, 2)["train_ranker"] > usual["train_ranker"]
    assert predict_peaks(REAL, default, 1)["train_ranker"] < usual["train_ranker"]


@pytest.mark.local
def test_present_users_are_counted_and_titles_with_enough_ratings(open_world: Callable[[], Settings]) -> None:
    with open_engine(open_world()) as engine, engine.connect() as connection:
        size = count_data(connection)
        sql = {
            "n_users": "SELECT count(DISTINCT user_id) FROM otaku.ratings",
            "n_items": "SELECT count(*) FROM otaku.items",
            "n_ratings": "SELECT count(*) FROM otaku.ratings",
            "n_frequent": "SELECT count(*) FROM (SELECT 1 FROM otaku.ratings GROUP BY item_id HAVING count(*) >= 25) f",
        }
        expected = DataSize(**{name: connection.scalar(text(query)) for name, query in sql.items()})
    assert size == expected
    assert 0 < size.n_frequent < size.n_items


@pytest.mark.local
def test_a_retraining_on_a_machine_that_is_too_small_begins_with_a_warning(
    open_world: Callable[[], Settings], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("retrain_model.steps.fit.read_memory", lambda: Memory(1 << 30, 1 << 27))
    with open_context(SUNDAY, settings=open_world()) as context, caplog.at_level(logging.WARNING):
        steps.snapshot(context)
    assert "memory may not suffice: about " in caplog.text
    assert "and 0.1 GiB are free" in caplog.text


@pytest.mark.local
def test_what_the_last_retraining_took_is_the_least_that_is_predicted(store: ArtifactStore) -> None:
    assert read_last_peaks(store) == {}
    for run, step, peak in (("2026-01-04-a", "fit_retrieval", 9_000.0), ("2026-01-11-b", "evaluate", 5_000.0)):
        store.write_bytes(f"{ROOT}/{run}/{step}{USAGE}", json.dumps({"peak_mib": peak}).encode())
    assert read_last_peaks(store) == {"evaluate": 5_000.0}


@pytest.mark.local
def test_a_step_takes_no_less_than_the_last_time(open_world: Callable[[], Settings]) -> None:
    with open_engine(open_world()) as engine, engine.connect() as connection:
        needs = predict_needs(connection, get_preset("default"), 2, {"evaluate": 5_120.0, "train_ranker": 1.0})
    assert (needs.step, needs.n_bytes) == ("evaluate", 5_120 * MIB)
    assert str(needs).startswith("about 5.0 GiB for ")
