"""Fail the first, second, third … call to PostgreSQL, S3 and MLflow, once and for ever, until the step passes."""

import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from botocore.client import BaseClient
from botocore.exceptions import EndpointConnectionError
from mlflow.utils import rest_utils
from sqlalchemy import Engine, event

from recsys.exceptions import ServiceUnavailableError
from recsys.storage import promotion
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.registry import PREVIOUS, PRODUCTION, Registry

pytestmark = [pytest.mark.local, pytest.mark.slow]


class Faults:
    """Counts calls to the three services, and fails some of them."""

    def __init__(self) -> None:
        self.first, self.for_ever, self.n_calls = 0, False, 0
        self.injected: Counter[str] = Counter()

    def arm(self, first: int, *, for_ever: bool) -> None:
        """Fail call number `first` from now on (0: none), and with `for_ever` all after it."""
        self.first, self.for_ever, self.n_calls = first, for_ever, 0

    def strikes(self, service: str) -> bool:
        self.n_calls += 1
        struck = self.first > 0 and (self.n_calls == self.first or (self.for_ever and self.n_calls > self.first))
        self.injected[service] += struck
        return struck


@contextmanager
def injecting_faults(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """Let every call of this process to the three services pass by a `Faults`."""
    faults = Faults()
    ask_mlflow, ask_s3 = rest_utils._get_http_response_with_retries, BaseClient._make_api_call

    def mlflow(*args: Any, **kwargs: Any) -> Any:
        if faults.strikes("mlflow"):
            raise requests.exceptions.ConnectionError("injected")
        return ask_mlflow(*args, **kwargs)

    def s3(self: BaseClient, operation: str, parameters: Any) -> Any:
        if faults.strikes("s3"):
            raise EndpointConnectionError(endpoint_url="injected")
        return ask_s3(self, operation, parameters)

    def statement(_connection: Any, cursor: Any, *_: Any) -> None:
        if faults.strikes("postgresql"):
            cursor.connection.close()

    def commit(connection: Any) -> None:
        if faults.strikes("postgresql"):
            connection.connection.dbapi_connection.close()

    monkeypatch.setattr(rest_utils, "_get_http_response_with_retries", mlflow)
    monkeypatch.setattr(BaseClient, "_make_api_call", s3)
    event.listen(engine, "before_cursor_execute", statement)
    event.listen(engine, "commit", commit)
    yield faults
    event.remove(engine, "before_cursor_execute", statement)
    event.remove(engine, "commit", commit)


@pytest.fixture
def faults(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    with injecting_faults(engine, monkeypatch) as faults:
        yield faults


# Every 7th call in `make test`, each one in `make e2e`.
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.e2e)])
@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for ever"])
def test_every_call_may_fail(
    for_ever: bool,
    stride: int,
    engine: Engine,
    faults: Faults,
    mlflow_uri: str,
    store: ArtifactStore,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    registry = Registry(mlflow_uri, f"anime-{uuid.uuid4().hex[:8]}", store)
    (tmp_path / "saved").mkdir()

    def step(key: str) -> int:
        """Register a model and promote it, as the last steps of a retraining do."""
        champion = next(
            (line.champion_version for line in promotion.read_ledger(engine) if line.run_key == key), before
        )
        run_id = registry.start_run(key)
        registry.log(run_id, metrics={"ndcg_at_10": 0.3}, artifacts={"users.json": b"{}"})
        version = registry.register_model(run_id, tmp_path / "saved", key)
        promotion.promote(engine, registry, version, run_key=key, champion=champion, actor="user:mai", reason="a test")
        return version

    before: int | None = None
    points = range(1, 200, stride)
    for point in points:
        key = f"point-{point}"
        (tmp_path / "saved" / "model.json").write_text(key)
        faults.arm(point, for_ever=for_ever)
        struck = False
        try:
            step(key)
        except ServiceUnavailableError:
            struck = True
        survived = faults.n_calls < point
        faults.arm(0, for_ever=False)
        after = step(key)
        assert (registry.alias_version(PREVIOUS), registry.alias_version(PRODUCTION)) == (before, after), point
        assert [version.version for version in registry.list_versions(key)] == [after], point
        ledger = promotion.read_ledger(engine)
        assert [line.challenger_version for line in ledger if line.run_key == key] == [after], point
        assert registry.read_version(after).tags["decision.run_key"] == key
        before = after
        if survived:
            assert not struck
            break
    else:
        pytest.fail("the step never passed")
    assert len(promotion.read_ledger(engine)) == points.index(point) + 1
    assert set(+faults.injected) == {"mlflow", "s3", "postgresql"}
    with capsys.disabled():
        mode = "and all later ones" if for_ever else "once"
        sys.stdout.write(
            f"\n{points.index(point)} calls failed {mode}, {dict(faults.injected)}; every rerun ended in one effect\n"
        )
