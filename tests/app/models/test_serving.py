import gc
import shutil
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from app.main import create_app
from app.metrics import ServiceMetrics
from app.models.production import LAST_RETRY_SECONDS, ProductionModel
from app.models.serving import ServingModel, check_model, load_model
from recsys.exceptions import ArtifactError, NoProductionModelError, ServiceUnavailableError, UnknownTitleError
from recsys.recommender import Recommendations, Recommender, UserProfile
from recsys.recommender.retriever import CATALOG
from recsys.settings import Settings
from tests.app.harness import BASE_URL, FolderSource, TestClient, open_client, wait_for
from tests.factories import tiny_recommender


@pytest.fixture
def production(source: FolderSource) -> ProductionModel:
    return ProductionModel(source, "anime-recommender", ServiceMetrics())


def test_nothing_is_served_before_something_is_promoted(source: FolderSource, production: ProductionModel) -> None:
    source.production = None

    assert not production.refresh()
    with pytest.raises(NoProductionModelError):
        _ = production.current


def test_a_promoted_version_takes_over_once(source: FolderSource, production: ProductionModel) -> None:
    assert production.refresh()
    assert not production.refresh()
    source.production = 2
    assert production.refresh()

    assert (production.current.version, production.current.run_id) == (2, "run-2")
    assert source.downloads == [1, 2]


def break_nothing_left(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def break_ranker(folder: Path) -> None:
    path = folder / "relevance.lgb.txt"
    path.write_text(path.read_text()[:1000])


def break_catalog(folder: Path) -> None:
    (folder / "catalog.parquet").write_bytes(b"PAR1")


def break_scores(folder: Path) -> None:
    path = folder / "lightfm.npz"
    with np.load(path) as arrays:
        state = {name: arrays[name] for name in arrays.files}
    state["vectors"] = np.full_like(state["vectors"], np.nan)
    np.savez(path, **state)


def break_with_pickle(folder: Path) -> None:
    np.savez(folder / "text_vectors.npz", vectors=np.array([{"a": 1}], dtype=object))


@pytest.mark.parametrize("damage", [break_nothing_left, break_ranker, break_catalog, break_scores, break_with_pickle])
def test_a_broken_version_is_refused_and_the_one_before_stays(
    source: FolderSource, production: ProductionModel, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    production.refresh()
    source.folders[3] = tmp_path / "version-3"
    shutil.copytree(source.folders[2], source.folders[3])
    damage(source.folders[3])
    source.production = 3

    assert not production.refresh()

    assert production.current.version == 1


def test_a_refused_version_is_tried_again_ever_more_rarely_and_a_good_one_at_once(
    source: FolderSource, production: ProductionModel, model_folders: dict[int, Path]
) -> None:
    source.production = 9
    tries = []
    for second in range(200):
        before = len(source.downloads)
        production.refresh(clock=lambda now=float(second): now)
        if len(source.downloads) > before:
            tries.append(second)
    assert tries == [0, 2, 6, 14, 30, 62, 122, 182]
    assert np.diff(tries).max() == LAST_RETRY_SECONDS

    source.production = 2
    assert production.refresh(clock=lambda: 183.0)

    source.production, source.folders[9] = 9, model_folders[1]
    assert production.refresh(clock=lambda: 184.0)


def test_a_registry_that_is_down_leaves_the_model_in_place(source: FolderSource, production: ProductionModel) -> None:
    production.refresh()
    source.error = ServiceUnavailableError("down")

    assert not production.refresh()
    assert production.current.version == 1


def test_the_watch_survives_errors_of_any_kind(source: FolderSource, production: ProductionModel) -> None:
    source.error = ZeroDivisionError()
    stop = threading.Event()
    thread = threading.Thread(target=production.watch, args=(stop, 0.01))
    thread.start()
    source.error = None
    wait_for(lambda: production.refresh() or production.current.version == 1)
    stop.set()
    thread.join(90)

    assert not thread.is_alive()


@pytest.mark.parametrize(
    "change",
    [
        lambda found: replace(found, scores=found.scores * np.nan),
        lambda found: replace(found, item_ids=np.full_like(found.item_ids, found.item_ids[0])),
        lambda found: Recommendations(found.item_ids[1:], found.scores[1:], found.predicted_ratings[1:]),
        lambda found: replace(found, predicted_ratings=found.predicted_ratings + 20),
        lambda found: replace(found, item_ids=found.item_ids + 10**6),
    ],
)
def test_a_model_whose_lists_make_no_sense_is_refused(
    change: Callable[[Recommendations], Recommendations], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ServingModel.build(tiny_recommender(), name="m", version=1, run_id="r")
    check_model(model)
    recommend = Recommender.recommend
    monkeypatch.setattr(
        Recommender,
        "recommend",
        lambda self, profile, **options: change(recommend(self, profile, **options)),
    )

    with pytest.raises(ArtifactError, match="fails the sanity check: the list for a new user"):
        check_model(model)


@pytest.mark.parametrize("rating", [0.0, 11.0, np.nan])
def test_a_model_whose_ratings_of_a_history_make_no_sense_is_refused(
    rating: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ServingModel.build(tiny_recommender(), name="m", version=1, run_id="r")
    monkeypatch.setattr(Recommender, "predict_hidden", lambda _self, _user, item_ids: np.full(len(item_ids), rating))

    with pytest.raises(ArtifactError, match="fails the sanity check: a rating of a watched title"):
        check_model(model)


def test_requests_go_on_while_versions_change(offline_settings: Settings, source: FolderSource) -> None:
    expected = {}
    for version, folder in source.folders.items():
        found = Recommender.load(folder).recommend(UserProfile(np.array([1, 20]), np.array([9, 8], dtype=np.float32)))
        expected[version] = found.item_ids.tolist()
    assert expected[1] != expected[2]
    seen = []

    def ask(k: int) -> int:
        response = client.post(
            "/recommend/", json={"ratings": {"1": 9, "20": 8}, "k": k, "seasons": "all", "adult": True}
        ).json()
        version: int = response["model"]["version"]
        assert [item["item_id"] for item in response["recommendations"]] == expected[version][:k]
        seen.append(version)
        return version

    with open_client(offline_settings, source) as client:
        for number in range(6):
            source.production = 1 + number % 2
            wait_for(lambda: all(ask(k) == source.production for k in (8, 9, 10)))
        assert client.get("/health/ready").json() == {"status": "ready", "model_version": 2, "problems": []}

    assert len(seen) >= 18


def test_readiness_waits_for_a_model_and_liveness_does_not(offline_settings: Settings, source: FolderSource) -> None:
    source.production = None
    with TestClient(create_app(offline_settings, source=source, watch_seconds=0.01), BASE_URL) as client:
        assert client.get("/health/live").json() == {"status": "alive", "model_version": None, "problems": []}
        for response in (client.get("/health/ready"), client.post("/recommend/", json={}), client.get("/search?q=a")):
            assert response.status_code == 503
            assert response.json()["type"] == "urn:otaku:problem:no-model"
            assert int(response.headers["retry-after"]) > 0
        source.production = 1
        wait_for(lambda: client.get("/health/ready").status_code == 200)


def test_versions_of_one_catalog_share_it_and_its_indexes_and_answer_as_alone(model_folders: dict[int, Path]) -> None:
    load = partial(load_model, name="anime-recommender", run_id="r")
    one, other = load(model_folders[1], version=1), load(model_folders[2], version=2)
    assert (model_folders[1] / CATALOG).read_bytes() == (model_folders[2] / CATALOG).read_bytes()
    assert one.indexes is other.indexes
    assert one.recommender.catalog is other.recommender.catalog
    alone = Recommender.load(model_folders[2]).recommend(UserProfile(), k=5)
    assert other.recommender.recommend(UserProfile(), k=5).item_ids.tolist() == alone.item_ids.tolist()


def test_another_catalog_has_indexes_of_its_own_and_none_outlives_its_versions(
    model_folders: dict[int, Path], tmp_path: Path
) -> None:
    load = partial(load_model, name="anime-recommender", run_id="r")
    folder = Path(shutil.copytree(model_folders[1], tmp_path / "renamed"))
    titles = pd.read_parquet(folder / CATALOG)
    titles.loc[0, "title"] = "Another Title"
    titles.to_parquet(folder / CATALOG, index=False)
    one, other = load(model_folders[1], version=1), load(folder, version=2)
    assert other.titles.resolve("Another Title").title == "Another Title"
    with pytest.raises(UnknownTitleError):
        one.titles.resolve("Another Title")
    gone = weakref.ref(other.indexes)
    del other
    gc.collect()
    assert gone() is None
