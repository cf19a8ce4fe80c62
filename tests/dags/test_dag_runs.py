"""The DAGs run by Airflow itself against a real PostgreSQL."""

import json
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, Table, insert, select

from otaku.platform.airflow import configure_lineage
from otaku.platform.environment import settings_environment
from recsys.data.sample_world import write_sample_world
from recsys.settings import Settings
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.database import create_database_engine
from recsys.storage.ingestion import ingest_directory
from recsys.storage.tables import arrivals, decisions, future_users, items, ratings, user_preferences, users

RunDag = Callable[..., list[dict[str, Any]]]
# A run stands for the day on which its data interval ends.
SUNDAY = "2026-01-11T22:30:00+00:00"
MONDAY, TUESDAY = "2026-01-05T21:50:00+00:00", "2026-01-06T21:50:00+00:00"


@pytest.fixture
def engine(database_url: str) -> Engine:
    """A database with four titles and a queue of 200 users."""
    engine = create_database_engine(database_url)
    users = [
        {"user_id": 1000 + position, "position": position, "item_ids": [1, 2 + position % 3], "ratings": [7, 9]}
        for position in range(200)
    ]
    with engine.begin() as connection:
        titles = [{"item_id": item, "title": f"Title {item}", "genres": ["Drama"]} for item in range(1, 5)]
        connection.execute(insert(items), titles)
        connection.execute(insert(future_users), users)
    yield engine
    engine.dispose()


def read_rows(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Read what a day writes, without the moment at which it was written."""

    def rows(table: Table) -> list[tuple[Any, ...]]:
        columns = [column for column in table.c if column.name not in {"created_at", "given_at", "source"}]
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(select(*columns).order_by(*table.primary_key))]

    return {table.name: rows(table) for table in (users, ratings, user_preferences, arrivals)}


def configure(lineage: Path) -> dict[str, str]:
    """Let Airflow append lineage to a file, as the local platform does."""
    section = configure_lineage(Settings(lineage_file=lineage, _env_file=None))  # type: ignore[call-arg]
    return {f"AIRFLOW__OPENLINEAGE__{name}".upper(): str(value) for name, value in section.items()}


def read_lineage(path: Path) -> dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]]]]:
    """Read inputs and outputs of the last completed run of each job, as namespace and name."""
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert {event["job"]["namespace"] for event in events} == {"otaku"}
    return {
        event["job"]["name"]: tuple(
            [(dataset["namespace"], dataset["name"]) for dataset in event[role]] for role in ("inputs", "outputs")
        )
        for event in events
        if event["eventType"] == "COMPLETE"
    }


@pytest.mark.local
@pytest.mark.slow
def test_users_arrive_once_however_often_and_in_whatever_order_the_days_run(
    engine: Engine, database_url: str, run_dag: RunDag, tmp_path: Path
) -> None:
    lineage = tmp_path / "lineage.jsonl"
    environment = {"OTAKU_DATABASE_URL": database_url, **configure(lineage)}

    (rehearsal,) = run_dag("add_new_users", (MONDAY, {"dry_run": True}), environment=environment)
    assert rehearsal["state"] == "success"
    assert all(rows == [] for rows in read_rows(engine).values())

    later, earlier = run_dag("add_new_users", (TUESDAY, {}), (MONDAY, {}), environment=environment)
    assert (later["state"], earlier["state"]) == ("success", "success")
    after = read_rows(engine)
    assert [str(row[0]) for row in after["arrivals"]] == ["2026-01-05", "2026-01-06"]
    said = {name: rehearsal["returned"]["add_cohort"][name] for name in ("day", "n_users", "n_ratings", "n_generated")}
    assert said.items() <= earlier["returned"]["add_cohort"].items()
    assert earlier["returned"]["add_cohort"]["day"] == "2026-01-05"
    counted = earlier["returned"]["add_cohort"]["n_users"] + later["returned"]["add_cohort"]["n_users"]
    assert counted == len(after["users"]) == len(after["user_preferences"])

    inputs, outputs = read_lineage(lineage)["add_new_users.add_cohort"]
    assert [name.partition(".")[2] for _, name in inputs] == ["otaku.future_users"]
    assert {"otaku.users", "otaku.ratings", "otaku.arrivals"} <= {name.partition(".")[2] for _, name in outputs}
    assert {namespace for namespace, _ in (*inputs, *outputs)} == {f"postgres://{engine.url.host}:{engine.url.port}"}

    again = run_dag("add_new_users", (MONDAY, {}), (TUESDAY, {}), environment=environment)
    assert read_rows(engine) == after
    # An event means that rows changed, and says how many.
    assert [run["tasks"] for run in (rehearsal, *again)] == [{"add_cohort": "skipped"}] * 3
    assert [run["events"] for run in (rehearsal, *again)] == [{}] * 3
    assert again[0]["skipped"]["add_cohort"] == again[0]["returned"]["add_cohort"]["sentence"]
    told = [run["events"]["otaku.ratings"] for run in (later, earlier)]
    assert sum(found["n_rows"] for found in told) == len(after["ratings"])
    assert [(found["day"], found["n_users"]) for found in told] == [
        (run["returned"]["add_cohort"]["day"], run["returned"]["add_cohort"]["n_users"]) for run in (later, earlier)
    ]


@pytest.mark.slow
def test_a_non_retryable_error_fails_at_once(run_dag: RunDag) -> None:
    environment = {"OTAKU_DATABASE_URL": "mysql://nowhere/otaku"}
    (run,) = run_dag("add_new_users", (MONDAY, {}), environment=environment, retry=True)
    assert (run["state"], run["tasks"], run["tries"]) == ("failed", {"add_cohort": "failed"}, {"add_cohort": 1})


@pytest.mark.slow
def test_an_error_that_no_retry_can_fix_is_permanent(run_dags: RunDag) -> None:
    names = ("ChangedInputsError", "StaleChampionError", "UnfinishedDayError", "RegistryError")
    # Each week ends with another one.
    days = ("2026-01-11", "2026-01-18", "2026-01-25", "2026-02-01")
    weeks = [("retrain_model", f"{day}T22:30:00+00:00", {}, {}) for day in days]

    found = run_dags(*weeks, retry=True, raises=[("retrain_model", f"recsys.exceptions.{name}") for name in names])

    ends = [(run["state"], run["tasks"]["snapshot"], run["tries"]["snapshot"]) for run in found]
    assert dict(zip(names, ends, strict=True)) == dict.fromkeys(names, ("failed", "failed", 1))


@pytest.mark.local
@pytest.mark.slow
def test_retraining_follows_the_verdict_and_a_rehearsal_moves_nothing(
    settings: Settings, store: ArtifactStore, run_dag: RunDag, tmp_path: Path
) -> None:
    lineage = tmp_path / "lineage.jsonl"
    write_sample_world(tmp_path / "world", n_users=160, n_items=80, n_ratings=5000, seed=3)
    engine = create_database_engine(settings.require_database_url())
    ingest_directory(tmp_path / "world", engine, store)
    runs = [(SUNDAY, {"dry_run": dry_run}) for dry_run in (True, False, False)]
    environment = {**settings_environment(settings), **configure(lineage)}
    rehearsal, *real = run_dag("retrain_model", *runs, environment=environment)
    with engine.connect() as connection:
        (verdict,) = connection.scalars(select(decisions.c.action))
    engine.dispose()

    assert rehearsal["state"] == "success"
    assert {rehearsal["tasks"][name] for name in ("promote", "keep")} == {"skipped"}
    # Links lead to what the run made, once it is there: a dry run registers nothing.
    assert {run["links"]["snapshot"]["RunLink"] for run in (rehearsal, *real)} == {None}
    assert rehearsal["links"]["gate"]["VersionLink"] is None
    with urllib.request.urlopen(real[0]["links"]["snapshot"]["SnapshotLink"]) as response:
        assert "ratings.parquet" in response.read().decode()
    for task_id in ("evaluate", "gate", verdict):
        assert real[0]["links"][task_id]["RunLink"].startswith(f"{settings.mlflow_tracking_uri}/#/experiments/")
        assert real[0]["links"][task_id]["VersionLink"].endswith("/versions/1")
    events = [run["events"] for run in (rehearsal, *real)]
    promoted = {"otaku.production_model"} if verdict == "promote" else set()
    assert [set(found) for found in events] == [set(), promoted, set()]
    if verdict == "promote":
        told = events[1]["otaku.production_model"]
        assert (told["n_rows"], told["version"], told["day"]) == (1, 1, "2026-01-11")
    _, outputs = read_lineage(lineage)["retrain_model.train_ranker"]
    assert outputs == [
        (f"s3://{store.bucket}", real[1]["returned"]["train_ranker"].partition(store.bucket)[2].strip("/"))
    ]
    inputs, outputs = read_lineage(lineage)["retrain_model.snapshot"]
    assert [name.rpartition(".")[2] for _, name in inputs] == ["items", "users", "ratings", "watch_statuses"]
    assert [name.partition("/")[0] for _, name in outputs] == ["snapshots"]
    other = {"promote": "keep", "keep": "promote"}[verdict]
    ended = ("success", "skipped" if verdict == "promote" else "success")
    for run, end in zip(real, ended, strict=True):
        # The second run promotes nothing: a skipped task updates no asset.
        assert (run["tasks"].pop(verdict), run["tasks"].pop(other)) == (end, "skipped")
        assert run["tasks"].pop("approve") == "skipped"  # nobody has to be asked
        assert set(run["tasks"].values()) == {"success"}
        place = rf"s3://{store.bucket}/retrain/2026-01-11-[0-9a-f]{{8}}/train_ranker/"
        assert re.fullmatch(place, run["returned"]["train_ranker"])
        assert all(len(str(value)) < 300 for value in run["returned"].values())
