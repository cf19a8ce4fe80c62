"""An application over models in folders; tests that need the real registry build their own."""

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from recsys.connections import open_registry
from recsys.recommender.golden import write_golden_requests
from recsys.settings import Settings
from recsys.storage.database import create_database_engine
from recsys.storage.registry import Registry
from tests.app.harness import FolderSource, RedisServer, TestClient, open_client
from tests.app.live import write_tiny_world
from tests.factories import tiny_recommender


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does answer may take its time; what is away says so at once."""
    monkeypatch.setattr("app.stores.database.WRITE_SECONDS", 20.0)
    monkeypatch.setattr("app.stores.response_cache.REDIS_SECONDS", 20.0)
    monkeypatch.setattr("app.guard.limits.REDIS_SECONDS", 20.0)


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folders = {}
    for version in (1, 2):
        folders[version] = tmp_path_factory.mktemp(f"version-{version}")
        tiny_recommender(seed=version).save(folders[version])
        write_golden_requests(tiny_recommender(seed=version), folders[version])
    return folders


@pytest.fixture
def source(model_folders: dict[int, Path]) -> FolderSource:
    return FolderSource(dict(model_folders))


@pytest.fixture
def offline_settings(tmp_path: Path) -> Settings:
    """Settings whose database is a closed port: every call fails at once."""
    return build_offline_settings(tmp_path)


def build_offline_settings(home: Path) -> Settings:
    """Build settings whose database is a closed port.

    What does answer may take its time, since most tests are not about speed and the machine may be busy.
    """
    return Settings(
        _env_file=None,  # type: ignore[call-arg]
        home=home,
        database_url=SecretStr("postgresql://nobody@127.0.0.1:1/nothing"),
        mlflow_tracking_uri="http://127.0.0.1:1",
        port=0,
        wait_seconds=20,
        database_seconds=20,
        trial_seconds=0,  # it takes seconds for each version; tests/hostile has it
    )


@pytest.fixture
def client(offline_settings: Settings, source: FolderSource) -> Iterator[TestClient]:
    """A client of an application that serves version 1 and has no database."""
    with open_client(offline_settings, source) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared_client(model_folders: dict[int, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client as above, of one application for the tests of a module that leave nothing behind in it."""
    with open_client(build_offline_settings(tmp_path_factory.mktemp("home")), FolderSource(model_folders)) as opened:
        yield opened


@pytest.fixture
def registry(settings: Settings) -> Registry:
    """A registered model of the test's own on the real MLflow, without any version."""
    return open_registry(settings.model_copy(update={"model_name": f"anime-{uuid.uuid4().hex[:8]}"}))


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A running Redis; skipped where there is none."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    with tempfile.TemporaryDirectory(prefix="otaku-redis-") as folder:  # pytest's own folders are too long for a socket
        server = RedisServer(Path(folder))
        server.start()
        yield server
        server.stop()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on a fresh database that holds the tiny world."""
    engine = create_database_engine(database_url)
    with engine.begin() as connection:
        write_tiny_world(connection)
    yield engine
    engine.dispose()
