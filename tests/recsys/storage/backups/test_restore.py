"""A platform is backed up while it works, lost, and brought back on another machine with the same answers."""

import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, insert, text
from typer.testing import CliRunner

from app.main import create_app
from otaku.cli import app as command_line
from otaku.platform import postgres, tracking
from otaku.platform.environment import settings_environment
from otaku.platform.local import LocalPlatform
from otaku.platform.state import read_credentials
from recsys.connections import open_engine, open_registry, open_store
from recsys.exceptions import ArtifactError, ConfigurationError
from recsys.recommender.golden import write_golden_requests
from recsys.settings import Settings
from recsys.storage.backups import Sources, back_up, list_backups, open_target, restore, restoring
from recsys.storage.backups.sources import count_rows
from recsys.storage.consistency import find_inconsistencies
from recsys.storage.database import create_database_engine
from recsys.storage.migration import migrate
from recsys.storage.promotion import read_production_version
from recsys.storage.schema_state import read_schema_state
from recsys.storage.tables import feedback
from recsys.storage.users import read_user, register_user
from tests.app.harness import BASE_URL, TestClient, wait_for
from tests.app.live import Ledger, fill_database, register
from tests.conftest import build_settings
from tests.factories import N_USERS, tiny_recommender

pytestmark = [pytest.mark.local, pytest.mark.e2e, pytest.mark.timeout(1800)]

TITLES = ("Monster", "Trigun", "Naruto", "cowboy bebob", "Revolutionary Girl Utena")


@contextmanager
def run_platform(home: Path) -> Iterator[Settings]:
    with LocalPlatform(build_settings(home=home), durable=False) as platform:
        settings = platform.settings()
        url = tracking.find_backend_url(settings.require_database_url(), read_credentials(platform.home))
        yield settings.model_copy(update={"mlflow_database_url": SecretStr(url), "port": 0})


@contextmanager
def open_sources(settings: Settings) -> Iterator[Sources]:
    mlflow = settings.model_copy(update={"database_url": settings.mlflow_database_url})
    with open_engine(settings) as engine, open_engine(mlflow) as registry_engine:
        yield Sources(engine, registry_engine, open_registry(settings), open_store(settings))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A platform with users, feedback and two versions, the second in Production."""
    with run_platform(tmp_path_factory.mktemp("first")) as settings:
        with open_engine(settings) as engine:
            migrate(engine)
        open_store(settings).ensure_bucket()
        fill_database(settings)
        registry = open_registry(settings)
        ledger = Ledger(settings, registry)
        for number in (1, 2):
            folder = tmp_path_factory.mktemp("version")
            tiny_recommender(seed=number).save(folder)
            write_golden_requests(tiny_recommender(seed=number), folder)
            ledger.promote(register(registry, folder, f"week-{number}"))
        with open_engine(settings) as engine, engine.begin() as connection:
            for user_id in range(1, 30):
                row = {"idempotency_key": f"f{user_id}", "user_id": user_id, "item_id": 19, "kind": "dismissal"}
                connection.execute(insert(feedback).values(row))
        yield settings


def ask_golden_requests(settings: Settings) -> list[dict[str, Any]]:
    """Answers of the service to a hundred requests, without what is of one request alone."""
    requests: list[dict[str, Any]] = [{"user_input": user_id} for user_id in range(1, 71)]
    requests += [{"user_input": title, "k": k} for title in TITLES for k in (5, 10)]
    requests += [{"ratings": {"1": rating, "440": 11 - rating}} for rating in range(1, 11)]
    requests += [{"user_preferences": {"Action": weight, "Romance": 1}} for weight in range(1, 11)]
    assert len(requests) == 100
    assert requests[69]["user_input"] <= N_USERS
    answers = []
    patience = {"wait_seconds": 20.0, "database_seconds": 20.0, "max_waiting": 1000}
    service = create_app(
        settings.model_copy(update={"home": settings.home / "service", **patience}), watch_seconds=0.02
    )
    with TestClient(service, BASE_URL) as client:
        wait_for(lambda: client.get("/health/ready").status_code == 200)
        for request in requests:
            response = client.post("/recommend/", json={"explain": False, **request})
            assert response.status_code == 200, response.text
            answers.append({name: value for name, value in response.json().items() if name != "request_id"})
    return answers


def count_all(settings: Settings) -> dict[str, int]:
    with open_engine(settings) as engine, engine.connect() as connection:
        return count_rows(connection)


@contextmanager
def moving_promotions(settings: Settings) -> Iterator[Ledger]:
    """Promote one version and then the other, again and again."""
    ledger, stop = Ledger(settings, open_registry(settings)), threading.Event()
    ledger.champion = 2
    ledger._names = (f"again-{number}" for number in itertools.count())

    def move() -> None:
        while not stop.is_set():
            ledger.promote(3 - (ledger.champion or 0))

    thread = threading.Thread(target=move)
    thread.start()
    yield ledger
    stop.set()
    thread.join(60)
    if ledger.champion != 2:
        ledger.promote(2)


def test_lost_platform_answers_as_before(first: Settings, tmp_path: Path) -> None:
    place = str(tmp_path / "backups")
    target = open_target(place, lambda _: open_store(first), own_bucket=first.s3_bucket)
    with open_sources(first) as sources:
        with moving_promotions(first) as ledger:
            wait_for(lambda: ledger.previous is not None)
            while_moving = back_up(sources, target)
        answers, counts = ask_golden_requests(first), count_all(first)
        still = back_up(sources, target)
        n_files = len(list((tmp_path / "backups" / "objects").rglob("*")))
        assert list_backups(target) == [while_moving.name, still.name]
        # What MLflow and the ledger wrote is new, the versions are not copied again.
        assert n_files < len(still.objects) * 2 + 300
    assert still.production_version == 2
    assert still.counts == counts

    with run_platform(tmp_path / "second") as second, open_sources(second) as sources:
        for manifest in (while_moving, still):
            restore(sources, target, manifest.name, replace=manifest is still)
            assert count_all(second) == manifest.counts
            assert find_inconsistencies(sources.engine, sources.registry) == []
            assert read_production_version(sources.engine, sources.registry) == manifest.production_version
            assert sources.registry.production_version() == manifest.production_version
        assert ask_golden_requests(second) == answers
        with sources.engine.begin() as connection:
            assert register_user(connection, {1: 9}, read_day(connection)) not in (None, *range(1, N_USERS + 1))
        check_refusals(sources, target, tmp_path)


def read_day(connection: Any) -> Any:
    return connection.scalar(text("SELECT current_date"))


def check_refusals(sources: Sources, target: Any, tmp_path: Path) -> None:
    """What cannot be restored changes nothing."""
    with sources.engine.connect() as connection:
        before = count_rows(connection)
    with pytest.raises(ConfigurationError, match=r"is not empty .*--replace"):
        restore(sources, target)
    other = replace(sources, store=open_store(build_settings(s3_bucket="another")))
    with pytest.raises(ConfigurationError, match="OTAKU_S3_BUCKET=otaku"):
        restore(other, target, replace=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("recsys.storage.backups.restoring.migrate", fail)
        with pytest.raises(RuntimeError, match="no migration today"):
            restore(sources, target, replace=True)
    for path in (tmp_path / "backups" / "backups").rglob("otaku.dump"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ArtifactError, match="truncated or altered"):
        restore(sources, target, replace=True)
    with sources.engine.connect() as connection:
        assert count_rows(connection) == before
    assert sources.registry.production_version() == 2


def fail(*_: object) -> None:
    raise RuntimeError("no migration today")


def test_command_line_uses_a_bucket_and_keeps_as_many_as_wanted(
    first: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings_environment(first).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    place = "s3://otaku-backups/daily"
    made = [json.loads(invoke(runner, "backup", place, "--json", "--keep", "2")) for _ in wait_seconds(3)]
    assert made[2]["deleted"] == [made[0]["name"]]
    assert json.loads(invoke(runner, "backup", place, "--list", "--json")) == [made[1]["name"], made[2]["name"]]
    answers = ask_golden_requests(first)
    with open_sources(first) as sources:
        wipe(sources)
        assert read_schema_state(sources.engine).applied is None
        told = invoke(runner, "restore", place)
        assert made[2]["name"] in told
        assert "version 2 in Production" in told
    assert count_all(first) == made[2]["counts"]
    assert ask_golden_requests(first) == answers


def wait_seconds(n: int) -> Iterator[int]:
    """A backup is named by its second."""
    for number in range(n):
        yield number
        threading.Event().wait(1.1)


def invoke(runner: CliRunner, *arguments: str) -> str:
    result = runner.invoke(command_line, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def wipe(sources: Sources) -> None:
    with sources.engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA otaku CASCADE")
    with sources.registry_engine.begin() as connection:
        for table in count_rows(connection, "public"):
            connection.exec_driver_sql(f'TRUNCATE public."{table}" CASCADE')
    sources.store.delete_prefix("")


# What release 0.1.0 wrote: its newest migration, and rows of every table that it filled.
MIGRATION_OF_0_1_0 = "0004"
DATA_OF_0_1_0 = (
    "INSERT INTO otaku.items (item_id, title, genres) VALUES (1, 'A', '{Drama}'), (2, 'B', '{Action}'), (3, 'C', '{}')",
    "INSERT INTO otaku.users VALUES (1, NULL, 'ingest'), (2, '2026-01-05', 'arrivals')",
    "INSERT INTO otaku.ratings VALUES (1, 1, 5), (1, 2, 7), (2, 1, 9)",
    """INSERT INTO otaku.user_preferences VALUES (1, 2, 6, '{"Drama": 0.5}'), (2, 1, 9, '{"Drama": 1}')""",
    "INSERT INTO otaku.future_users VALUES (3, 0, '{1, 2}', '{8, 9}')",
    "INSERT INTO otaku.arrivals (day, n_users, n_ratings, n_generated, batch_id) VALUES ('2026-01-05', 1, 1, 0, 'd')",
    "INSERT INTO otaku.feedback (idempotency_key, user_id, item_id, kind, rating) VALUES ('a', 1, 2, 'rating', 7)",
    "INSERT INTO otaku.quarantine (file_digest, line, file_name, reason, content) VALUES ('x', 2, 'f', 'r', 'c')",
    "INSERT INTO otaku.decisions (run_key, action, actor, reason, evidence) VALUES ('w', 'keep', 'gate', 'r', '{}')",
    "INSERT INTO otaku.api_keys (key_digest, name, scopes) VALUES ('k', 'client', '{recommend}')",
)


@pytest.fixture
def old(first: Settings) -> Iterator[Engine]:
    """A database of release 0.1.0."""
    url = first.require_database_url()
    postgres.create_database(url, "of_0_1_0")
    engine = create_database_engine(postgres.sibling_database(url, "of_0_1_0"))
    migrate(engine, MIGRATION_OF_0_1_0)
    with engine.begin() as connection:
        for statement in DATA_OF_0_1_0:
            connection.execute(text(statement))
    yield engine
    engine.dispose()


def test_data_of_an_older_release_are_restored_into_the_tables_of_this_one(
    first: Settings, old: Engine, tmp_path: Path
) -> None:
    target = open_target(str(tmp_path), lambda _: open_store(first), own_bucket="")
    with open_sources(first) as sources:
        theirs = replace(sources, engine=old)
        manifest = back_up(theirs, target)
        assert manifest.migration == MIGRATION_OF_0_1_0
        assert manifest.production_version is None
        with old.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA otaku CASCADE")
        restore(theirs, target, replace=True)
    assert read_schema_state(old).is_usable
    with old.connect() as connection:
        counts = count_rows(connection)
        assert {name: counts[name] for name in manifest.counts} == manifest.counts
        # The newer tables are filled from the older ones.
        assert counts["latest_opinions"] == 1
        user = read_user(connection, 1)
    assert user is not None
    with pytest.raises(ConfigurationError, match="restore it with that release or a newer one"):
        restoring._check_fit(sources, replace(manifest, migration="9001"))
