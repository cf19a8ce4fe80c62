import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.app.harness import FolderSource, TestClient, wait_for


def read_samples(client: TestClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_requests_are_counted_by_route_status_and_kind(client: TestClient) -> None:
    for body in ({}, {}, {"user_input": "Monster"}, {"k": 0}):
        client.post("/recommend/", json=body)
    client.get("/items/1")
    client.get("/items/77")
    client.get("/somewhere/42")

    samples = read_samples(client)

    def count(route: str, method: str, status: str, kind: str = "") -> float:
        labels = (("kind", kind), ("method", method), ("route", route), ("status", status))
        return samples[("otaku_requests_total", labels)]

    assert count("/recommend/", "POST", "200", "new_user") == 2
    assert count("/recommend/", "POST", "200", "similar_items") == 1
    assert count("/recommend/", "POST", "422") == 1
    assert count("/items/{item_id}", "GET", "200") == 1
    assert count("/items/{item_id}", "GET", "404") == 1
    assert count("unmatched", "GET", "404") == 1
    timed = ("otaku_request_duration_seconds_count", (("kind", "new_user"), ("route", "/recommend/")))
    assert samples[timed] == 2


def test_the_served_version_its_swaps_and_refusals_are_told(client: TestClient, source: FolderSource) -> None:
    source.production = 2
    wait_for(lambda: client.get("/model").json()["version"] == 2)
    source.production = 3
    wait_for(lambda: read_samples(client)[("otaku_model_refusals_total", ())] == 1)

    samples = read_samples(client)

    info = ("otaku_model_info", (("name", "anime-recommender"), ("run_id", "run-2"), ("version", "2")))
    assert [name for name in samples if name[0] == "otaku_model_info"] == [info]
    assert samples[("otaku_model_swaps_total", ())] == 2
    assert samples[("otaku_model_last_refresh_timestamp_seconds", ())] > 1.7e9


def test_every_name_has_the_prefix_and_no_label_names_a_user(client: TestClient) -> None:
    client.post("/recommend/", json={"user_input": 7654321})

    text = client.get("/metrics").text

    assert all(re.match(r"#|otaku_|process_", line) for line in text.splitlines())
    assert "7654321" not in text


def test_applications_do_not_share_metrics(client: TestClient) -> None:
    label = (("kind", ""), ("method", "GET"), ("route", "/model"), ("status", "200"))

    assert ("otaku_requests_total", label) not in read_samples(client)


def test_the_model_card_names_what_is_served(client: TestClient) -> None:
    card = client.get("/model").json()

    assert card["loaded_at"].endswith("Z")
    assert {key: card[key] for key in ("name", "version", "run_id", "n_items")} == {
        "name": "anime-recommender",
        "version": 1,
        "run_id": "run-1",
        "n_items": 48,
    }


def test_a_request_line_in_the_log_holds_no_content(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="app")

    client.post("/recommend/", json={"user_input": "Monster"}, headers={"X-Request-ID": "id-1", "X-API-Key": "k3y"})

    lines = [record.getMessage() for record in caplog.records if "id-1" in record.getMessage()]
    assert len(lines) == 1
    assert re.fullmatch(r"id-1 POST /recommend/ 200 \d+\.\d ms", lines[0])
