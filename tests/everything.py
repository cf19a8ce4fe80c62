"""All that the platform keeps: rows, objects, runs, versions and aliases, to compare before and after."""

import hashlib
from typing import Any

from mlflow.tracking import MlflowClient
from sqlalchemy import literal_column, select, text

from recsys.connections import open_engine, open_registry, open_store
from recsys.settings import Settings
from recsys.storage.tables import SCHEMA
from tests.retrain_model.worlds import find_runs

DRY_RUNS = "dry-run/"


def read_everything(settings: Settings) -> dict[str, Any]:
    """Read every row, a digest of every object, and all that MLflow shows; what lies below `dry-run/` is left out."""
    found: dict[str, Any] = {}
    with open_engine(settings) as engine, engine.connect() as connection:
        names = connection.scalars(
            text("SELECT table_name FROM information_schema.tables WHERE table_schema = :schema"), {"schema": SCHEMA}
        )
        for name in sorted(names):
            rows = select(literal_column("t::text")).select_from(text(f"{SCHEMA}.{name} t"))
            found[f"table {name}"] = sorted(connection.scalars(rows))
    store, registry = open_store(settings), open_registry(settings)
    for key in store.list_keys(""):
        if not key.startswith(DRY_RUNS):
            found[f"object {key}"] = hashlib.sha256(store.read_bytes(key)).hexdigest()
    for version in registry.list_versions():
        found[f"version {version.version}"] = (version.aliases, dict(version.tags), version.description)
    for run in find_runs(settings):
        client = MlflowClient(tracking_uri=settings.mlflow_tracking_uri)
        shown = client.get_run(run.info.run_id)
        found[f"run {run.info.run_id}"] = (shown.info.status, shown.data.to_dictionary())
    return found
