"""The images as a cluster runs them: one world goes through ingest, arrivals, retraining and a recommendation."""

import base64
import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from otaku.platform.supervisor import free_port
from recsys.data.sample_world.writer import write_sample_world
from recsys.retrieval.registry import list_algorithms
from recsys.settings import Settings
from tests.app.harness import wait_for
from tests.images.conftest import RESTRICTED, Engine

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
LIMITS = {"app": 700_000_000, "jobs": 2_200_000_000}


@pytest.mark.parametrize("target", LIMITS)
def test_image_is_small_unprivileged_and_described(
    engine: Engine, target: str, record_property: Callable[[str, object], None]
) -> None:
    (image,) = json.loads(engine.call("image", "inspect", engine.image(target)).stdout)
    record_property("megabytes", engine.size(target) // 1_000_000)
    assert engine.size(target) <= LIMITS[target]
    assert image["Config"]["User"] == "10001:10001"
    assert image["Config"]["Labels"]["org.opencontainers.image.version"] == engine.image(target).partition(":")[2]


@pytest.mark.parametrize("target", LIMITS)
def test_image_holds_neither_compiler_nor_settings_of_the_build(engine: Engine, target: str) -> None:
    # Where settings were mounted, Podman leaves empty files.
    script = (
        "for name in gcc g++ pip uv; do command -v $name; done; cat /etc/pip.conf /etc/uv/* /build/* 2>/dev/null; id -u"
    )
    entry = ("--entrypoint", "sh")
    assert engine.run(target, "-c", script, options=entry) == "10001\n"


def test_jobs_run_as_airflow_and_its_executor_ask(engine: Engine) -> None:
    steps = ("airflow db migrate", "airflow dags reserialize", "airflow dags list --output json")
    listed = engine.run("jobs", "bash", "-ec", f"({steps[0]}; {steps[1]}) >/dev/null 2>&1; exec {steps[2]}")
    dags = {row["dag_id"] for row in json.loads(listed[listed.index("[{") :])}
    assert dags == {"add_new_users", "ingest_feedback", "monitor_drift", "retrain_model"}
    # What a pod of the KubernetesExecutor runs, and what imports the executor itself.
    assert "--json-string" in engine.run(
        "jobs", "python", "-m", "airflow.sdk.execution_time.execute_workload", "--help"
    )
    modules = ("airflow.providers.cncf.kubernetes.executors.kubernetes_executor", "asyncpg")
    engine.run("jobs", "python", "-c", f"import {', '.join(modules)}")


@pytest.mark.skipif(shutil.which("objdump") is None, reason="objdump is not installed (Debian: binutils)")
@pytest.mark.parametrize(
    ("target", "module"), [("jobs", "lightfm._lightfm_fast_openmp"), ("jobs", "hnswlib"), ("app", "hnswlib")]
)
def test_what_the_build_compiled_runs_on_any_processor(
    engine: Engine, tmp_path: Path, target: str, module: str
) -> None:
    """Registers of AVX show a library that was compiled for the processor of the build and crashes on an older node."""
    script = (
        "import base64, pathlib, importlib.util as u;"
        f"print(base64.b64encode(pathlib.Path(u.find_spec({module!r}).origin).read_bytes()).decode())"
    )
    library = tmp_path / "library.so"
    library.write_bytes(base64.b64decode(engine.run(target, "python", "-c", script, options=("--entrypoint", ""))))
    code = subprocess.run(["objdump", "--disassemble", str(library)], capture_output=True, text=True, check=True).stdout
    assert "%xmm" in code
    assert not re.search(r"%[yz]mm", code)


@contextmanager
def serving(engine: Engine, environment_file: str) -> Iterator[str]:
    port = free_port()
    options = ("--env-file", environment_file, "--env", f"OTAKU_PORT={port}", "--env", "OTAKU_HOST=127.0.0.1")
    container = engine.call("run", "--detach", *RESTRICTED, *options, engine.image("app")).stdout.strip()
    try:
        yield f"http://127.0.0.1:{port}"
        engine.call("stop", "--time", "20", container)
        state = json.loads(engine.call("inspect", container).stdout)[0]["State"]
        assert state["ExitCode"] in (0, 143), state
    finally:
        engine.call("rm", "--force", container)


def is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return dict(json.load(response))


def recommend(url: str, body: dict[str, Any]) -> dict[str, Any]:
    return post(f"{url}/recommend/", body)


def check_that_nothing_was_removed_that_the_service_needs(url: str) -> None:
    """Every algorithm answers, with reasons too, and so does every kind of route."""
    for algorithm in ("ranker", *list_algorithms()):
        for user in (1, "new"):
            asked = {"user_input": 1} if user == 1 else {"ratings": {"1": 9, "2": 3}}
            response = recommend(url, {**asked, "algorithm": algorithm, "explain": True, "diversity": 0.5, "k": 3})
            assert len(response["recommendations"]) == 3, (algorithm, user)
    registered = post(f"{url}/users", {"ratings": {"1": 10}})
    title = response["recommendations"][0]["item_id"]
    event = {"idempotency_key": "1", "user_id": registered["user_id"], "item_id": title, "kind": "rating", "rating": 8}
    assert post(f"{url}/feedback", {"events": [event]})["n_written"] == 1
    for route in (
        "search?q=a",
        f"items/{title}",
        f"items/{title}/similar",
        "model",
        "metrics",
        "openapi.json",
        "docs",
        "",
    ):
        with urllib.request.urlopen(f"{url}/{route}", timeout=60) as page:
            assert page.status == 200


def test_programs_of_postgresql_speak_tls(engine: Engine, settings: Settings) -> None:
    """The embedded server has no TLS; a client without it would not get so far as to ask."""
    url = f"{settings.require_database_url()}".split("?")[0]
    script = f"pg_dump --version; pg_dump --schema-only --dbname '{url}?sslmode=require' 2>&1 || true"
    said = engine.run("jobs", "sh", "-c", script)
    assert "pg_dump (PostgreSQL) 18" in said
    assert "server does not support SSL, but SSL was required" in said


def test_a_model_trained_by_the_one_image_is_served_by_the_other(
    engine: Engine, environment_file: str, tmp_path: Path
) -> None:
    world = tmp_path / "world"
    write_sample_world(world, n_users=400, n_items=300, n_ratings=20_000, seed=1)
    backups = tmp_path / "backups"
    backups.mkdir()
    backups.chmod(0o777)  # as a volume whose group is that of the container
    options = ("--env-file", environment_file, "--volume", f"{world}:/world:ro")

    assert "up to date" in engine.run("jobs", "otaku", "migrate", "up", options=options)
    engine.run("jobs", "otaku", "ingest", "/world", options=options)
    arrived = json.loads(
        engine.run("jobs", "python", "-m", "simulate_new_users", "--day", "2026-01-05", "--json", options=options)
    )
    assert arrived["n_users"] > 0
    decided = json.loads(engine.run("jobs", "python", "-m", "retrain_model", "--as-of", "2026-01-11", options=options))
    # Forty test users are too few for the gate.
    assert decided["decision"]["outcome"] == "not_enough_evidence", decided
    engine.run("jobs", "otaku", "models", "promote", "1", "--reason", "a small world", options=options)

    with serving(engine, environment_file) as url:
        wait_for(lambda: is_ready(url))
        response = recommend(url, {"user_input": 1, "k": 5})
        assert response["kind"] == "existing_user"
        assert len({title["item_id"] for title in response["recommendations"]}) == 5
        assert response["model"]["version"] == 1
        check_that_nothing_was_removed_that_the_service_needs(url)

    engine.run("jobs", "otaku", "backup", "/backups", options=(*options, "--volume", f"{backups}:/backups"))
    (backup,) = engine.run(
        "jobs", "otaku", "backup", "/backups", "--list", options=(*options, "--volume", f"{backups}:/backups:ro")
    ).split()
    assert (backups / "backups" / backup / "manifest.json").is_file()
