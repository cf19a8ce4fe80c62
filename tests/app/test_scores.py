"""Lists for all users at once: those that the service answers, whatever happens to a worker."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from distributed import Client, LocalCluster
from sqlalchemy import Engine

from recsys.connections import open_store
from recsys.distributed import partitions, scoring
from recsys.distributed.cluster import open_cluster
from recsys.distributed.places import open_place
from recsys.distributed.scoring import MANIFEST, Scoring, score_users
from recsys.exceptions import ConfigurationError, ServiceUnavailableError
from recsys.settings import Settings
from recsys.storage.feedback import FeedbackEvent, write_feedback
from recsys.storage.registry import Registry
from recsys.storage.watch_statuses import store_list
from recsys.types import WatchStatus
from tests.app.harness import FolderSource, open_client
from tests.app.live import register
from tests.factories import tiny_world

pytestmark = pytest.mark.local
K = 7
USER_IDS = sorted(map(int, tiny_world()[1].user_ids))


@contextmanager
def open_threads() -> Iterator[Client]:
    """A scheduler and two workers in this process."""
    workers = LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0")
    with workers as cluster, Client(cluster) as client:
        yield client


@pytest.fixture
def job(
    settings: Settings, registry: Registry, model_folders: dict[int, Path], engine: Engine, tmp_path: Path
) -> Scoring:
    """All users of the tiny world, of whom some have said more than ratings."""
    with engine.begin() as connection:
        store_list(connection, USER_IDS[0], {}, {1: WatchStatus.Completed, 5: WatchStatus.Planned})
        store_list(connection, USER_IDS[1], {}, {6: WatchStatus.Dropped})
        events = [
            FeedbackEvent("a", USER_IDS[2], 1, "dismissal", None),
            FeedbackEvent("b", USER_IDS[2], 5, "rating", 2),
            FeedbackEvent("c", USER_IDS[3], 6, "rating", 10),
        ]
        write_feedback(connection, events)
    mine = settings.model_copy(update={"model_name": registry.model_name})
    return Scoring(mine, str(tmp_path / "scores"), register(registry, model_folders[1], "first"), K)


def read_parts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("part-*.parquet"))}


def read_lists(table: pd.DataFrame) -> dict[int, list[int]]:
    assert (table.groupby("user_id")["rank"].apply(list).map(lambda ranks: ranks == [*range(1, len(ranks) + 1)])).all()
    return {int(user_id): list(map(int, ids)) for user_id, ids in table.groupby("user_id")["item_id"]}


def test_lists_are_those_of_the_service(job: Scoring, source: FolderSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "USERS_PER_PARTITION", 60)
    seen = []
    with open_threads() as client:
        report = score_users(client, job, on_progress=lambda *progress: seen.append(progress))

    table = pq.read_table(job.place).to_pandas()
    lists = read_lists(table)
    assert sorted(lists) == USER_IDS
    with open_client(job.settings.model_copy(update={"trial_seconds": 0}), source) as client:
        for user_id in USER_IDS:
            answer = client.post("/recommend/", json={"user_input": user_id, "k": K}).json()
            assert lists[user_id] == [entry["item_id"] for entry in answer["recommendations"]], user_id
    manifest = json.loads(Path(job.place, MANIFEST).read_text())
    assert manifest == json.loads(json.dumps(report.to_dict()))
    assert (manifest["n_users"], manifest["n_rows"]) == (len(USER_IDS), len(table))
    assert [part["name"] for part in manifest["partitions"]] == list(read_parts(Path(job.place)))
    assert seen[0] == ("score users", 0, len(USER_IDS))
    assert seen[-1] == ("score users", len(USER_IDS), len(USER_IDS))


def test_a_bucket_holds_the_same_and_nothing_of_an_earlier_scoring(
    job: Scoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(job.settings)
    place = f"s3://{job.settings.s3_bucket}/scores/weekly"
    with open_threads() as client:
        monkeypatch.setattr(partitions, "USERS_PER_PARTITION", 20)
        score_users(client, Scoring(job.settings, place, job.version, K))
        monkeypatch.setattr(partitions, "USERS_PER_PARTITION", 1_000)
        score_users(client, Scoring(job.settings, place, job.version, K))
        score_users(client, job)
    assert store.list_keys("scores/") == [f"scores/weekly/{MANIFEST}", "scores/weekly/part-00000.parquet"]
    assert store.read_bytes("scores/weekly/part-00000.parquet") == read_parts(Path(job.place))["part-00000.parquet"]


def test_a_scoring_that_fails_leaves_no_manifest(job: Scoring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "RETRIES", 0)
    with open_threads() as client:
        score_users(client, job)
        assert Path(job.place, MANIFEST).exists()
        with pytest.raises(ServiceUnavailableError, match=r"0 of 1 partitions: .*version 9"):
            score_users(client, Scoring(job.settings, job.place, 9, K))
    assert not Path(job.place, MANIFEST).exists()


def test_places_and_schedulers_that_are_none_are_named(job: Scoring) -> None:
    for place in ("s3://elsewhere/scores", f"s3://{job.settings.s3_bucket}/"):
        with pytest.raises(ConfigurationError, match=f"write s3://{job.settings.s3_bucket}/PREFIX"):
            open_place(job.settings, place)
    unknown = open_cluster("nowhere://x", n_workers=1)
    with pytest.raises(ConfigurationError, match="OTAKU_DASK_SCHEDULER is 'nowhere://x'"), unknown:
        pass


@pytest.mark.e2e
def test_a_worker_that_is_killed_changes_no_byte(job: Scoring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "USERS_PER_PARTITION", 4)
    disturbed = Scoring(job.settings, str(tmp_path / "disturbed"), job.version, K)
    killed: list[int] = []
    with open_cluster(None, n_workers=2) as client:
        score_users(client, job)
        pids: list[int] = list(client.run(os.getpid).values())

        def kill(stage: str, done: int, total: int) -> None:
            if done > total * (len(killed) + 1) / 4 and len(killed) < 2:
                killed.append(pids[len(killed)])
                os.kill(killed[-1], signal.SIGKILL)

        report = score_users(client, disturbed, on_progress=kill)
    assert len(killed) == 2
    assert report.n_users == len(USER_IDS)
    assert read_parts(Path(disturbed.place)) == read_parts(Path(job.place))
