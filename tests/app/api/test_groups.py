"""`POST /recommend/group` over HTTP."""

from typing import Any

import pytest

from tests.app.harness import TestClient


def ask(client: TestClient, *members: dict[str, Any], **fields: Any) -> Any:
    return client.post("/recommend/group", json={"members": list(members), **fields})


@pytest.mark.parametrize(
    "members",
    [
        [{}, {}],
        [{"ratings": {"1": 9}}, {"liked": ["Monster"]}],
        [{"ratings": {"1": 9, "30": 2}}, {"ratings": {"19": 10}}, {"liked": ["Naruto"]}, {}, {"liked": ["Trigun"]}],
    ],
    ids=["nobody known", "two", "five"],
)
def test_every_member_has_a_number_at_every_title(client: TestClient, members: list[dict[str, Any]]) -> None:
    response = ask(client, *members, k=12)
    assert response.status_code == 200, response.text
    listed = response.json()["recommendations"]
    assert [entry["rank"] for entry in listed] == list(range(1, 13))
    assert all(0 <= entry["score"] <= 1 for entry in listed)
    for entry in listed:
        assert len(entry["members"]) == len(members)
        shares = [share["percentile"] for share in entry["members"]]
        assert all(0 <= share <= 100 for share in shares)
        assert entry["mean_percentile"] == pytest.approx(sum(shares) / len(shares), abs=1e-3)
        assert all(1 <= share["predicted_rating"] <= 10 for share in entry["members"])
    watched = {int(item_id) for member in members for item_id in member.get("ratings", {})}
    assert not watched & {entry["item_id"] for entry in listed}


def test_what_makes_no_group_is_refused(client: TestClient) -> None:
    assert ask(client, {}).status_code == 422
    assert ask(client, *[{}] * 6).status_code == 422
    assert ask(client, {"liked": ["qqqqzzzz"]}, {}).status_code == 404
    assert ask(client, {"ratings": {"1": 11}}, {}).status_code == 422
