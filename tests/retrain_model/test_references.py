"""What a step tells of its data, from what finished steps have published."""

import json
import urllib.request
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from recsys.ranking.params import get_preset
from recsys.settings import Settings
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.database import create_database_engine
from recsys.storage.registry import Registry
from retrain_model.context import RetrainContext
from retrain_model.references import build_references, describe_references

pytestmark = pytest.mark.local
FROZEN = "snapshots/abc"


@pytest.fixture
def context(settings: Settings, store: ArtifactStore) -> Iterator[RetrainContext]:
    """An attempt without any output yet."""
    engine = create_database_engine(settings.require_database_url())
    registry = Registry(str(settings.mlflow_tracking_uri), settings.model_name, store)
    yield RetrainContext(date(2026, 1, 11), get_preset("default"), engine, store, registry, settings.text_model)
    engine.dispose()


def publish(context: RetrainContext, step: str, folder: Path, made_from: tuple[str, ...], **files: object) -> None:
    place = folder / step
    place.mkdir()
    for name, content in {"inputs": dict.fromkeys(made_from, "digest"), **files}.items():
        (place / f"{name}.json").write_text(json.dumps(content))
    context.store.write_directory(context.prefix(step), place)


def test_steps_name_what_they_read_and_wrote_and_link_to_it(context: RetrainContext, tmp_path: Path) -> None:
    store, registry = context.store, context.registry
    (tmp_path / "frozen").mkdir()
    (tmp_path / "frozen" / "ratings.parquet").write_bytes(b"rows")
    frozen = store.write_directory(FROZEN, tmp_path / "frozen")
    bucket = f"s3://{store.bucket}"
    publish(context, "snapshot", tmp_path, (), snapshot={"uri": frozen})

    found = build_references(context, "snapshot")
    assert [name.rpartition(".")[2] for _, name in found.inputs] == ["items", "users", "ratings", "watch_statuses"]
    assert found.outputs == ((bucket, FROZEN),)
    with urllib.request.urlopen(found.links["Snapshot"]) as response:
        assert "ratings.parquet" in response.read().decode()

    publish(context, "train_ranker", tmp_path, ("embed_text", "fit_retrieval", "code"))
    found = build_references(context, "train_ranker")
    read = [context.prefix(step) for step in ("embed_text", "fit_retrieval")]
    assert found.inputs == ((bucket, FROZEN), *((bucket, name) for name in read))
    assert found.outputs == ((bucket, context.prefix("train_ranker")),)
    assert set(found.links) == {"Snapshot"}

    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "recommender.json").write_text("{}")
    version = registry.register_model(registry.start_run(context.run_key), tmp_path / "saved", context.run_key)
    publish(context, "evaluate", tmp_path, ("train_ranker",), evaluation={"challenger_version": version})
    publish(context, "gate", tmp_path, ("evaluate",))
    for step in ("evaluate", "gate", "request_approval", "promote", "keep"):
        found = build_references(context, step)
        assert found.links["Model version"] == registry.version_url(version)
        assert found.links["MLflow run"].startswith(f"{registry.tracking_uri}/#/experiments/")
        data = found.outputs if step in ("evaluate", "promote") else found.inputs
        assert data[-1][1] == f"{registry.model_name}/{version}"
        json.dumps(found.to_dict())


def test_a_step_without_output_has_no_links(context: RetrainContext) -> None:
    assert describe_references(context, "gate").links == {}
