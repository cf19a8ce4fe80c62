"""MLflow of the local platform: a password, places for artefacts, and interfaces that are off."""

import base64
import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from otaku.platform.mlflow_guard import MAX_BODY_BYTES, MlflowGuard
from otaku.platform.state import Credentials
from otaku.platform.tracking import derive_password
from recsys.connections import open_registry
from recsys.settings import Settings
from tests.conftest import build_settings, spell_mlflow_credentials

NAMED = spell_mlflow_credentials(build_settings())
LOGIN = f"{NAMED['MLFLOW_TRACKING_USERNAME']}:{NAMED['MLFLOW_TRACKING_PASSWORD']}"


def ask(url: str, body: dict[str, Any] | None = None, login: str | None = LOGIN) -> tuple[int, str]:
    headers = {"Content-Type": "application/json"}
    if login is not None:
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.local
def test_nobody_is_served_without_the_password(mlflow_uri: str) -> None:
    search = f"{mlflow_uri}/api/2.0/mlflow/experiments/search?max_results=1"
    paths = ("/", "/graphql", "/api/2.0/mlflow/experiments/search?max_results=1", "/get-artifact?path=x&run_uuid=y")

    assert ask(search)[0] == 200
    assert ask(f"{mlflow_uri}/health", login=None)[0] == 200
    for path in paths:
        assert ask(mlflow_uri + path, login=None)[0] == 401, path
        assert ask(mlflow_uri + path, login="otaku:wrong")[0] == 401, path
        assert ask(mlflow_uri + path, login="admin:password1234")[0] == 401, path


@pytest.mark.local
def test_our_clients_have_the_password(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
    client = MlflowClient(settings.mlflow_tracking_uri)
    with pytest.raises(MlflowException, match=r"401|password is wrong"):
        client.search_experiments(max_results=1)

    assert open_registry(settings).production_version() is None


@pytest.mark.local
@pytest.mark.parametrize(
    "place", ["file:///tmp/elsewhere", "/etc", "s3://otaku/snapshots", "s3://otaku/mlflow/../snapshots"]
)
def test_artefacts_are_kept_nowhere_else(mlflow_uri: str, place: str) -> None:
    created = ask(
        f"{mlflow_uri}/api/2.0/mlflow/experiments/create", {"name": f"at {place}", "artifact_location": place}
    )
    spelled = ask(f"{mlflow_uri}/ajax-api/2.0/mlflow/experiments/create", {"name": place, "artifactLocation": place})
    registered = ask(f"{mlflow_uri}/api/2.0/mlflow/model-versions/create", {"name": "some", "source": place})

    for status, text in (created, spelled, registered):
        assert status == 403
        assert "artefacts are kept below s3://" in text


@pytest.mark.local
def test_jobs_gateway_and_workspaces_are_off(mlflow_uri: str) -> None:
    for path in (
        "gateway/secrets/list",
        "gateway/endpoints/list",
        "jobs/1",
        "prompt-optimization/jobs/1",
        "workspaces",
    ):
        for prefix in ("api", "ajax-api"):
            assert ask(f"{mlflow_uri}/{prefix}/3.0/mlflow/{path}")[0] == 404, path
    assert ask(f"{mlflow_uri}/api/2.0/mlflow-artifacts/artifacts")[0] == 404


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(f"{len(body)}")(scope, receive, send)


@pytest.fixture
def guarded() -> TestClient:
    return TestClient(MlflowGuard(_echo, user="otaku", password="pass", artifact_root="s3://otaku/mlflow"))


def test_bodies_arrive_whole_and_not_without_end(guarded: TestClient) -> None:
    assert guarded.post("/x", content=b"[1, 2]", auth=("otaku", "pass")).text == "6"
    assert guarded.post("/x", content=b"no json", auth=("otaku", "pass")).text == "7"
    assert guarded.post("/x", content=b"[" * 100_000, auth=("otaku", "pass")).text == "100000"
    assert guarded.post("/x", content=bytes(MAX_BODY_BYTES + 1), auth=("otaku", "pass")).status_code == 413


@pytest.mark.parametrize(
    "value", ["", "Basic", "Basic !", "Basic b3Rha3U=", "Bearer b3Rha3U6cGFzcw==", "Basic b3Rha3U6cGFzcw==x"]
)
def test_whatever_stands_in_the_header_is_no_error(guarded: TestClient, value: str) -> None:
    assert guarded.get("/x", headers={"Authorization": value}).status_code == 401
    assert guarded.get("/x", headers={"Authorization": "basic b3Rha3U6cGFzcw=="}).status_code == 200


def test_two_headers_are_none(guarded: TestClient) -> None:
    twice = [("Authorization", "Basic b3Rha3U6cGFzcw==")] * 2
    assert guarded.get("/x", headers=twice).status_code == 401


def test_each_home_has_a_password_of_its_own() -> None:
    one, other = (derive_password(Credentials("database", "key", secret)) for secret in ("one", "other"))
    assert one != other
    assert len(one) == 64
    assert "one" not in one
