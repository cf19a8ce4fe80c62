"""Settings as environment variables: what a child process reads is what the user has set, whatever the setting is."""

from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined

from otaku.platform import airflow
from otaku.platform.environment import settings_environment
from otaku.platform.part import Site
from otaku.platform.state import Credentials
from recsys.settings import Settings, list_variables, load_settings

# A value of each setting that is not its default, as a line of `.env` holds it.
GIVEN = {
    "OTAKU_HOME": "/var/lib/otaku",
    "OTAKU_DATABASE_URL": "postgresql://me:pass%2Fword@db.example.org/otaku",
    "OTAKU_S3_ENDPOINT_URL": "https://s3.example.org",
    "OTAKU_S3_BUCKET": "anime",
    "AWS_ACCESS_KEY_ID": "key-id",
    "AWS_SECRET_ACCESS_KEY": "key",
    "MLFLOW_TRACKING_URI": "https://mlflow.example.org",
    "MLFLOW_TRACKING_USERNAME": "me",
    "MLFLOW_TRACKING_PASSWORD": "s3cr3t",
    "OTAKU_MLFLOW_DATABASE_URL": "postgresql://me@db.example.org/mlflow",
    "OTAKU_AIRFLOW_URL": "https://airflow.example.org",
    "OTAKU_AIRFLOW_USER": "me",
    "OTAKU_AIRFLOW_PASSWORD": "s3cr3t",
    "OTAKU_PROMETHEUS_URL": "http://127.0.0.1:9090",
    "OTAKU_REDIS_URL": "redis://localhost:6379/0",
    "OTAKU_API_KEYS": "first:recommend+write:60/minute,second",
    "OTAKU_AUTH": "keys",
    "OTAKU_RATE_LIMIT": "600/minute",
    "OTAKU_FEEDBACK_LIMIT": "none",
    "OTAKU_REGISTRATION_LIMIT": "7/hour",
    "OTAKU_PAGES": "off",
    "OTAKU_PAGES_SECRET": "sixteen letters or more",
    "OTAKU_ADULT": "true",
    "OTAKU_CORS_ORIGINS": "https://a.example.org,https://b.example.org",
    "OTAKU_ALLOWED_HOSTS": "anime.example.org",
    "OTAKU_TRUSTED_PROXIES": "10.0.0.0/8,192.168.0.1",
    "OTAKU_CONNECTIONS_PER_ADDRESS": "12",
    "OTAKU_CACHE_SECONDS": "0",
    "OTAKU_CACHE_MEGABYTES": "1",
    "OTAKU_SCORED_LISTS": "true",
    "OTAKU_WORKERS": "2",
    "OTAKU_WORK_THREADS": "3",
    "OTAKU_MAX_WAITING": "5",
    "OTAKU_WAIT_SECONDS": "1.5",
    "OTAKU_DATABASE_SECONDS": "0.5",
    "OTAKU_MODEL_CACHE": "/var/cache/otaku",
    "OTAKU_TRIAL_SECONDS": "0",
    "OTAKU_TRIAL_MEGABYTES": "512",
    "OTAKU_PROMOTIONS": "alias",
    "OTAKU_WATCH_SECONDS": "0.25",
    "OTAKU_SHADOW_SHARE": "0.1",
    "OTAKU_CANARY_SHARE": "0.05",
    "OTAKU_TEXT_MODEL": "sentence-transformers/all-MiniLM-L12-v2",
    "OTAKU_ALGORITHMS": "none",
    "OTAKU_HYBRID_WEIGHTS": "1,0.05,0.6",
    "OTAKU_MF_MIN_RATINGS": "20",
    "OTAKU_DROPPED_RATING": "3",
    "OTAKU_RELEVANCE_LOSSES": "binary",
    "OTAKU_RELEVANCE_BOOSTERS": "1",
    "OTAKU_TRAIN_THREADS": "1",
    "OTAKU_TRAIN_ON": "dask",
    "OTAKU_DASK_SCHEDULER": "tcp://dask-scheduler:8786",
    "OTAKU_DASK_WORKERS": "4",
    "OTAKU_MODEL_NAME": "anime",
    "OTAKU_GATE_ALPHA": "0.01",
    "OTAKU_GATE_MARGIN": "0.0",
    "OTAKU_GATE_RATING_MARGIN": "0.02",
    "OTAKU_GATE_ANCHOR_ALPHA": "0.02",
    "OTAKU_GATE_MIN_TEST_USERS": "40",
    "OTAKU_GATE_GENERATED_USERS": "true",
    "OTAKU_GATE_COVERAGE_RATIO": "0.7",
    "OTAKU_GATE_POPULARITY_RISE": "0.2",
    "OTAKU_GATE_SIZE_RATIO": "4",
    "OTAKU_GATE_COST_RATIO": "3",
    "OTAKU_GATE_OVERLAP": "0.3",
    "OTAKU_GATE_SHORT_LISTS": "0.02",
    "OTAKU_GATE_EMPTY_LISTS": "0.01",
    "OTAKU_GATE_ARRIVED_DROP": "0.1",
    "OTAKU_COHORT_MIN": "11",
    "OTAKU_COHORT_MAX": "12",
    "OTAKU_APPROVAL": "always",
    "OTAKU_NOTIFY": "mailto:ops@example.org,webhook:otaku_webhook",
    "OTAKU_LINEAGE_FILE": "/var/log/otaku/lineage.jsonl",
    "OTAKU_AIRFLOW_KEEP_DAYS": "90",
    "OTAKU_START_DATE": "2026-01-05",
    "OTAKU_TASK_PYTHON": "/opt/otaku/bin/python",
    "OTAKU_HOST": "::1",
    "OTAKU_PORT": "0",
    "OTAKU_LOG_LEVEL": "DEBUG",
    "OTAKU_LOG_FORMAT": "json",
}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings that a user has written into `.env`."""
    for name in list_variables():
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in GIVEN.items()))
    monkeypatch.chdir(tmp_path)
    return load_settings()


def test_every_setting_has_a_value_here_that_is_not_the_default(settings: Settings) -> None:
    assert list(GIVEN) == list_variables()
    for name, field in Settings.model_fields.items():
        assert getattr(settings, name) not in (field.default, None, PydanticUndefined), name


def test_child_processes_read_what_was_set(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").unlink()
    for name, value in settings_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings


def test_tasks_of_the_local_airflow_read_what_was_set(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").unlink()
    site = Site(tmp_path / "home", settings, Credentials("p" * 32, "access-key-id", "secret"))
    for name, value in airflow.environment_of(site, 4321).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings


def test_defaults_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list_variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    assert settings_environment(load_settings()) == {
        "OTAKU_HOME": str(tmp_path / ".otaku"),
        "OTAKU_S3_BUCKET": "otaku",
        "OTAKU_MODEL_NAME": "anime-recommender",
        "AWS_DEFAULT_REGION": "us-east-1",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }


def test_paths_hold_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    named = settings_environment(Settings(_env_file=None, lineage_file="logs/lineage.jsonl"))  # type: ignore[call-arg]
    assert named["OTAKU_LINEAGE_FILE"] == str(tmp_path / "logs" / "lineage.jsonl")
