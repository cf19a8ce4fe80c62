"""The DAGs on the real scheduler: out of order, again, cleared, killed, and with PostgreSQL going away meanwhile."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from otaku.platform import postgres
from recsys.connections import open_store
from recsys.data.sample_world import write_sample_world
from recsys.storage.database import create_database_engine
from recsys.storage.ingestion import ingest_directory
from recsys.storage.migration import migrate
from recsys.storage.tables import decisions, users
from simulate_new_users.job import add_new_users
from tests.e2e.conftest import World

pytestmark = [pytest.mark.e2e, pytest.mark.local, pytest.mark.timeout(1800)]

FIRST, LAST = date(2026, 1, 5), date(2026, 1, 18)
SPARE = date(2026, 1, 19)
WEEK = timedelta(days=7)
SUNDAYS = (date(2026, 1, 11), date(2026, 1, 18))
ReadRows = Callable[[Engine, date], dict[str, list[tuple[Any, ...]]]]


@pytest.fixture(scope="module")
def world(open_airflow: Callable[..., World], files: Path) -> World:
    world = open_airflow()
    ingest_directory(files, world.engine, open_store(world.settings), hold_back=0.5)
    return world


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "files"
    write_sample_world(folder, n_users=800, n_items=80, n_ratings=20000, seed=5)
    return folder


@pytest.fixture(scope="module")
def undisturbed(world: World, files: Path) -> Iterator[Engine]:
    """The same world where nothing happens but what is asked for."""
    url = world.settings.require_database_url()
    postgres.create_database(url, "undisturbed")
    engine = create_database_engine(postgres.sibling_database(url, "undisturbed"))
    migrate(engine)
    ingest_directory(files, engine, open_store(world.settings), hold_back=0.5)
    yield engine
    engine.dispose()


def test_users_arrive_as_if_nothing_had_happened(world: World, undisturbed: Engine, read_rows: ReadRows) -> None:
    client = world.client
    for day in range((LAST - FIRST).days + 1):
        add_new_users(undisturbed, FIRST + timedelta(days=day))
    expected = read_rows(undisturbed, LAST)
    assert len(expected["arrivals"]) == 14

    # The second week before the first, each backwards.
    for first in (FIRST + WEEK, FIRST):
        client.wait_for_backfill(client.backfill("add_new_users", first, first + timedelta(days=6)), timeout=600)
    assert read_states(world) == {FIRST + timedelta(days=day): "success" for day in range(14)}
    assert read_rows(world.engine, LAST) == expected

    # All of it again, while PostgreSQL, which also holds Airflow's own tables, is killed three times.
    again = client.backfill("add_new_users", FIRST, LAST, again=True)
    restarts = threading.Thread(target=lambda: [(time.sleep(8), world.restart_part(postgres.NAME)) for _ in range(3)])
    restarts.start()
    restarts.join()
    client.wait_for_backfill(again, timeout=900)
    assert set(read_states(world).values()) == {"success"}
    assert read_rows(world.engine, LAST) == expected

    client.clear("add_new_users", client.read_runs("add_new_users")[FIRST]["dag_run_id"], "add_cohort")
    assert client.wait_for_run("add_new_users", FIRST, timeout=300) == "success"
    assert read_rows(world.engine, LAST) == expected


def read_states(world: World) -> dict[date, str]:
    runs = world.client.read_runs("add_new_users")
    return {day: run["state"] for day, run in sorted(runs.items()) if day <= LAST}


def test_a_killed_arrival_is_tried_again(world: World, undisturbed: Engine) -> None:
    world.client.backfill("add_new_users", SPARE, SPARE)
    world.kill_task("add_new_users", SPARE, "add_cohort")
    assert world.client.wait_for_run("add_new_users", SPARE, timeout=400) == "success"
    run = world.client.read_runs("add_new_users")[SPARE]
    assert world.client.read_tasks("add_new_users", run["dag_run_id"])["add_cohort"]["try_number"] == 2
    add_new_users(undisturbed, SPARE)
    day = select(users.c.user_id).where(users.c.arrived_on == SPARE).order_by(users.c.user_id)
    with world.engine.connect() as here, undisturbed.connect() as there:
        assert here.scalars(day).all() == there.scalars(day).all()


def test_retraining_survives_a_killed_training_and_the_gate_is_followed(world: World) -> None:
    client = world.client
    for number, sunday in enumerate(SUNDAYS, start=1):
        backfill = client.backfill("retrain_model", sunday, sunday, period=WEEK)
        if number == 1:
            world.kill_task("retrain_model", sunday, "train_ranker", timeout=600)
        client.wait_for_backfill(backfill, timeout=900)
        assert client.read_runs("retrain_model")[sunday]["state"] == "success"
        with world.engine.connect() as connection:
            verdicts = connection.scalars(select(decisions.c.action).order_by(decisions.c.decision_id)).all()
        assert len(verdicts) == number
        tasks = client.read_tasks("retrain_model", client.read_runs("retrain_model")[sunday]["dag_run_id"])
        states = {name: task["state"] for name, task in tasks.items()}
        other = {"promote": "keep", "keep": "promote"}[verdicts[-1]]
        assert (states.pop(verdicts[-1]), states.pop(other)) == ("success", "skipped")
        assert set(states.values()) == {"success"}
        assert tasks["train_ranker"]["try_number"] == (2 if number == 1 else 1)
