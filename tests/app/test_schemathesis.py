"""Whatever the OpenAPI page allows, and much that it does not, is answered as the page says."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, reject
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr
from schemathesis.core.errors import UnsupportedSchema
from schemathesis.generation import GenerationMode
from schemathesis.generation.case import Case
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.main import create_app
from recsys.settings import Settings
from recsys.storage.database import create_database_engine, upsert_rows
from recsys.storage.tables import items
from tests.app.harness import BASE_URL, FolderSource, TestClient, open_client
from tests.conftest import build_settings
from tests.factories import tiny_catalog

pytestmark = [pytest.mark.local]
URL = BASE_URL
CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


def read_page() -> dict[str, Any]:
    nowhere = SecretStr("postgresql://nobody@127.0.0.1:1/nothing")
    settings = build_settings(database_url=nowhere, mlflow_tracking_uri="http://127.0.0.1:1")
    return create_app(settings, source=FolderSource({})).openapi()


SCHEMA = schemathesis.openapi.from_dict(read_page())
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations()}


@pytest.fixture
def client(database_url: str, offline_settings: Settings, source: FolderSource) -> Iterator[TestClient]:
    engine = create_database_engine(database_url)
    with engine.begin() as connection:
        upsert_rows(connection, items, tiny_catalog().items)
    engine.dispose()
    settings = offline_settings.model_copy(update={"database_url": SecretStr(database_url)})
    with open_client(settings, source) as opened:
        yield opened


def send(client: TestClient, case: Case) -> None:
    wanted = case.as_transport_kwargs(base_url=URL)
    content = wanted.get("data")
    body = {"json": wanted["json"]} if "json" in wanted else {"content": content} if content is not None else {}
    try:
        request = client.build_request(
            wanted["method"], wanted["url"], params=wanted.get("params"), headers=dict(wanted["headers"]), **body
        )
    except (UnicodeError, ValueError, TypeError):
        return  # nothing that this client could put on the wire
    case.validate_response(client.send(request), checks=CHECKS)


@st.composite
def draw_case(draw: st.DrawFn, operation: Any, mode: GenerationMode) -> Case:
    """Draw a request; wrong bodies are made by changing the schema, now and then into one without any example."""
    try:
        return draw(operation.as_strategy(generation_mode=mode))
    except UnsupportedSchema:
        reject()


def fuzz(client: TestClient, label: str, max_examples: int) -> None:
    operation = OPERATIONS[label]
    modes = [GenerationMode.POSITIVE]
    # Nothing can be got wrong where nothing is given, and schemathesis knows no wrong body for a lone map of numbers.
    if set(operation.definition.raw) & {"parameters", "requestBody"} and label != "POST /users":
        modes.append(GenerationMode.NEGATIVE)
    for mode in modes:
        n_sent = fuzz_mode(client, operation, mode, max_examples)
        # A path without parameters is one request; there are always more wrong ones.
        assert n_sent >= (max_examples if mode is GenerationMode.NEGATIVE else 1)


def fuzz_mode(client: TestClient, operation: Any, mode: GenerationMode, max_examples: int) -> int:
    """Send requests that the page allows, or that it does not, and return how many."""
    sent: list[Case] = []

    @given(draw_case(operation, mode))
    @hypothesis_settings(
        max_examples=max_examples, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
    )
    def run(case: Case) -> None:
        send(client, case)
        sent.append(case)

    run()
    return len(sent)


@pytest.mark.parametrize("label", sorted(OPERATIONS))
def test_every_operation_responses_as_it_is_documented(client: TestClient, label: str) -> None:
    fuzz(client, label, 12)


@pytest.mark.e2e
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("label", sorted(OPERATIONS))
def test_every_operation_responses_as_it_is_documented_many_times(client: TestClient, label: str) -> None:
    fuzz(client, label, 500)
