import socket
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Thread
from unittest.mock import Mock

import numpy as np
import pytest
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from recsys.connections import open_store
from recsys.exceptions import (
    ArtifactError,
    ConfigurationError,
    RegistryError,
    ServiceUnavailableError,
    UnknownVersionError,
)
from recsys.settings import Settings
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.registry import EXPERIMENT, PRODUCTION, Registry, compute_directory_digest, connection
from recsys.storage.registry.connection import MODEL_TAG, RUN_KEY_TAG

pytestmark = pytest.mark.local


@pytest.fixture
def registry(mlflow_uri: str, store: ArtifactStore) -> Registry:
    return Registry(mlflow_uri, f"anime-{uuid.uuid4().hex[:8]}", store)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder of open formats, as a recommender saves one."""
    directory = tmp_path / "saved"
    (directory / "retrieval").mkdir(parents=True)
    (directory / "settings.json").write_text('{"k": 10}')
    np.savez(directory / "retrieval" / "factors.npz", items=np.arange(6.0))
    return directory


def test_a_rerun_finds_the_same_run_and_the_same_version(registry: Registry, model: Path, mlflow_uri: str) -> None:
    first = registry.start_run("2026-01-12")
    assert registry.start_run("2026-01-12") == first
    assert registry.start_run("2026-01-19") != first
    metrics = {"ndcg_at_10": 0.123456789, "coverage": 0.5, "nothing": float("nan")}
    facts = {"params": {"seed": 0}, "metrics": metrics, "dataset": ("ratings", "abc")}
    version = registry.register_model(first, model, "2026-01-12", **facts)  # type: ignore[arg-type]
    assert registry.register_model(first, model, "2026-01-12") == version == 1
    assert [found.version for found in registry.list_versions()] == [1]
    found = registry.read_version(1)
    assert (found.run_id, found.run_key, found.digest) == (first, "2026-01-12", compute_directory_digest(model))
    assert {name: text for name, text in found.tags.items() if name.startswith("metric.")} == {
        "metric.ndcg_at_10": "0.123457"
    }
    described = MlflowClient(mlflow_uri).get_registered_model(registry.model_name)
    assert "names the version that serves" in described.description
    assert described.tags["task"] == "recommendation"
    # Where models are compared, numbers, parameters and the data are at the model itself.
    client = MlflowClient(mlflow_uri)
    (output,) = client.get_run(first).outputs.model_outputs
    logged = client.get_logged_model(output.model_id)
    assert logged.params == {"seed": "0"}
    assert {(metric.key, metric.value, metric.dataset_name, metric.dataset_digest) for metric in logged.metrics} == {
        ("ndcg_at_10", 0.123456789, "ratings", "abc"),
        ("coverage", 0.5, "ratings", "abc"),
    }


def test_what_ended_between_model_and_version_goes_on(
    registry: Registry, model: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = registry.start_run("2026-01-12")
    facts = {"params": {"seed": 0}, "metrics": {"ndcg_at_10": 0.5}, "dataset": ("ratings", "abc")}
    with monkeypatch.context() as patch:
        patch.setattr(registry, "_create_version", Mock(side_effect=ServiceUnavailableError("away")))
        for _ in range(2):
            with pytest.raises(ServiceUnavailableError):
                registry.register_model(run_id, model, "2026-01-12", **facts)  # type: ignore[arg-type]
    assert registry.register_model(run_id, model, "2026-01-12", **facts) == 1  # type: ignore[arg-type]
    assert len(MlflowClient(mlflow_uri).get_run(run_id).outputs.model_outputs) == 1


def test_a_run_that_was_killed_days_ago_no_longer_runs(registry: Registry, mlflow_uri: str) -> None:
    client = MlflowClient(mlflow_uri)
    recent = client.get_run(registry.start_run("2026-01-12"))
    tags = {**recent.data.tags, RUN_KEY_TAG: "2026-01-05"}
    two_days_ago = int((time.time() - 2 * 86_400) * 1000)
    old = client.create_run(recent.info.experiment_id, start_time=two_days_ago, tags=tags).info.run_id
    other = client.create_run(recent.info.experiment_id, two_days_ago, {**tags, MODEL_TAG: "another"}).info.run_id

    registry.start_run("2026-01-19")

    found = [client.get_run(run_id).info.status for run_id in (old, recent.info.run_id, other)]
    assert found == ["KILLED", "RUNNING", "RUNNING"]
    assert registry.start_run("2026-01-05") == old
    assert client.get_run(old).info.status == "RUNNING"


def test_other_bytes_or_another_key_make_another_version(registry: Registry, model: Path) -> None:
    run_id = registry.start_run("a")
    assert registry.register_model(run_id, model, "a") == 1
    assert registry.register_model(registry.start_run("b"), model, "b") == 2
    (model / "settings.json").write_text('{"k": 20}')
    assert registry.register_model(run_id, model, "a") == 3
    assert [found.version for found in registry.list_versions("a")] == [3, 1]


def test_two_models_of_one_server_do_not_share_runs(registry: Registry, mlflow_uri: str, store: ArtifactStore) -> None:
    other = Registry(mlflow_uri, registry.model_name + "-other", store)
    assert other.start_run("a") != registry.start_run("a")


def test_a_version_comes_back_as_it_was(registry: Registry, model: Path, tmp_path: Path) -> None:
    version = registry.register_model(registry.start_run("a"), model, "a")
    folder = registry.download(version, tmp_path / "cache")
    assert compute_directory_digest(folder) == compute_directory_digest(model)
    with np.load(folder / "retrieval" / "factors.npz", allow_pickle=False) as stored:
        assert stored["items"].tolist() == [0, 1, 2, 3, 4, 5]
    (folder / "settings.json").write_text("damaged on disk")
    assert compute_directory_digest(registry.download(version, tmp_path / "cache")) == compute_directory_digest(model)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["version-1"]


def test_a_version_altered_in_storage_is_refused(registry: Registry, model: Path, tmp_path: Path) -> None:
    version = registry.register_model(registry.start_run("a"), model, "a")
    place, prefix = registry._place(registry.read_version(version).source)
    place.write_bytes(f"{prefix}/data/recommender/settings.json", b'{"k": 99}')
    with pytest.raises(ArtifactError, match="altered"):
        registry.download(version, tmp_path / "cache")
    # Even a manifest that agrees with the altered files does not make them the version that was registered.
    (model / "settings.json").write_text('{"k": 99}')
    forged = tmp_path / "forged" / "data"
    forged.mkdir(parents=True)
    model.rename(forged / "recommender")
    place.write_directory(prefix, forged.parent)
    with pytest.raises(ArtifactError, match="altered in storage"):
        registry.download(version, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_stored_version_holds_no_pickle_and_says_what_it_takes(
    registry: Registry, model: Path, tmp_path: Path
) -> None:
    version = registry.register_model(registry.start_run("a"), model, "a")
    store, prefix = registry._place(registry.read_version(version).source)
    keys = store.list_keys(prefix)
    names = {key.removeprefix(f"{prefix}/") for key in keys}
    assert {"MLmodel", "requirements.txt", "manifest.json", "data/recommender/settings.json"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".joblib", ".cloudpickle"))]
    for key in keys:
        content = store.read_bytes(key)
        # Protocols 2 to 5 start with these bytes; archives hold their members uncompressed behind a local header.
        assert not content.startswith(tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))), key
    store.read_directory(prefix, tmp_path / "version")
    description = Model.load(str(tmp_path / "version"))
    assert description.signature is not None
    assert description.signature.inputs.input_names() == ["item_ids", "ratings"]
    assert description.load_input_example(str(tmp_path / "version"))["item_ids"].tolist() == [[1, 5114]]


def test_an_interrupted_registration_is_completed_in_the_same_place(
    registry: Registry, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = registry.start_run("a")

    def fail(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "_create_version", fail)
        with pytest.raises(KeyboardInterrupt):
            registry.register_model(run_id, model, "a")
    assert registry.register_model(run_id, model, "a") == 1
    experiment = registry._client.get_experiment_by_name(EXPERIMENT)
    query = f"tags.`otaku.model_name` = '{registry.model_name}'"
    assert len(registry._client.search_logged_models([experiment.experiment_id], query)) == 1


def test_many_registrations_at_once_get_numbers_of_their_own(registry: Registry, model: Path) -> None:
    def register(number: int) -> int:
        return registry.register_model(registry.start_run(f"key-{number}"), model, f"key-{number}")

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(register, range(8))) == list(range(1, 9))


def test_a_server_that_gives_up_numbering_is_asked_again(
    registry: Registry, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = iter(range(3))
    create = registry._client.create_model_version

    def refuse_at_first(*args: object, **kwargs: object) -> object:
        if next(refusals, None) is not None:
            raise MlflowException("Model Version creation error (name=anime). Giving up after 3 attempts.")
        return create(*args, **kwargs)

    monkeypatch.setattr(registry._client, "create_model_version", refuse_at_first)
    assert registry.register_model(registry.start_run("a"), model, "a") == 1
    refusals = iter(range(99))
    with pytest.raises(ServiceUnavailableError, match="Giving up"):
        registry.register_model(registry.start_run("b"), model, "b")


def test_a_deleted_experiment_is_named(mlflow_uri: str, s3_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(s3_settings)  # the only bucket in which MLflow gives places
    monkeypatch.setattr(connection, "EXPERIMENT", f"retrain-{uuid.uuid4().hex[:8]}")
    registry = Registry(mlflow_uri, "anime", store)
    registry.start_run("a")
    experiment = registry._client.get_experiment_by_name(connection.EXPERIMENT)
    assert experiment.artifact_location == store.uri("mlflow")
    registry._client.delete_experiment(experiment.experiment_id)
    with pytest.raises(ConfigurationError, match="restore"):
        registry.start_run("b")


def test_what_a_run_did_is_recorded_once(registry: Registry) -> None:
    run_id = registry.start_run("a", tags={"preset": "default"})
    figure = Figure()
    figure.add_subplot().plot([1, 2])
    for _ in range(2):
        registry.log(
            run_id,
            params={f"p{number}": number for number in range(150)},
            metrics={"ndcg_at_10": 0.25, "undefined": float("nan")},
            tags={"digest": "abc"},
            figures={"gate/differences.png": figure},
            artifacts={"users.json": b"{}"},
            curves={"mf.loss": [0.5, 0.25, 0.375]},
            dataset=("snapshot", "f" * 64, "s3://otaku/snapshots/f/"),
        )
    run = registry._client.get_run(run_id)
    assert len(run.data.params) == 150
    assert run.data.metrics == {"ndcg_at_10": 0.25, "mf.loss": 0.375}
    epochs = [(found.step, found.value) for found in registry._client.get_metric_history(run_id, "mf.loss")]
    assert epochs == [(1, 0.5), (2, 0.25), (3, 0.375)]
    assert (run.data.tags["digest"], run.data.tags["preset"]) == ("abc", "default")
    assert len(registry._client.get_metric_history(run_id, "ndcg_at_10")) == 1
    assert [entry.dataset.name for entry in run.inputs.dataset_inputs] == ["snapshot"]
    assert registry.read_artifact(run_id, "gate/differences.png").startswith(b"\x89PNG")
    assert registry.read_artifact(run_id, "users.json") == b"{}"
    registry.finish_run(run_id)
    assert registry._client.get_run(run_id).info.status == "FINISHED"
    registry.start_run("a")
    registry.finish_run(run_id, failed=True)
    assert registry._client.get_run(run_id).info.status == "FAILED"


@pytest.mark.parametrize("values", [(1.0, 0.0), (0.0, 1.0), (1.0, 0.0, 1.0)])
def test_a_metric_that_is_logged_again_shows_its_last_value(registry: Registry, values: tuple[float, ...]) -> None:
    run_id = registry.start_run("a")
    for value in values:
        for _ in range(2):
            registry.log(run_id, metrics={"gate_promote": value})
    assert registry._client.get_run(run_id).data.metrics == {"gate_promote": values[-1]}
    assert len(registry._client.get_metric_history(run_id, "gate_promote")) == len(values)


def test_a_refused_request_is_no_outage(registry: Registry, model: Path) -> None:
    registry.register_model(registry.start_run("a"), model, "a")
    with pytest.raises(RegistryError, match="MLflow request failed"):
        registry.point_alias(PRODUCTION, 9)


def test_aliases_move(registry: Registry, model: Path) -> None:
    assert registry.production_version() is None
    version = registry.register_model(registry.start_run("a"), model, "a")
    assert registry.production_version() is None
    registry.point_alias(PRODUCTION, version)
    assert registry.production_version() == version
    assert registry.list_versions()[0].aliases == registry.read_version(version).aliases == (PRODUCTION,)
    registry.point_alias(PRODUCTION, None)
    assert registry.production_version() is None


def test_notes_of_a_version(registry: Registry, model: Path) -> None:
    version = registry.register_model(registry.start_run("a"), model, "a", description="new")
    assert registry.read_version(version).description == "new"
    registry.annotate(version, {"gate.outcome": "better"}, "significantly better")
    found = registry.read_version(version)
    assert (found.description, found.tags["gate.outcome"]) == ("significantly better", "better")


def test_unknown_versions_and_empty_folders_are_refused(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(UnknownVersionError, match="no version 7"):
        registry.download(7, tmp_path)
    with pytest.raises(ArtifactError, match="no file"):
        registry.register_model("run", tmp_path, "a")
    with pytest.raises(ConfigurationError, match="S3"):
        registry._place("mlflow-artifacts:/0/models")


def test_a_dead_server_is_asked_three_times(store: ArtifactStore) -> None:
    """MLflow by itself goes on for four minutes."""
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def hang_up() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    asked.append(connection.recv(4096))
                    connection.close()

        thread = Thread(target=hang_up)
        thread.start()
        try:
            with pytest.raises(ServiceUnavailableError, match=address):
                Registry(f"http://{address}", "anime", store).production_version()
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
    assert len(asked) == 3
