"""A version in an environment that has MLflow and what the version asks for, and nothing of the platform."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otaku.platform.environment import settings_environment
from otaku.platform.supervisor import free_port
from recsys.connections import open_registry
from recsys.recommender import UserProfile
from recsys.retrieval.spec import ModelInputs
from recsys.retrieval.standalone import fit_standalone, select_standalone
from recsys.settings import Settings
from recsys.storage.registry import PRODUCTION
from recsys.storage.registry.connection import DATA
from recsys.storage.registry.packaging import write_package
from tests.factories import tiny_recommender, tiny_world
from tests.recsys.retrieval.test_generators import QUICK

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]
CATALOG, INTERACTIONS = tiny_world()
LOAD = """
import json, sys, warnings
warnings.simplefilter("ignore")
import mlflow.pyfunc, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
example = pandas.DataFrame({"item_ids": [[1, 19, 999_999]], "ratings": [[9.0, 10.0, 1.0]]})
import recsys
print(json.dumps([recsys.__file__, model.predict(example, params={"k": 5}).iloc[0].to_dict()]))
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version as it lies in the registry, with every model that answers alone."""
    folder = tmp_path_factory.mktemp("version")
    recommender = tiny_recommender()
    ratings, vectors = INTERACTIONS.to_matrix(CATALOG), np.ones((len(CATALOG), 384), dtype=np.float32)
    alone = fit_standalone(ratings, CATALOG, select_standalone(), ModelInputs(lambda: vectors, params=QUICK))
    retriever = replace(recommender.retriever, standalone=alone)
    replace(recommender, retriever=retriever).save(folder / "saved")
    write_package(folder / "model", folder / "saved", model_id="m-1", run_id="r-1")
    return folder / "model"


@pytest.fixture(scope="module")
def python(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a virtual environment with MLflow and the requirements of the version."""
    return install(tmp_path_factory.mktemp("clean"), "-r", str(package / "requirements.txt"))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a virtual environment with MLflow and its client of S3, and nothing that a version needs."""
    return install(tmp_path_factory.mktemp("client"), f"boto3=={version('boto3')}")


def install(folder: Path, *packages: str) -> Path:
    uv = [str(Path(sys.executable).with_name("uv"))]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(folder / "venv")], check=True, timeout=300)
    python = folder / "venv" / "bin" / "python"
    command = [*uv, "pip", "install", "--quiet", "--python", str(python), f"mlflow=={version('mlflow')}", *packages]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    return python


def expect() -> list[int]:
    known = UserProfile(np.array([1, 19]), np.array([9, 10], dtype=np.float32))
    return [int(item) for item in tiny_recommender().recommend(known, k=5).item_ids]


def environment() -> dict[str, str]:
    given = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OTAKU"))}
    return {**given, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


def test_pyfunc_loads_and_predicts_with_the_code_of_the_version(package: Path, python: Path, tmp_path: Path) -> None:
    command = [str(python), "-c", LOAD, str(package)]
    found = subprocess.run(
        command, env=environment(), cwd=tmp_path, check=False, capture_output=True, text=True, timeout=600
    )
    assert found.returncode == 0, found.stderr[-2000:]
    place, answer = json.loads(found.stdout)
    assert Path(place).is_relative_to(package)
    assert answer["item_ids"] == expect()


def test_mlflow_models_serve_answers_and_refuses_unequal_lists(package: Path, python: Path, tmp_path: Path) -> None:
    with serve(python, str(package), "local", tmp_path) as port:
        answer = post(port, [[[1, 19], [9.0, 10.0]]])
        assert answer["predictions"][0]["item_ids"] == expect()
        with pytest.raises(urllib.error.HTTPError) as refused:
            post(port, [[[1, 19], [9.0]]])
        assert "row 0 has 2 item_ids and 1 ratings" in refused.value.read().decode()


@pytest.mark.parametrize("manager", ["virtualenv", "uv"])
def test_mlflow_makes_the_environment_of_the_version_in_production(
    manager: str, package: Path, client: Path, settings: Settings, tmp_path: Path
) -> None:
    needed = {"virtualenv": "pyenv", "uv": "uv"}[manager]
    folder = shutil.which(needed, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if folder is None:
        pytest.skip(f"MLflow makes such environments by {needed}, which is not there")
    registry = open_registry(settings.model_copy(update={"model_name": f"anime-{manager}"}))
    registered = registry.register_model(registry.start_run("2026-01-11"), package / DATA, "2026-01-11")
    registry.point_alias(PRODUCTION, registered)
    names = {
        **{name: value for name, value in settings_environment(settings).items() if not name.startswith("OTAKU")},
        "MLFLOW_ENV_ROOT": str(tmp_path / "environments"),
        "PATH": f"{client.parent}:{Path(folder).parent}:{sys.base_prefix}/bin:/usr/bin:/bin",
    }
    with serve(client, f"models:/anime-{manager}@{PRODUCTION}", manager, tmp_path, names) as port:
        assert post(port, [[[1, 19], [9.0, 10.0]]])["predictions"][0]["item_ids"] == expect()


@contextmanager
def serve(
    python: Path, model: str, manager: str, folder: Path, names: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Run `mlflow models serve` and yield its port."""
    port = free_port()
    command = [str(python.with_name("mlflow")), "models", "serve", "-m", model, "--env-manager", manager]
    given = {**environment(), "PATH": f"{python.parent}:{os.environ['PATH']}", **(names or {})}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "-p", str(port), "-h", "127.0.0.1"],
            env=given,
            cwd=folder,
            stdout=log,
            stderr=log,
            process_group=0,
        )
    try:
        wait_until_up(f"http://127.0.0.1:{port}/ping", server, folder / "log")
        yield port
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, 9)
        server.wait()


def wait_until_up(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 1500
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text())


def post(port: int, data: list[Any]) -> dict[str, Any]:
    body = {"dataframe_split": {"columns": ["item_ids", "ratings"], "data": data}, "params": {"k": 5}}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        found: dict[str, Any] = json.load(response)
    return found
