from typing import Any

import pytest
from pydantic import TypeAdapter

from app.schemas.recommendations import RecommendRequest, RecommendResponse
from recsys.retrieval.registry import list_algorithms
from tests.app.harness import TestClient


@pytest.fixture
def page(client: TestClient) -> dict[str, Any]:
    read: dict[str, Any] = client.get("/openapi.json").json()
    return read


def operations(page: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(path, operation) for path, methods in page["paths"].items() for operation in methods.values()]


def test_operation_ids_are_chosen_and_unique(page: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, operation in operations(page)]

    assert sorted(ids) == sorted(set(ids))
    assert {"recommend", "search", "read_item", "similar_items", "read_model", "read_readiness"} <= set(ids)


def test_every_error_is_documented_as_a_problem(page: dict[str, Any]) -> None:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path, operation in operations(page):
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert response["content"] == problem, (path, status)
        assert operation["description"], path
    assert not {"HTTPValidationError", "ValidationError"} & set(page["components"]["schemas"])


def test_references_of_the_page_lead_somewhere(page: dict[str, Any]) -> None:
    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                name = node["$ref"].removeprefix("#/components/schemas/")
                assert name in page["components"]["schemas"]
            for value in node.values():
                walk(value)
        if isinstance(node, list):
            for value in node:
                walk(value)

    walk(page)


def test_the_examples_are_valid_questions_and_get_answers(page: dict[str, Any], client: TestClient) -> None:
    examples = page["components"]["schemas"]["RecommendRequest"]["examples"]
    assert len(examples) == 5
    for example in examples:
        RecommendRequest.model_validate(example)
        if not isinstance(example.get("user_input"), int):  # there is no database here
            response = client.post("/recommend/", json=example)
            TypeAdapter(RecommendResponse).validate_python(response.json())


def test_what_is_offered_is_documented(page: dict[str, Any]) -> None:
    fields = page["components"]["schemas"]["RecommendRequest"]["properties"]

    assert {"diversity", "explain", "list", "planned"} <= set(fields)
    assert fields["algorithm"]["enum"] == ["ranker", *list_algorithms()]
