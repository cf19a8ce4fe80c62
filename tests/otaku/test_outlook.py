"""What is said to happen next is what the schedules do."""

import re
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert

from otaku.outlook import RETRAINING_AT, choose_first_day, compute_next_retraining, describe_next
from recsys.storage.arrival_queue import start_queue
from recsys.storage.database import create_database_engine
from recsys.storage.tables import future_users, items
from retrain_model.days import LAST_ARRIVALS

DAGS = Path(__file__).resolve().parents[2] / "dags"
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)  # a Wednesday


def test_times_are_those_of_the_dags() -> None:
    def read_cron(name: str) -> str:
        found = re.search(r'CronDataIntervalTimetable\("([^"]+)"', (DAGS / f"{name}_dag.py").read_text())
        assert found
        return found[1]

    assert read_cron("add_new_users") == f"{LAST_ARRIVALS.minute} {LAST_ARRIVALS.hour} * * *"
    assert read_cron("retrain_model") == f"{RETRAINING_AT.minute} {RETRAINING_AT.hour} * * 0"


def test_the_first_day_is_the_first_whose_arrivals_are_still_to_come() -> None:
    assert choose_first_day(NOON) == date(2026, 3, 4)
    assert choose_first_day(NOON.replace(hour=21, minute=50)) == date(2026, 3, 5)


def test_the_next_retraining_is_on_sunday() -> None:
    assert compute_next_retraining(NOON) == datetime(2026, 3, 8, 22, 30, tzinfo=UTC)
    assert compute_next_retraining(datetime(2026, 3, 8, 22, 30, tzinfo=UTC)) == datetime(
        2026, 3, 15, 22, 30, tzinfo=UTC
    )


@pytest.mark.local
def test_what_comes_next_is_said_from_the_tables(database_url: str) -> None:
    engine = create_database_engine(database_url)
    assert "`otaku ingest DIR`" in describe_next(engine, NOON, has_airflow=True)
    with engine.begin() as connection:
        connection.execute(insert(items).values(item_id=1, title="A"))
        connection.execute(insert(future_users).values(user_id=7, position=0, item_ids=[1], ratings=[9]))
        start_queue(connection, date(2026, 3, 6))
    told = describe_next(engine, NOON, has_airflow=True)
    assert "1 users wait; the next cohort arrives on 2026-03-06 at 21:50 UTC." in told
    assert "`otaku retrain` trains one now" in told
    assert "Sunday, 2026-03-08, at 22:30 UTC" in told
    assert "`otaku simulate --day 2026-03-06`" in describe_next(engine, NOON, has_airflow=False)
    engine.dispose()
