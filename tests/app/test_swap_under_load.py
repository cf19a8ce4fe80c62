"""Promotions, rollbacks and broken candidates under load: only the version in the response changes."""

import itertools
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from app.models.serving import load_model
from app.recommending.recommend import recommend
from app.schemas.recommendations import RecommendRequest
from app.stores.user_history import build_history
from recsys.connections import open_engine, open_store
from recsys.recommender.golden import FILE
from recsys.settings import Settings
from recsys.storage.registry import Registry
from recsys.storage.users import read_user
from tests.app.harness import wait_for
from tests.app.live import PATIENCE, Ledger, Load, Server, fill_database, register, run_server

pytestmark = [pytest.mark.local, pytest.mark.slow]
BODIES: list[dict[str, Any]] = [
    {"user_input": 7, "user_preferences": {}},
    {"user_input": 8},
    {"user_input": 1234567890, "user_preferences": {"Action": [1]}},
    {"user_input": "Neon Genesis Evangelion", "user_preferences": {}},
    {"user_input": "Monstre"},
    {"ratings": {"1": 9, "20": 8}},
    {"liked": ["Trigun"], "filters": {"type": ["TV"]}},
    {},
]
PAYLOADS = [{**body, "k": k} for k in range(1, 25) for body in BODIES]


def list_items(response: dict[str, Any]) -> list[tuple[int, float]]:
    return [(item["item_id"], round(item["score"], 3)) for item in response["recommendations"]]


def compute_answers(settings: Settings, folder: Path, version: int) -> list[list[tuple[int, float]]]:
    """Compute the responses to all payloads offline from the files of a version."""
    model = load_model(folder, name="offline", version=version, run_id="r")
    with open_engine(settings) as engine, engine.connect() as connection:
        users = {user: build_history(some_user) for user in (7, 8) if (some_user := read_user(connection, user))}
    found = (
        recommend(model, RecommendRequest.model_validate(payload), users.get, request_id="r") for payload in PAYLOADS
    )
    return [list_items(response.model_dump()) for response in found]


def truncate(folder: Path) -> None:
    path = folder / "relevance.lgb.txt"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def reorder_features(folder: Path) -> None:
    schema = json.loads((folder / "schema.json").read_text())
    schema["columns"] = {group: names[::-1] for group, names in schema["columns"].items()}
    (folder / "schema.json").write_text(json.dumps(schema))


def poison(folder: Path) -> None:
    path = folder / "lightfm.npz"
    with np.load(path) as arrays:
        state = {name: arrays[name] for name in arrays.files}
    np.savez(path, **{**state, "vectors": np.full_like(state["vectors"], np.nan)})
    (folder / FILE).unlink()


def forge_answers(folder: Path) -> None:
    content = json.loads((folder / FILE).read_text())
    content[0]["answer"]["scores"] = [score + 0.5 for score in content[0]["answer"]["scores"]]
    (folder / FILE).write_text(json.dumps(content))


DAMAGES: dict[str, Callable[[Path], None]] = {
    damage.__name__: damage for damage in (truncate, reorder_features, poison, forge_answers)
}


@dataclass
class Scene:
    """A service, and versions to move it to: good ones with the folders of their files, and broken ones."""

    settings: Settings
    registry: Registry
    good: dict[int, Path]
    broken: list[int]
    server: Server

    def serves(self, version: int) -> bool:
        return bool(self.server.ask("/model")[1].get("version") == version)

    def count_refusals(self, version: int) -> int:
        told = f"version {version} of {self.registry.model_name} is refused"
        return sum(told in line for line in self.server.lines)


@contextmanager
def open_scene(
    settings: Settings,
    registry: Registry,
    model_folders: dict[int, Path],
    place: Path,
    damages: Mapping[str, Callable[[Path], None]],
    **more: str,
) -> Iterator[Scene]:
    """Open a service with good versions and broken ones in the registry, one of them altered in S3 after that.

    The service keeps two versions in memory, so that among three promotions go on loading.
    """
    fill_database(settings)
    folders = [*model_folders.values(), model_folders[1]]
    good = {register(registry, folder, f"good-{number}"): folder for number, folder in enumerate(folders)}
    broken = []
    for number, (name, damage) in enumerate(damages.items()):
        folder = place / f"broken-{number}"
        shutil.copytree(model_folders[2], folder)
        damage(folder)
        broken.append(register(registry, folder, name))
    folder = place / "altered"
    shutil.copytree(model_folders[1], folder)
    (folder / "note.txt").write_text("one more file, so that these are bytes of their own")
    broken.append(register(registry, folder, "altered"))
    source = registry.read_version(broken[-1]).source
    # An experiment keeps to the bucket that it was made with, by whichever test.
    store = open_store(settings.model_copy(update={"s3_bucket": urlsplit(source).netloc}))
    key = store.key(source) + "/data/recommender/note.txt"
    store.write_bytes(key, b"altered after all")
    patient = {"OTAKU_WATCH_SECONDS": "0.2", "OTAKU_CACHE_SECONDS": "1", **PATIENCE}
    with run_server(settings, registry.model_name, **(patient | more)) as server:
        yield Scene(settings, registry, good, broken, server)


@pytest.fixture(params=["1", "2"], ids=["one process", "two processes"])
def scene(
    request: pytest.FixtureRequest,
    settings: Settings,
    registry: Registry,
    model_folders: dict[int, Path],
    tmp_path: Path,
) -> Iterator[Scene]:
    """Three good versions and five broken ones."""
    with open_scene(settings, registry, model_folders, tmp_path, DAMAGES, OTAKU_WORKERS=request.param) as opened:
        yield opened


@dataclass
class Moves:
    """What happened to the service under load."""

    n_swaps: int = 0
    refused: Counter[int] = field(default_factory=Counter)  # how often, by broken version

    def swap(self, scene: Scene, ledger: Ledger, others: Iterator[int]) -> None:
        """Move to another good version: back to the one before now and then, else on to the next."""
        before = ledger.previous
        if self.n_swaps % 3 == 2 and before in scene.good:
            ledger.roll_back()
        else:
            ledger.promote(next(others))
        target = ledger.champion
        assert target is not None
        wait_for(lambda: scene.serves(target), 180)
        self.n_swaps += 1

    def break_in(self, scene: Scene, ledger: Ledger, version: int) -> None:
        """Promote a broken candidate, see it refused while the version before goes on, and roll back."""
        target = ledger.champion
        assert target is not None
        before = scene.count_refusals(version)
        ledger.promote(version)
        wait_for(lambda: scene.count_refusals(version) > before, 180)
        assert scene.serves(target)
        wait_for(lambda: scene.server.ask("/health/ready")[1]["status"] == "degraded")
        ledger.roll_back()
        self.refused[version] += 1


def swap_under_load(
    scene: Scene, n_swaps: int, n_responses: int, n_clients: int, n_broken: float = 0.5, pause: float = 0.0
) -> tuple[Load, Moves]:
    """Keep versions moving, so many broken candidates after each swap, until both numbers are reached."""
    expected = {version: compute_answers(scene.settings, folder, version) for version, folder in scene.good.items()}

    def check(number: int, status: int, response: dict[str, Any]) -> str | None:
        version = response.get("model", {}).get("version")
        if status != 200 or version not in expected:
            return f"{status}: {response}"
        return None if list_items(response) == expected[version][number] else f"version {version} mixes: {response}"

    moves, others, broken = Moves(), itertools.cycle(scene.good), itertools.cycle(scene.broken)
    ledger = Ledger(scene.settings, scene.registry)
    ledger.promote(next(others))
    wait_for(lambda: scene.serves(next(iter(scene.good))), 180)
    with Load(scene.server, PAYLOADS, check, n_clients, pause) as load:
        while (moves.n_swaps < n_swaps or load.n_responses < n_responses) and not load.wrong:
            moves.swap(scene, ledger, others)
            while moves.refused.total() < int(moves.n_swaps * n_broken):
                moves.break_in(scene, ledger, next(broken))
    return load, moves


def check_load(load: Load, scene: Scene, n_responses: int) -> None:
    assert load.wrong == [], [line for line in scene.server.lines if " WARNING " in line][:9]
    assert set(load.statuses) == {200}
    assert load.n_responses >= n_responses
    assert set(load.versions) == set(scene.good)


def test_no_request_fails_in_a_swap_or_a_broken_candidate(scene: Scene) -> None:
    load, moves = swap_under_load(scene, n_swaps=6, n_responses=300, n_clients=3, pause=0.01)

    check_load(load, scene, 300)
    assert len(moves.refused) >= 3


@pytest.mark.e2e
@pytest.mark.timeout(3600)
def test_no_request_fails_in_twenty_swaps_in_fifty_thousand_requests(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    load, moves = swap_under_load(scene, n_swaps=20, n_responses=50_000, n_clients=8)

    check_load(load, scene, 50_000)
    assert moves.n_swaps >= 20
    assert set(moves.refused) == set(scene.broken)
    with capsys.disabled():
        median, late = np.percentile(load.seconds, [50, 99]) * 1000
        print(  # noqa: T201 - what the test measured
            f"\n{moves.n_swaps} swaps, {moves.refused.total()} broken versions refused, {load.n_responses} responses, "
            f"{len(load.wrong)} wrong, by version {dict(load.versions)}, p50 {median:.1f} ms, p99 {late:.1f} ms"
        )
