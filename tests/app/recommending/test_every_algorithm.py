"""Every algorithm over HTTP: each kind of request, filters, exclusion, length, variety and reasons; no damaged file."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from app.models.learned_users import find_growing
from recsys.recommender.golden import write_golden_requests
from recsys.retrieval.registry import list_algorithms
from recsys.retrieval.spec import ModelInputs
from recsys.retrieval.standalone import FOLDER, fit_standalone, select_standalone
from recsys.settings import Settings
from tests.app.harness import FolderSource, TestClient, open_client, wait_for
from tests.factories import tiny_recommender, tiny_world
from tests.recsys.retrieval.test_generators import QUICK

pytestmark = pytest.mark.local
CATALOG, INTERACTIONS = tiny_world()
USER, UNKNOWN = 7, 123_456_789
REQUESTS: dict[str, dict[str, Any]] = {
    "existing_user": {"user_input": USER},
    "new_user": {"user_input": UNKNOWN},
    "new_user_with_preferences": {"user_input": UNKNOWN, "user_preferences": {"Romance": [1]}},
    "new_user_with_history": {"ratings": {"1": 9, "5114": 10, "440": 3}, "liked": ["Trigun"]},
    "similar_items": {"user_input": "Cowboi Bebop"},
}
GENRES = dict(zip(CATALOG.item_ids.tolist(), CATALOG.items["genres"], strict=True))
KINDS = dict(zip(CATALOG.item_ids.tolist(), CATALOG.items["type"], strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version with all standalone models, small ones."""
    known, target = tiny_recommender(), tmp_path_factory.mktemp("version")
    inputs = ModelInputs(lambda: known.retriever.items.text_vectors, params=QUICK)
    fitted = fit_standalone(INTERACTIONS.to_matrix(CATALOG), CATALOG, select_standalone(), inputs)
    whole = replace(known, retriever=replace(known.retriever, standalone=fitted))
    whole.save(target)
    write_golden_requests(whole, target)
    return target


@pytest.fixture
def settings(database_url: str, engine: Engine, offline_settings: Settings) -> Settings:
    return offline_settings.model_copy(update={"database_url": SecretStr(database_url)})


@pytest.fixture
def client(settings: Settings, folder: Path) -> Iterator[TestClient]:
    with open_client(settings, FolderSource({1: folder})) as opened:
        yield opened


def ask(client: TestClient, **body: Any) -> dict[str, Any]:
    response = client.post("/recommend/", json=body)
    assert response.status_code == 200, (body, response.text)
    found: dict[str, Any] = response.json()
    return found


def test_every_algorithm_answers_every_kind_of_request(client: TestClient) -> None:
    for name in ("ranker", *list_algorithms()):
        for kind, body in REQUESTS.items():
            response = ask(client, **body, algorithm=name, k=7)
            shown = [item["item_id"] for item in response["recommendations"]]
            seen = {item["item_id"] for item in response["watched"]} | {(response["resolved"] or {}).get("item_id")}
            assert response["kind"] == kind, (name, kind)
            assert len(set(shown)) == len(shown) == 7, (name, kind)
            assert not seen & set(shown), (name, kind)
            assert all(item["title"] and item["genres"] and item["synopsis"] for item in response["recommendations"])
            if kind == "new_user_with_preferences":
                assert all("Romance" in item["genres"] for item in response["recommendations"]), name


def test_filters_length_variety_and_reasons_work_for_every_algorithm(client: TestClient) -> None:
    for name in list_algorithms():
        body = {"user_input": USER, "algorithm": name, "filters": {"type": ["Movie"], "genres_none": ["Action"]}}
        movies = [item["item_id"] for item in ask(client, **body, k=5)["recommendations"]]
        assert movies
        assert all(KINDS[item] == "Movie" and "Action" not in GENRES[item] for item in movies), name
        assert len(ask(client, user_input=USER, algorithm=name, k=20, diversity=0.5)["recommendations"]) == 20
        response = ask(client, user_input=USER, algorithm=name, k=10, explain=True)
        reasons = [reason for item in response["recommendations"] for reason in item["reasons"]]
        watched = set(INTERACTIONS.table.query(f"user_id == {USER}")["item_id"])
        assert reasons, name
        for reason in reasons:
            assert reason["contribution"] > 0
            assert reason["item_id"] is None or reason["item_id"] in watched


def test_similar_titles_of_the_original_are_the_nearest_by_cosine(client: TestClient, folder: Path) -> None:
    response = ask(client, user_input="Cowboy Bebop", algorithm="original", k=5, explain=True)
    with np.load(folder / FOLDER / "original.npz") as state:
        vectors = state["vectors"]
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = units @ units[0]
    cosines[0] = -np.inf
    expected = CATALOG.item_ids[np.argsort(-cosines)[:5]].tolist()
    assert [item["item_id"] for item in response["recommendations"]] == expected
    for item in response["recommendations"]:
        position = int(CATALOG.positions([item["item_id"]])[0])
        assert item["score"] == pytest.approx(float(cosines[position]), abs=1e-4)
        assert sum(reason["contribution"] for reason in item["reasons"]) >= item["score"] - 1e-4


def test_a_user_is_learned_on_request_kept_over_a_restart_and_forgotten(settings: Settings, folder: Path) -> None:
    source = FolderSource({1: folder})
    with open_client(settings, source) as client:
        made = client.post("/users", json={"ratings": {"1": 10, "6": 9, "20": 3, "10004": 8}})
        user_id = int(made.json()["user_id"])
        for name in ("user-user", "hybrid"):
            assert ask(client, user_input=user_id, algorithm=name)["kind"] == "existing_user"
        ask(client, user_input=UNKNOWN, algorithm="user-user")
        assert client.app.state.service.learned.user_ids == [user_id]  # type: ignore[attr-defined]
    with open_client(settings, source) as client:
        service = client.app.state.service  # type: ignore[attr-defined]
        growing = find_growing(service.production.current)
        assert {name: list(one.inserted) for name, one in growing.items()} == {  # type: ignore[attr-defined]
            "user-user": [user_id],
            "hybrid": [user_id],
        }
        assert client.delete(f"/users/{user_id}").status_code == 204
        assert not any(one.inserted for one in growing.values())  # type: ignore[attr-defined]
        assert service.learned.user_ids == []


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def test_a_version_with_a_damaged_tower_index_or_id_map_is_refused_and_the_last_good_one_serves(
    settings: Settings, folder: Path, tmp_path: Path
) -> None:
    damages = {"altered": flip, "cut": cut, "missing": Path.unlink}
    parts = [path.name for path in (folder / FOLDER).iterdir() if path.suffix in (".onnx", ".hnsw", ".json")]
    parts = [name for name in parts if not name.endswith(".training.json")]
    assert {"two_tower.user.onnx", "two_tower.cold_start.onnx", "user_user.hnsw", "user_user.json"} <= set(parts)
    folders = {1: folder}
    broken = {}
    for number, name in enumerate(sorted(parts), start=2):
        damage = list(damages)[number % len(damages)]
        folders[number] = shutil.copytree(folder, tmp_path / f"broken-{number}")
        damages[damage](folders[number] / FOLDER / name)
        broken[number] = f"{name} {damage}"
    whole = len(folders) + 1
    source = FolderSource(folders | {whole: shutil.copytree(folder, tmp_path / "whole")})
    with open_client(settings, source) as client:
        before = ask(client, user_input=USER, algorithm="two-tower")
        service = client.app.state.service  # type: ignore[attr-defined]
        for number, what in broken.items():
            source.production = number
            wait_for(lambda: service.production.problems == [f"version {number} is refused"])  # noqa: B023
            for name in ("two-tower", "user-user", "hybrid"):
                assert ask(client, user_input=USER, algorithm=name)["model"]["version"] == 1, what
        after = ask(client, user_input=USER, algorithm="two-tower")
        source.production = whole
        wait_for(lambda: service.production.current.version == whole)
    assert after["recommendations"] == before["recommendations"]
