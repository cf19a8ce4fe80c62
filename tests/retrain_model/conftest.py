"""Worlds that are ingested already, and jobs that retrain in them."""

import gc
import itertools
import json
import signal
import uuid
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from threading import Lock
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from otaku.platform import postgres
from recsys.connections import open_engine, open_registry, open_store
from recsys.evaluation import evaluate as evaluate_module
from recsys.settings import Settings
from recsys.storage import promotion
from recsys.storage.ingestion import ingest_directory
from recsys.storage.migration import migrate
from recsys.storage.registry import runs
from simulate_new_users.arrivals import EPOCH
from simulate_new_users.job import add_new_users
from tests.retrain_model.forks import Fork, Jobs, name_stop
from tests.retrain_model.worlds import find_prefix, write_tiny_world

SUNDAY = EPOCH + timedelta(days=6)


@pytest.fixture(autouse=True, scope="session")
def _short_retrainings() -> Iterator[None]:
    """Measure the milliseconds of a few requests, and let steps collect no garbage among what is imported."""
    import recsys.ranking.forest  # noqa: F401 - leaves most of it when it compiles

    gc.collect()
    gc.freeze()
    patch, measure = pytest.MonkeyPatch(), evaluate_module.measure_scoring_ms
    patch.setattr(evaluate_module, "measure_scoring_ms", lambda model, history: measure(model, history[:5]))
    yield
    patch.undo()


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Store bytes instead of figures, which take seconds to draw."""
    monkeypatch.setattr(runs, "_draw", lambda _figure: b"drawn")


@pytest.fixture(scope="session")
def open_world(
    postgres_url: str, s3_settings: Settings, mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Settings]:
    """Make settings over a database with the tiny world after a week of arrivals, an empty bucket and no model."""
    numbers = itertools.count()

    def settings_of(name: str) -> Settings:
        return s3_settings.model_copy(
            update={
                "home": tmp_path_factory.mktemp(name),
                "database_url": SecretStr(postgres.sibling_database(postgres_url, name)),
                "s3_bucket": f"test-{uuid.uuid4().hex}",
                "mlflow_tracking_uri": mlflow_uri,
                "model_name": name,
                "algorithms": (),
            }
        )

    original = settings_of("retrain_original")
    folder = tmp_path_factory.mktemp("tiny") / "world"
    write_tiny_world(folder)
    postgres.create_database(postgres_url, original.model_name)
    open_store(original).ensure_bucket()
    with open_engine(original) as engine:
        migrate(engine)
        ingest_directory(folder, engine, open_store(original), hold_back=0.2)
        for day in range(7):
            add_new_users(engine, EPOCH + timedelta(days=day), cohort_size=(3, 6))

    def open_one() -> Settings:
        settings = settings_of(f"retrain_{next(numbers)}")
        with open_engine(s3_settings) as engine, engine.connect() as connection:
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            source = f"TEMPLATE {original.model_name} STRATEGY FILE_COPY"
            connection.execute(text(f"CREATE DATABASE {settings.model_name} {source}"))
        open_store(settings).ensure_bucket()
        return settings

    return open_one


Start = Callable[..., Fork]


@pytest.fixture(scope="session")
def start_retrain(tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Start `python -m retrain_model` with settings and arguments, with or without an instant to stop at."""
    logs, numbers = tmp_path_factory.mktemp("logs"), itertools.count()

    def start(settings: Settings, *arguments: str, stop: dict[str, Any] | None = None) -> Fork:
        log = logs / f"{next(numbers)}.log"
        named = json.dumps(None if stop is None else {**stop, "sign": str(name_stop(log))})
        return Fork(log, settings, "tests.retrain_model.stopping", named, *arguments)

    return start


def as_of(day: date) -> tuple[str, str]:
    """Spell a day as arguments."""
    return "--as-of", day.isoformat()


@pytest.fixture(scope="session")
def undisturbed(open_world: Callable[[], Settings], start_retrain: Start) -> Settings:
    """A world in which the first week was retrained once, from beginning to end."""
    settings = open_world()
    fork = start_retrain(settings, *as_of(SUNDAY))
    assert fork.wait() == 0, fork.log.read_text()
    return settings


OpenWorld = Callable[[], Settings]


@pytest.fixture(scope="session")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    return Jobs(tmp_path_factory.mktemp("crash"))


@pytest.fixture(scope="session")
def open_evaluated(jobs: Jobs, open_world: OpenWorld, tmp_path_factory: pytest.TempPathFactory) -> OpenWorld:
    """Make a world whose champion has the challenger's bytes: no worse, so that a promotion moves both aliases."""
    folder, lock = tmp_path_factory.mktemp("champion"), Lock()
    first = open_world()
    jobs.kill(first, SUNDAY, "train_ranker published", signal.SIGKILL)
    open_store(first).read_directory(f"{find_prefix(first, SUNDAY)}/train_ranker", folder)

    def open_one() -> Settings:
        with lock:
            settings = open_world()
        registry = open_registry(settings)
        version = registry.register_model(registry.start_run("champion"), folder / "model", "champion")
        with open_engine(settings) as engine:
            promotion.promote(
                engine, registry, version, run_key="champion", champion=None, actor="user:test", reason="the first"
            )
        return settings

    return open_one
