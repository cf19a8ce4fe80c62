"""What happens to a service whose registry or object store is away, at the start and later."""

import json
import shutil
from pathlib import Path

import pytest

from app.metrics import ServiceMetrics
from app.models.local_cache import LocalModelCache
from app.models.production import ProductionModel
from recsys.exceptions import ArtifactError, NoProductionModelError, ServiceUnavailableError
from recsys.recommender.golden import FILE
from recsys.settings import Settings
from tests.app.harness import FolderSource, open_client, wait_for

DOWN = ServiceUnavailableError("down")


@pytest.fixture
def cache(tmp_path: Path) -> LocalModelCache:
    return LocalModelCache(tmp_path / "models" / "anime")


def build(source: FolderSource, cache: LocalModelCache | None) -> ProductionModel:
    return ProductionModel(source, "anime-recommender", ServiceMetrics(), cache)


def test_the_last_good_version_serves_while_the_registry_is_down_at_the_start(
    source: FolderSource, cache: LocalModelCache
) -> None:
    build(source, cache).refresh()
    source.error = DOWN
    production = build(source, cache)

    assert production.refresh()
    assert (production.current.version, production.current.run_id) == (1, "run-1")
    assert production.problems == ["the registry does not answer"]

    source.error = None
    assert not production.refresh()
    assert production.problems == []
    source.production = 2
    assert production.refresh()


def test_after_a_rollback_from_memory_it_is_that_version_that_served_last(
    source: FolderSource, cache: LocalModelCache
) -> None:
    production = build(source, cache)
    for version in (1, 2, 1):
        source.production = version
        assert production.refresh()
    source.error = DOWN
    again = build(source, cache)

    assert again.refresh()
    assert (again.current.version, again.current.run_id) == (1, "run-1")


def test_a_version_that_is_gone_from_the_disk_is_not_noted_again(source: FolderSource, tmp_path: Path) -> None:
    cache = LocalModelCache(tmp_path / "models")
    production = build(source, cache)
    for version in (1, 2):
        source.production = version
        assert production.refresh()
    shutil.rmtree(tmp_path / "models" / "version-1")
    source.production = 1

    assert production.refresh()
    note, _ = cache.load_last_good() or pytest.fail("nothing was kept")
    assert note.version == 2


def test_the_last_good_version_serves_where_the_promoted_one_is_refused_or_cannot_be_fetched(
    source: FolderSource, cache: LocalModelCache
) -> None:
    build(source, cache).refresh()
    source.production = 9  # there is no such version
    production = build(source, cache)

    assert production.refresh()
    assert production.current.version == 1
    assert production.problems == ["version 9 is refused"]
    source.production = 1
    assert not production.refresh()
    assert production.problems == []


def test_a_version_that_vanished_from_the_registry_serves_on_and_the_service_says_so(
    source: FolderSource, cache: LocalModelCache
) -> None:
    production = build(source, cache)
    production.refresh()
    source.production = None
    lost = ["the registry has no version in Production"]
    assert not production.refresh()
    assert (production.current.version, production.problems) == (1, lost)
    again = build(source, cache)
    assert again.refresh()
    assert (again.current.version, again.problems) == (1, lost)
    source.production = 2
    assert again.refresh()
    assert (again.current.version, again.problems) == (2, [])


def test_before_the_first_promotion_there_is_no_problem(source: FolderSource, cache: LocalModelCache) -> None:
    source.production = None
    production = build(source, cache)
    assert not production.refresh()
    assert production.problems == []


@pytest.mark.parametrize("name", ["catalog.parquet", "relevance.lgb.txt", FILE])
def test_a_version_that_was_altered_on_disk_is_not_used(
    source: FolderSource, cache: LocalModelCache, tmp_path: Path, name: str
) -> None:
    build(source, cache).refresh()
    path = tmp_path / "models" / "anime" / "version-1" / name
    path.write_bytes(path.read_bytes()[:-1])
    source.error = DOWN
    production = build(source, cache)

    assert not production.refresh()
    with pytest.raises(NoProductionModelError):
        _ = production.current
    with pytest.raises(ArtifactError, match="was altered"):
        cache.load_last_good()


@pytest.mark.parametrize("note", ["", "[]", '{"version": 1}', '{"version":1,"run_id":"","folder":"../..","digest":""}'])
def test_a_note_that_makes_no_sense_is_no_note(tmp_path: Path, note: str) -> None:
    (tmp_path / "last_good.json").write_text(note)

    assert LocalModelCache(tmp_path).load_last_good() is None


def test_this_version_and_the_one_before_are_kept_and_no_more(
    source: FolderSource, cache: LocalModelCache, tmp_path: Path, model_folders: dict[int, Path]
) -> None:
    source.folders[3] = model_folders[1]
    production = build(source, cache)
    for version in (1, 2, 3):
        source.production = version
        production.refresh()

    kept = sorted(path.name for path in (tmp_path / "models" / "anime").iterdir())
    assert kept == ["last_good.json", "version-2", "version-3"]
    assert json.loads((tmp_path / "models" / "anime" / "last_good.json").read_text())["version"] == 3


def test_a_place_that_cannot_be_written_keeps_nothing_and_breaks_nothing(source: FolderSource, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    production = build(source, LocalModelCache(tmp_path / "file" / "models"))

    assert production.refresh()
    source.production = 2
    assert production.refresh()


def test_a_rollback_needs_neither_download_nor_disk(source: FolderSource) -> None:
    production = build(source, None)
    production.refresh()
    first = production.current
    source.production = 2
    production.refresh()
    source.folders.clear()
    source.production = 1

    assert production.refresh()
    assert production.current is first
    source.production = 2
    assert production.refresh()
    assert source.downloads == [1, 2]


def test_an_answer_other_than_the_golden_one_refuses_the_version(source: FolderSource, tmp_path: Path) -> None:
    production = build(source, None)
    production.refresh()
    source.folders[3] = tmp_path / "version-3"
    shutil.copytree(source.folders[2], source.folders[3])
    shutil.copy(source.folders[1] / FILE, source.folders[3] / FILE)
    source.production = 3

    assert not production.refresh()
    assert production.current.version == 1
    assert production.problems == ["version 3 is refused"]


def test_other_features_than_the_ranker_was_trained_on_refuse_the_version(source: FolderSource, tmp_path: Path) -> None:
    production = build(source, None)
    production.refresh()
    source.folders[3] = tmp_path / "version-3"
    shutil.copytree(source.folders[2], source.folders[3])
    schema = json.loads((source.folders[3] / "schema.json").read_text())
    schema["columns"] = {group: names[::-1] for group, names in schema["columns"].items()}
    (source.folders[3] / "schema.json").write_text(json.dumps(schema))
    source.production = 3

    assert not production.refresh()
    assert production.current.version == 1


def test_readiness_tells_what_is_wrong_and_stays_ready(offline_settings: Settings, source: FolderSource) -> None:
    with open_client(offline_settings, source) as client:
        source.error = DOWN
        wait_for(lambda: client.get("/health/ready").json()["status"] == "degraded")
        response = client.get("/health/ready")
        assert response.status_code == 200
        assert response.json()["problems"] == ["the registry does not answer"]
        assert "otaku_degraded 1.0" in client.get("/metrics").text
        source.error = None
        wait_for(lambda: client.get("/health/ready").json()["status"] == "ready")
        assert "otaku_degraded 0.0" in client.get("/metrics").text


def test_a_restart_serves_from_disk_through_the_application(offline_settings: Settings, source: FolderSource) -> None:
    with open_client(offline_settings, source):
        pass
    source.error = DOWN
    with open_client(offline_settings, source) as client:
        assert client.get("/model").json()["version"] == 1
        assert len(client.post("/recommend/", json={}).json()["recommendations"]) == 10
