"""A small world with enough held-out users for the gate, and what a retraining leaves behind in it."""

import json
import re
import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.tracking import MlflowClient

from recsys.connections import open_engine, open_registry, open_store
from recsys.data.sample_world import write_sample_world
from recsys.data.splits import TRAIN, assign_groups
from recsys.settings import Settings
from recsys.storage.artifacts import MANIFEST
from recsys.storage.promotion import read_ledger
from recsys.storage.registry import EXPERIMENT, PREVIOUS, PRODUCTION
from tests.conftest import spell_mlflow_credentials

N_USERS, N_ITEMS, N_RATINGS, SEED = 800, 100, 20_000, 9
FITTED = ("embed_text", "fit_retrieval", "train_ranker")
# What is in them names the bucket or was computed from what does.
_POINTERS = {"inputs.json", "snapshot.json"}


def write_tiny_world(directory: Path) -> None:
    """Write a sample world without every other training user: quick to fit, and 80 users to evaluate on."""
    with tempfile.TemporaryDirectory() as folder:
        world = Path(folder) / "world"
        write_sample_world(world, n_users=N_USERS, n_items=N_ITEMS, n_ratings=N_RATINGS, seed=SEED)
        directory.mkdir(parents=True)
        for path in world.iterdir():
            (directory / path.name).write_bytes(path.read_bytes())
    path = directory / "rating_complete.csv"
    ratings = pd.read_csv(path)
    dropped = (assign_groups(ratings["user_id"]) == TRAIN) & (ratings["user_id"] % 2 == 0)
    ratings[~dropped].to_csv(path, index=False)


def to_environment(settings: Settings) -> dict[str, str]:
    """Spell settings as the environment of a process."""
    key, secret = settings.aws_access_key_id, settings.aws_secret_access_key
    assert key is not None
    assert secret is not None
    return {
        "OTAKU_HOME": str(settings.home),
        "OTAKU_DATABASE_URL": settings.require_database_url(),
        "OTAKU_S3_ENDPOINT_URL": str(settings.s3_endpoint_url),
        "OTAKU_S3_BUCKET": settings.s3_bucket,
        "AWS_ACCESS_KEY_ID": key.get_secret_value(),
        "AWS_SECRET_ACCESS_KEY": secret.get_secret_value(),
        "MLFLOW_TRACKING_URI": str(settings.mlflow_tracking_uri),
        **spell_mlflow_credentials(settings),
        "OTAKU_MODEL_NAME": settings.model_name,
        "OTAKU_ALGORITHMS": ",".join(settings.algorithms or ()) or "none",
        "OMP_NUM_THREADS": "1",
    }


def copy_text_vectors(source: Settings, target: Settings) -> None:
    """Give a world the packs of another, so that its synopses need no encoding."""
    given, taken = open_store(source), open_store(target)
    for key in given.list_keys("embeddings/"):
        taken.write_bytes(key, given.read_bytes(key))


@dataclass(frozen=True)
class Traces:
    """Everything that retrainings leave behind; times and measured milliseconds left out."""

    ledger: list[tuple[Any, ...]]
    aliases: dict[str, int | None]
    versions: list[tuple[Any, ...]]
    runs: list[tuple[str, str]]
    manifests: dict[str, str]


def name_day(text: str) -> str:
    """Leave the digest of the inputs out of a run key or of a key in S3: worlds have model names of their own."""
    return re.sub(r"(\d{4}-\d\d-\d\d(?:-original)?)-[0-9a-f]{8}\b", r"\1", text)


def find_prefix(settings: Settings, day: date) -> str:
    """Find the key prefix of the only attempt of a day."""
    keys = open_store(settings).list_keys(f"retrain/{day.isoformat()}-")
    (prefix,) = {"/".join(key.split("/")[:2]) for key in keys}
    return prefix


def read_traces(settings: Settings, *, exact: bool = False) -> Traces:
    """Look at the ledger, the registry and S3; without `exact`, run keys are those of the days alone."""
    name = str if exact else name_day
    registry, store = open_registry(settings), open_store(settings)
    with open_engine(settings) as engine:
        ledger = [
            (name(entry.run_key), entry.action, entry.reason, entry.challenger_version, entry.champion_version)
            for entry in read_ledger(engine)
        ]
    versions = registry.list_versions()
    keys = [key for key in store.list_keys("retrain/") if key.endswith(f"/{MANIFEST}")]
    return Traces(
        ledger=ledger,
        aliases={alias: registry.alias_version(alias) if versions else None for alias in (PRODUCTION, PREVIOUS)},
        versions=[(found.version, name(found.run_key), found.digest, found.description) for found in versions],
        runs=[(name(run.info.run_name), run.info.status) for run in find_runs(settings)],
        manifests={name(key): store.read_bytes(key).decode() for key in keys},
    )


def find_runs(settings: Settings) -> list[Any]:
    """Find the MLflow runs of a world, oldest first."""
    client = MlflowClient(tracking_uri=settings.mlflow_tracking_uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return []
    mine = f"tags.`otaku.model_name` = '{settings.model_name}'"
    found = client.search_runs([experiment.experiment_id], mine, order_by=["attributes.start_time ASC"])
    return list(found)


def finished_steps(traces: Traces, run_key: str) -> set[str]:
    """Name the steps of a retraining that have published their output."""
    prefix = f"retrain/{run_key}/"
    return {key.removeprefix(prefix).split("/")[0] for key in traces.manifests if key.startswith(prefix)}


def fitted_files(traces: Traces, run_key: str, steps: tuple[str, ...] = FITTED) -> dict[str, str]:
    """Return the digest of every file that was fitted; equal data in two buckets must give the same."""
    found: dict[str, str] = {}
    for step in steps:
        files = json.loads(traces.manifests[f"retrain/{run_key}/{step}/{MANIFEST}"])["files"]
        found |= {f"{step}/{name}": entry["sha256"] for name, entry in files.items() if name not in _POINTERS}
    return found
