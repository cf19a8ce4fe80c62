"""Killed at any instant and run again, or run twice at once: the end is that of one undisturbed run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from recsys.connections import open_engine, open_store
from recsys.settings import Settings
from recsys.storage.tables import items, ratings, users
from tests.retrain_model.conftest import SUNDAY, Start, as_of
from tests.retrain_model.worlds import (
    Traces,
    copy_text_vectors,
    finished_steps,
    fitted_files,
    name_day,
    read_traces,
    to_environment,
)

pytestmark = [pytest.mark.local, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
RUN_KEY = SUNDAY.isoformat()
ORDER = ("snapshot", "embed_text", "fit_retrieval", "train_ranker", "evaluate", "gate")
PUT = "recsys.storage.artifacts:ArtifactStore.write_bytes"


def at(target: str, nth: int = 1, containing: str = "") -> dict[str, Any]:
    return {"target": target, "nth": nth, "containing": containing}


# In the order of the job: the call before which it dies, and how many steps have been published by then.
INSTANTS = [
    (at(PUT, containing="/snapshot/manifest.json"), 0),
    (at("retrain_model.text_cache:_write_pack", nth=2), 1),
    (at(PUT, containing="/embed_text/manifest.json"), 1),
    (at("recsys.retrieval.first_stage:FirstStage.save", nth=3), 2),
    (at("recsys.ranking.ranker:lgb.train", nth=2), 3),
    (at("recsys.storage.registry.versions:Registry._create_version"), 4),
    (at(PUT, containing="/evaluate/manifest.json"), 4),
    (at(PUT, containing="/gate/manifest.json"), 5),
    (at("retrain_model.steps.decision:record_decision"), 6),
    (at("recsys.storage.registry.versions:Registry.point_alias"), 6),
    (at("recsys.storage.registry.versions:Registry.annotate"), 6),
]


def assert_same_end(found: Traces, expected: Traces) -> None:
    assert found.ledger == expected.ledger
    assert found.aliases == expected.aliases
    assert found.versions == expected.versions
    assert found.runs == expected.runs
    assert found.manifests.keys() == expected.manifests.keys()
    assert fitted_files(found, RUN_KEY) == fitted_files(expected, RUN_KEY)


def add_some_user(settings: Settings, user_id: int) -> None:
    with open_engine(settings) as engine, engine.begin() as connection:
        item_ids = connection.scalars(select(items.c.item_id)).all()[:8]
        connection.execute(insert(users).values(user_id=user_id, batch_id="ingest").on_conflict_do_nothing())
        rows = [{"user_id": user_id, "item_id": item_id, "rating": 9} for item_id in item_ids]
        connection.execute(insert(ratings).values(rows).on_conflict_do_nothing())


def test_an_undisturbed_run_promotes_the_first_model(undisturbed: Settings) -> None:
    traces = read_traces(undisturbed)
    ((run_key, action, reason, challenger, champion),) = traces.ledger
    assert (run_key, action, challenger, champion) == (RUN_KEY, "promote", 1, None)
    assert traces.aliases == {"production": 1, "previous": None}
    ((version, version_key, _, description),) = traces.versions
    assert (version, version_key, description.splitlines()[0]) == (1, RUN_KEY, reason)
    assert traces.runs == [(RUN_KEY, "FINISHED")]
    assert finished_steps(traces, RUN_KEY) == set(ORDER)


@pytest.mark.e2e
@pytest.mark.timeout(1200)
def test_killed_at_every_stage_in_turn(
    open_world: Callable[[], Settings], start_retrain: Start, undisturbed: Settings
) -> None:
    settings = open_world()
    for stop, n_finished in INSTANTS:
        start_retrain(settings, *as_of(SUNDAY), stop=stop).kill_at_stop()
        traces = read_traces(settings)
        assert finished_steps(traces, RUN_KEY) == set(ORDER[:n_finished]), stop
        is_written = stop["target"].endswith(("point_alias", "annotate"))
        assert len(traces.ledger) == int(is_written), stop
        assert traces.aliases["production"] == (1 if stop["target"].endswith("annotate") else None), stop
        if n_finished == 2:
            # Whoever comes while the job lies dead belongs to the next week, whatever day they are filed under.
            add_some_user(settings, 5_000_000 + len(traces.manifests))
    final = start_retrain(settings, *as_of(SUNDAY))
    assert final.wait() == 0, final.log.read_text()
    assert_same_end(read_traces(settings), read_traces(undisturbed))


def test_a_real_process_killed_while_it_publishes(
    open_world: Callable[[], Settings], start_retrain: Start, undisturbed: Settings
) -> None:
    settings = open_world()
    copy_text_vectors(undisturbed, settings)
    store = open_store(settings)
    environment = os.environ | to_environment(settings)
    command = [sys.executable, "-m", "retrain_model", *as_of(SUNDAY)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 400
        while not any("/fit_retrieval/fold-" in key for key in store.list_keys(f"retrain/{RUN_KEY}-")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert "train_ranker" not in finished_steps(read_traces(settings), RUN_KEY)
    again = start_retrain(settings, *as_of(SUNDAY))
    assert again.wait() == 0, again.log.read_text()
    assert_same_end(read_traces(settings), read_traces(undisturbed))


def test_two_jobs_at_once_have_one_effect(
    open_world: Callable[[], Settings], start_retrain: Start, undisturbed: Settings
) -> None:
    settings = open_world()
    copy_text_vectors(undisturbed, settings)
    forks = [start_retrain(settings, *as_of(SUNDAY)) for _ in range(2)]
    assert [fork.wait() for fork in forks] == [0, 0], [fork.log.read_text() for fork in forks]
    assert_same_end(read_traces(settings), read_traces(undisturbed))
    # Each step was built by one of the two and found by the other.
    text = name_day("".join(fork.log.read_text() for fork in forks))
    assert [text.count(f"{step} of {RUN_KEY} is already there") for step in ORDER[:-1]] == [1] * 5
