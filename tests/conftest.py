"""Real PostgreSQL, S3 and MLflow for the tests: started on first use, once per run, on free ports, gone with it."""

import os

# Bytecode is kept: each process would compile for seconds what it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# How wide and how colourful the terminal is must not reach the tests; what writes to one looks when it is imported.
os.environ.pop("COLUMNS", None)
os.environ.pop("LINES", None)
os.environ.pop("FORCE_COLOR", None)
os.environ.pop("PY_COLORS", None)
os.environ.pop("GITHUB_ACTIONS", None)
os.environ.pop("TTY_COMPATIBLE", None)
# Workers share the cores: native libraries, loaded later, compute on the thread that calls them.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

import gc
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pydantic import SecretStr
from xdist.scheduler import LoadFileScheduling

from otaku.platform import object_store, postgres
from otaku.platform.local import LocalPlatform
from recsys.settings import Settings
from tests.databases import Databases
from tests.fork_server import stop_server

if TYPE_CHECKING:
    from recsys.storage.artifacts import ArtifactStore

sys.dont_write_bytecode = False
# A shell that starts the tests in the background lets them ignore Ctrl-C, and every process they start as well.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no bug: properties are about results, not about time.
hypothesis_settings.register_profile("otaku", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("otaku")

_SERVICE_VARIABLES = ("OTAKU_", "AWS_", "MLFLOW_")


# Folders whose session fixtures train or serve for a minute: all files of one go to one worker.
_TOGETHER = ("tests/retrain_model", "tests/dags", "tests/app/pages")


def _find_folder(nodeid: str) -> str | None:
    return next((folder for folder in _TOGETHER if nodeid.startswith(f"{folder}/")), None)


class FolderScheduling(LoadFileScheduling):
    """Give each worker whole files, and whole folders of `_TOGETHER`."""

    def _split_scope(self, nodeid: str) -> str:
        return _find_folder(nodeid) or nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FolderScheduling:
    return FolderScheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what takes longest first, so that no worker is left alone with it at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (_find_folder(item.nodeid) is None, item.path not in slow))


def pytest_collection_finish() -> None:
    """Keep the garbage collector, which every retraining calls, away from thousands of tests and what they import."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _environment_without_services() -> Iterator[None]:
    """The settings of whoever runs the tests must not reach them."""
    patch = pytest.MonkeyPatch()
    for name in list(os.environ):
        if name.startswith(_SERVICE_VARIABLES) and name != "AWS_CA_BUNDLE":
            patch.delenv(name)
    patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    # Part of every run key: editing the code while the tests run must not change it.
    patch.setenv("OTAKU_REVISION", "tests")
    # Wide enough that no table folds what a test looks for.
    patch.setattr("otaku.console.console.width", 200)
    patch.setattr("otaku.console.error_console.width", 200)
    yield
    patch.undo()


@pytest.fixture(autouse=True, scope="session")
def _fork_server() -> Iterator[None]:
    """Whoever starts the fork server, it ends with the tests."""
    yield
    stop_server()


@pytest.fixture(scope="session")
def _platform() -> Iterator[LocalPlatform]:
    """PostgreSQL and S3 without MLflow, which takes seconds to start and few tests need."""
    with tempfile.TemporaryDirectory(prefix="otaku-tests-") as home:
        parts = (object_store.PART, postgres.PART)
        with LocalPlatform(build_settings(home=Path(home)), durable=False, parts=parts) as platform:
            yield platform


def build_settings(**values: object) -> Settings:
    """Settings from the arguments alone: no environment, no .env file.

    All platforms of the tests have one password of MLflow, since its clients look for it in the environment alone.
    """
    named: dict[str, object] = {
        "mlflow_tracking_username": "otaku",
        "mlflow_tracking_password": SecretStr("of-the-tests"),
        "trial_seconds": 0,  # seconds for each version; tests/hostile has it
        # Most tests are not about speed, and the machine may be busy.
        "wait_seconds": 20,
        "database_seconds": 20,
    }
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    return Settings.model_construct(**{**defaults, **named, **values})  # type: ignore[arg-type]


def spell_mlflow_credentials(settings: Settings) -> dict[str, str]:
    """Spell user and password of MLflow as the environment of a process."""
    user, password = settings.mlflow_tracking_username, settings.mlflow_tracking_password
    assert user is not None
    assert password is not None
    return {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password.get_secret_value()}


@pytest.fixture(scope="session")
def postgres_url(_platform: LocalPlatform) -> str:
    """URL of the superuser's database on the PostgreSQL of this run; take `database_url` for tables of your own."""
    url = _platform.settings().database_url
    assert url is not None
    return url.get_secret_value()


@pytest.fixture(scope="session")
def s3_settings(_platform: LocalPlatform) -> Settings:
    """Settings whose S3 endpoint and credentials are the ones of this run."""
    return _platform.settings()


@pytest.fixture(scope="session")
def mlflow_uri(_platform: LocalPlatform) -> Iterator[str]:
    """URL of an MLflow server of this run; its S3 settings are in the environment while it is in use."""
    given = _platform.settings().model_copy(update={"home": _platform.home / "tracking"})
    with LocalPlatform(given) as platform:
        patch = pytest.MonkeyPatch()
        for name, value in platform.environment().items():
            if name.startswith(("AWS_", "MLFLOW_S3", "MLFLOW_ALLOW", "MLFLOW_TRACKING_USER", "MLFLOW_TRACKING_PASS")):
                patch.setenv(name, value)
        uri = platform.settings().mlflow_tracking_uri or ""
        _create_experiment(uri, platform.settings())
        yield uri
        patch.undo()


def _create_experiment(uri: str, settings: Settings) -> None:
    """Give the experiment of all tests its place, since MLflow takes none in the bucket of a single test."""
    from mlflow.tracking import MlflowClient

    from recsys.connections import open_store
    from recsys.storage.registry import EXPERIMENT

    store = open_store(settings)
    store.ensure_bucket()
    MlflowClient(uri).create_experiment(EXPERIMENT, store.uri("mlflow"))


@pytest.fixture(scope="session")
def _databases(postgres_url: str) -> Databases:
    """Databases with all tables."""
    from recsys.storage.database import create_database_engine
    from recsys.storage.migration import migrate

    template = "template_migrated"
    postgres.create_database(postgres_url, template)
    engine = create_database_engine(postgres.sibling_database(postgres_url, template))
    migrate(engine)
    engine.dispose()
    return Databases(postgres_url, template)


@pytest.fixture(scope="session")
def _empty_databases(postgres_url: str) -> Databases:
    return Databases(postgres_url, "template0")


@pytest.fixture
def empty_database_url(_empty_databases: Databases, postgres_url: str) -> Iterator[str]:
    """URL of a database without any table, for tests of the migrations."""
    with _empty_databases.open() as name:
        yield postgres.sibling_database(postgres_url, name)


@pytest.fixture
def database_url(_databases: Databases, postgres_url: str) -> Iterator[str]:
    """URL of a database with all tables and no rows, for this test alone."""
    with _databases.open() as name:
        yield postgres.sibling_database(postgres_url, name)


@pytest.fixture
def store(s3_settings: Settings) -> "ArtifactStore":
    """A store on a fresh bucket."""
    from recsys.storage.artifacts import ArtifactStore

    key, secret = s3_settings.aws_access_key_id, s3_settings.aws_secret_access_key
    assert key is not None
    assert secret is not None
    endpoint = str(s3_settings.s3_endpoint_url).rstrip("/")
    fresh = ArtifactStore(f"test-{uuid.uuid4().hex}", endpoint, key.get_secret_value(), secret.get_secret_value())
    fresh.ensure_bucket()
    return fresh


@pytest.fixture
def settings(
    database_url: str, store: "ArtifactStore", mlflow_uri: str, s3_settings: Settings, tmp_path: Path
) -> Settings:
    """Complete settings over a fresh database and bucket and this run's MLflow, where the model is the test's own."""
    values = {
        "home": tmp_path / "home",
        "model_name": f"anime-{uuid.uuid4().hex[:8]}",
        "database_url": SecretStr(database_url),
        "s3_bucket": store.bucket,
        "mlflow_tracking_uri": mlflow_uri,
        "port": 0,
    }
    return s3_settings.model_copy(update=values)
