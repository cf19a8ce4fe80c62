"""`otaku snapshots` against a real store, in this process."""

import json
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from otaku.cli import app
from otaku.platform.environment import settings_environment
from recsys.connections import open_engine
from recsys.data.sample_world.writer import write_sample_world
from recsys.exceptions import ArtifactError
from recsys.settings import Settings
from recsys.storage import tables
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.database import upsert_rows
from recsys.storage.ingestion import ingest_directory
from recsys.storage.snapshots import write_snapshot

pytestmark = pytest.mark.local


@pytest.fixture
def digests(settings: Settings, store: ArtifactStore, tmp_path: Path) -> tuple[str, str]:
    """Two snapshots: of an ingest, and of a retraining after a user had arrived."""
    write_sample_world(tmp_path / "world", n_users=60, n_items=80, n_ratings=1_500, seed=3)
    with open_engine(settings) as engine:
        first = ingest_directory(tmp_path / "world", engine, store, hold_back=0.0).snapshot_uri
        with engine.begin() as connection:
            item_id = connection.execute(tables.items.select().limit(1)).one().item_id
            arrived = pd.DataFrame({"user_id": [9_999], "arrived_on": [date(2026, 1, 9)], "batch_id": "x"})
            upsert_rows(connection, tables.users, arrived)
            rated = pd.DataFrame({"user_id": [9_999], "item_id": [item_id], "rating": [7]})
            upsert_rows(connection, tables.ratings, rated)
        second = write_snapshot(engine, store, None)
    store.write_bytes("retrain/2026-01-11/snapshot/snapshot.json", json.dumps({"uri": second}).encode())
    return first.split("/")[-2], second.split("/")[-2]


@pytest.fixture
def runner(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    for name, value in settings_environment(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return CliRunner()


def invoke(runner: CliRunner, *arguments: str) -> str:
    result = runner.invoke(app, ["snapshots", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_snapshots_are_listed_shown_compared_and_restored(
    runner: CliRunner, digests: tuple[str, str], tmp_path: Path
) -> None:
    first, second = digests
    listed = json.loads(invoke(runner, "list", "--json"))
    assert [(entry["digest"], entry["run_keys"]) for entry in listed] == [(second, ["2026-01-11"]), (first, [])]
    assert first[:12] in invoke(runner, "list")
    shown = json.loads(invoke(runner, "show", "2026-01-11", "--json"))
    assert (shown["digest"], shown["users"], shown["users_arrived"]) == (second, 61, 1)
    assert shown["last_arrival"] == "2026-01-09"
    assert shown["ratings"] == json.loads(invoke(runner, "show", first[:8], "--json"))["ratings"] + 1
    table = invoke(runner, "show", first[:8])
    assert "mean rating" in table

    found = json.loads(invoke(runner, "diff", first[:8], "2026-01-11", "--json"))
    assert (found["before"], found["after"]) == (first, second)
    assert found["users"]["added"] == [9_999]
    assert (found["ratings"]["n_added"], found["ratings"]["n_removed"], found["items"]["n_changed"]) == (1, 0, 0)
    assert "users added: 9999" in invoke(runner, "diff", first[:8], second[:8])

    assert "anime.csv, rating_complete.csv, users.csv" in invoke(runner, "restore", first[:8], "restored")
    assert len(pd.read_csv(tmp_path / "restored" / "users.csv")) == 60
    result = runner.invoke(app, ["snapshots", "restore", first[:8], "restored"])
    assert isinstance(result.exception, ArtifactError)
    assert "choose a new folder" in str(result.exception)


def test_a_store_without_snapshots_says_how_to_get_one(runner: CliRunner) -> None:
    assert "There is no snapshot yet; `otaku ingest DIRECTORY`" in invoke(runner, "list")
    assert json.loads(invoke(runner, "list", "--json")) == []
