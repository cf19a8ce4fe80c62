"""The drift job against real services: a day once, a breach asks once, and nothing is left by whoever dies."""

import json
import logging
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine, insert, select
from typer.testing import CliRunner

from otaku.cli import app
from recsys.columns import Columns
from recsys.connections import open_registry, open_store
from recsys.settings import Settings
from recsys.storage.database import create_database_engine, upsert_rows
from recsys.storage.tables import decisions, drift_reports, items, ratings, users
from retrain_model.drift import __main__
from retrain_model.drift.job import DriftRow, monitor_drift
from retrain_model.drift.options import DriftRules
from tests.factories import tiny_world
from tests.fork_server import Program
from tests.recipes import put_into_production
from tests.retrain_model.worlds import to_environment

pytestmark = pytest.mark.local
ROOT = Path(__file__).parents[2]
CATALOG, INTERACTIONS = tiny_world()
LEARNT_UNTIL, DAY = date(2026, 1, 11), date(2026, 1, 14)
FIRST_NEW_USER = 5000

STOP_HALF_WAY = """
import sys, time
from retrain_model.drift import __main__, job
def stop(*_):
    print("half-way", flush=True)
    time.sleep(60)
job._write_row = stop
sys.exit(__main__.main(["--day", sys.argv[1]]))
"""


@dataclass(frozen=True)
class World:
    """A database with 160 users that version 1 was trained on, and version 1 in Production."""

    settings: Settings
    engine: Engine

    def add_users(self, arrived_on: date, *, rating: int | None = None) -> None:
        """Let copies of half of the known users arrive: as they are, or as users who rate everything alike."""
        table = INTERACTIONS.select_users(INTERACTIONS.user_ids[:80]).table
        ids = table[Columns.User] + FIRST_NEW_USER
        given = table[Columns.Rating] if rating is None else rating
        with self.engine.begin() as connection:
            known_users = pd.DataFrame({"user_id": ids.unique(), "arrived_on": arrived_on, "batch_id": "test"})
            upsert_rows(connection, users, known_users)
            upsert_rows(connection, ratings, table.assign(user_id=ids, rating=given))

    def monitor(self, day: date, rules: DriftRules | None = None) -> DriftRow:
        store, registry = open_store(self.settings), open_registry(self.settings)
        return monitor_drift(self.engine, store, registry, day, rules or DriftRules())

    def evaluated(self, run_key: str) -> None:
        row = {"run_key": run_key, "action": "keep", "actor": "gate", "reason": "test", "evidence": {}}
        with self.engine.begin() as connection:
            connection.execute(insert(decisions).values(row))

    def read_rows(self) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(select(drift_reports).order_by(drift_reports.c.day))]


@pytest.fixture
def world(settings: Settings) -> Iterator[World]:
    settings = settings.model_copy(update={"model_name": f"drift-{settings.s3_bucket[-8:]}"})
    engine = create_database_engine(settings.require_database_url())
    with engine.begin() as connection:
        upsert_rows(connection, items, CATALOG.items)
        upsert_rows(connection, users, pd.DataFrame({"user_id": INTERACTIONS.user_ids, "batch_id": "test"}))
        upsert_rows(connection, ratings, INTERACTIONS.table)
    put_into_production(settings, engine, LEARNT_UNTIL)
    yield World(settings, engine)
    engine.dispose()


def test_the_same_users_ask_for_nothing(world: World) -> None:
    world.add_users(DAY)
    row = world.monitor(DAY)
    assert (row.breached, row.retraining_wanted, row.reason) == (False, False, "the model still fits the users")
    assert (row.report["n_reference"], row.report["n_current"], row.report["age_days"]) == (160, 80, 3)
    assert row.report["unknown_share"] == 0


def test_other_users_request_once_and_not_within_the_rest_days(world: World) -> None:
    world.add_users(DAY, rating=2)
    row = world.monitor(DAY)
    assert row.retraining_wanted
    assert "mean rating" in row.reason
    store = open_store(world.settings)
    names = {key.rsplit("/", 1)[1] for key in store.list_keys(store.key(row.report_uri))}
    assert names == {"drift.png", "report.json", "report.md", "manifest.json"}
    assert row.reason in store.read_bytes(f"drift/{DAY}/report.md").decode()
    assert json.loads(store.read_bytes(f"drift/{DAY}/report.json"))["features"] == row.report["features"]

    world.evaluated(f"{DAY}")
    tomorrow = world.monitor(DAY + timedelta(days=1))
    assert (tomorrow.breached, tomorrow.retraining_wanted) == (True, False)
    assert f"trained until {DAY} was evaluated" in tomorrow.reason
    assert world.monitor(DAY + timedelta(days=3)).retraining_wanted
    # A challenger of later is no reason for an earlier day to rest.
    assert world.monitor(DAY - timedelta(days=1)).report["n_current"] == 0


def test_a_measured_day_is_left_as_it_is(world: World) -> None:
    first = world.monitor(DAY)
    rows = world.read_rows()
    world.add_users(DAY, rating=2)
    assert world.monitor(DAY) == first
    assert world.read_rows() == rows


def test_titles_the_model_does_not_know_and_its_age_are_breaches(world: World) -> None:
    with world.engine.begin() as connection:
        connection.execute(insert(items).values(item_id=77777, title="New", genres=["Action"]))
        connection.execute(insert(users).values(user_id=9000, arrived_on=DAY, batch_id="test"))
        connection.execute(insert(ratings), [{"user_id": 9000, "item_id": n, "rating": 8} for n in (1, 77777)])
    row = world.monitor(DAY + timedelta(days=36), DriftRules(window_days=60))
    assert row.report["unknown_share"] == 0.5
    assert "50.0% of the ratings" in row.reason
    assert "newer than 39 days" in row.reason
    assert row.retraining_wanted


def test_nothing_promoted_yet_is_not_a_failure(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in to_environment(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OTAKU_MODEL_NAME", f"nothing-{settings.s3_bucket[-8:]}")
    assert __main__.main(["--day", "2026-01-12"]) == 99
    assert capsys.readouterr().err.startswith("retrain_model.drift: nothing was promoted yet")


def test_killed_before_its_row_and_run_again_is_as_if_undisturbed(world: World) -> None:
    world.add_users(DAY, rating=2)
    environment = os.environ | to_environment(world.settings)
    with Program(["-c", STOP_HALF_WAY, str(DAY)], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half-way\n"
        process.send_signal(signal.SIGKILL)
    assert world.read_rows() == []
    assert world.monitor(DAY).retraining_wanted
    assert [row[0] for row in world.read_rows()] == [DAY]


def test_two_at_once_write_one_row(world: World) -> None:
    world.add_users(DAY, rating=2)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: world.monitor(DAY), range(2))
    assert first == second
    assert len(world.read_rows()) == 1


def test_the_command_shows_what_stands(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, restore_logging: None
) -> None:
    world.add_users(DAY, rating=2)
    monkeypatch.chdir(tmp_path)
    for name, value in to_environment(world.settings).items():
        monkeypatch.setenv(name, value)
    runner = CliRunner()
    shown = runner.invoke(app, ["drift", "--day", str(DAY)], catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    row = json.loads(runner.invoke(app, ["drift", "--day", str(DAY), "--json"], catch_exceptions=False).stdout)
    assert row["reason"] in shown.output
    assert all(found["name"] in shown.output for found in row["report"]["features"])
    # A look stores no row: the nightly job measures the day as it is then, and later looks show that.
    assert world.read_rows() == []
    measured = world.monitor(DAY)
    row = json.loads(runner.invoke(app, ["drift", "--day", str(DAY), "--json"], catch_exceptions=False).stdout)
    assert (row["report_uri"], row["is_new"]) == (measured.report_uri, False)


@pytest.fixture
def restore_logging() -> Iterator[None]:
    """Leave the levels of the loggers as they were; commands set them."""
    names = ("otaku", "recsys", "retrain_model", "simulate_new_users", "app")
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
