"""Where jobs run, where their services come from, and what becomes of a task that has nothing to do."""

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select
from sqlalchemy.engine import make_url

from recsys.settings import Settings
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.database import create_database_engine
from recsys.storage.tables import arrivals, feedback, future_users, items, ratings, users
from simulate_new_users.arrivals import EPOCH, draw_cohort_size
from tests.conftest import spell_mlflow_credentials

RunDags = Callable[..., list[dict[str, Any]]]
MONDAY, TUESDAY = "2026-01-05T21:50:00+00:00", "2026-01-06T21:50:00+00:00"
SUNDAY = "2026-01-11T22:30:00+00:00"
OWN = ("app", "otaku", "recsys", "retrain_model", "simulate_new_users")
HEAVY = ("lightgbm", "mlflow", "pandas", "scipy", "torch")
ELSEWHERE = {"OTAKU_TASK_PYTHON": sys.executable}

pytestmark = [pytest.mark.slow, pytest.mark.local]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Four titles, one user who is known, and a queue of 60."""
    engine = create_database_engine(database_url)
    known_users = [
        {"user_id": 1000 + position, "position": position, "item_ids": [1, 2 + position % 3], "ratings": [7, 9]}
        for position in range(60)
    ]
    with engine.begin() as connection:
        titles = [{"item_id": item, "title": f"Title {item}", "genres": ["Drama"]} for item in range(1, 5)]
        connection.execute(insert(items), titles)
        connection.execute(insert(future_users), known_users)
        connection.execute(insert(users).values(user_id=1, batch_id="ingest"))
    yield engine
    engine.dispose()


@pytest.mark.parametrize(
    ("place", "without"),
    [
        pytest.param({}, (), id="in the task"),
        pytest.param(ELSEWHERE, (*OWN, *HEAVY), id="in another Python", marks=pytest.mark.e2e),
    ],
)
def test_a_job_does_the_same_wherever_it_runs(
    place: dict[str, str],
    without: tuple[str, ...],
    engine: Engine,
    database_url: str,
    empty_database_url: str,
    run_dags: RunDags,
) -> None:
    """With another Python, Airflow's own has nothing of the platform."""
    # As `airflow connections add --conn-uri` takes it.
    url = make_url(database_url).set(drivername="postgres").render_as_string(hide_password=False)
    by_setting, by_connection = {"OTAKU_DATABASE_URL": database_url, **place}, {"AIRFLOW_CONN_OTAKU_DB": url, **place}
    nothing_yet = {"OTAKU_DATABASE_URL": empty_database_url, **place}
    named, connected, empty, senseless = run_dags(
        ("add_new_users", MONDAY, {}, by_setting),
        ("add_new_users", TUESDAY, {}, by_connection),
        ("add_new_users", MONDAY, {}, nothing_yet),
        ("add_new_users", MONDAY, {}, {**by_setting, "OTAKU_COHORT_MIN": "30"}),
        without=without,
        retry=True,
    )
    assert (named["state"], connected["state"]) == ("success", "success")
    answer = named["returned"]["add_cohort"]
    assert (answer["day"], answer["n_users"]) == ("2026-01-05", draw_cohort_size(EPOCH))
    with engine.connect() as connection:
        assert sorted(map(str, connection.scalars(select(arrivals.c.day)))) == ["2026-01-05", "2026-01-06"]
    assert (empty["state"], empty["tasks"]) == ("success", {"add_cohort": "skipped"})
    assert (senseless["tasks"], senseless["tries"]) == ({"add_cohort": "failed"}, {"add_cohort": 1})


def test_feedback_once_and_s3_by_connection(
    engine: Engine, settings: Settings, store: ArtifactStore, empty_database_url: str, run_dags: RunDags
) -> None:
    event = {"idempotency_key": "a", "user_id": 1, "item_id": 2, "kind": "rating", "rating": 9}
    with engine.begin() as connection:
        connection.execute(insert(feedback).values(event))
    by_setting = {"OTAKU_DATABASE_URL": settings.require_database_url()}
    # On a database without ratings a retraining gets as far as the bucket, which it makes.
    key, secret = settings.aws_access_key_id, settings.aws_secret_access_key
    assert key is not None
    assert secret is not None
    bucket = f"{settings.s3_bucket}-2"
    extra = {
        "endpoint_url": str(settings.s3_endpoint_url).rstrip("/"),
        "service_config": {"s3": {"bucket_name": bucket}},
    }
    login = {"conn_type": "aws", "login": key.get_secret_value(), "password": secret.get_secret_value()}
    by_connection = {
        "OTAKU_DATABASE_URL": empty_database_url,
        "MLFLOW_TRACKING_URI": str(settings.mlflow_tracking_uri),
        **spell_mlflow_credentials(settings),
        "AIRFLOW_CONN_OTAKU_S3": json.dumps(login | {"extra": extra}),
    }
    rehearsal, first, second, retraining = run_dags(
        ("ingest_feedback", MONDAY, {"dry_run": True}, by_setting),
        ("ingest_feedback", MONDAY, {"dry_run": False}, by_setting),
        ("ingest_feedback", TUESDAY, {"dry_run": False}, by_setting),
        ("retrain_model", SUNDAY, {}, by_connection),
    )
    assert rehearsal["returned"]["fold_feedback"]["n_ratings"] == 1
    told = ("day", "n_feedback", "n_ratings", "n_statuses", "last_feedback_id")
    would, did = (run["returned"]["fold_feedback"] for run in (rehearsal, first))
    assert [would[name] for name in told] == [did[name] for name in told]
    assert rehearsal["tasks"] == {"fold_feedback": "skipped"}
    assert [run["events"] for run in (rehearsal, first, second)] == [
        {},
        {"otaku.ratings": {"n_rows": 1, "day": "2026-01-05"}},
        {},
    ]
    assert (second["state"], second["tasks"]) == ("success", {"fold_feedback": "skipped"})
    query = select(ratings.c.user_id, ratings.c.item_id, ratings.c.rating)
    with engine.connect() as connection:
        assert [tuple(row) for row in connection.execute(query)] == [(1, 2, 9)]
    assert (retraining["state"], set(retraining["tasks"].values())) == ("success", {"skipped"})
    assert bucket in {entry["Name"] for entry in store._client.list_buckets()["Buckets"]}
