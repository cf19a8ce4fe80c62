import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from recsys.exceptions import ArtifactError
from recsys.recommender import Recommender
from recsys.recommender.golden import FILE, check_golden_requests, is_same_response, write_golden_requests
from tests.factories import tiny_recommender


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    tiny_recommender(seed=1).save(tmp_path / "model")
    write_golden_requests(tiny_recommender(seed=1), tmp_path / "model")
    return tmp_path / "model"


def read(folder: Path) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = json.loads((folder / FILE).read_text())
    return content


def test_a_stored_version_still_gives_the_recorded_responses(stored: Path, tmp_path: Path) -> None:
    loaded = Recommender.load(stored)

    assert check_golden_requests(loaded, stored) == len(read(stored)) == 6
    write_golden_requests(loaded, tmp_path)
    assert (tmp_path / FILE).read_bytes() == (stored / FILE).read_bytes()


def test_the_responses_of_another_model_are_noticed(stored: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="golden requests differ from the recorded response"):
        check_golden_requests(tiny_recommender(seed=2), stored)


def shift_scores(content: list[dict[str, Any]]) -> None:
    for place in (3, 7, 11):
        content[0]["answer"]["scores"][place] += 0.01


def shift_ratings(content: list[dict[str, Any]]) -> None:
    for place in (0, 5, 9):
        content[2]["answer"]["predicted_ratings"][place] -= 0.01


def flip_two_titles(content: list[dict[str, Any]]) -> None:
    """As a threshold does that another processor's rounding is on the other side of."""
    content[0]["answer"]["scores"][3] += 0.04
    content[0]["answer"]["predicted_ratings"][5] -= 0.2


def shorten(content: list[dict[str, Any]]) -> None:
    content[-1]["answer"]["item_ids"].pop()


def make_no_number(content: list[dict[str, Any]]) -> None:
    content[1]["answer"]["scores"][0] = float("nan")


@pytest.mark.parametrize("change", [shift_scores, shift_ratings, shorten, make_no_number])
def test_any_difference_beyond_rounding_is_noticed(change: Any, stored: Path) -> None:
    content = read(stored)
    change(content)
    (stored / FILE).write_text(json.dumps(content))

    with pytest.raises(ArtifactError, match=r"1 of 6 golden requests|cannot be read"):
        check_golden_requests(Recommender.load(stored), stored)


def test_two_titles_of_twenty_may_be_on_the_other_side_of_a_threshold(stored: Path) -> None:
    content = read(stored)
    assert len(content[0]["answer"]["item_ids"]) == 20
    flip_two_titles(content)
    (stored / FILE).write_text(json.dumps(content))
    assert check_golden_requests(Recommender.load(stored), stored) == 6


ANSWER = {"item_ids": [3, 1, 2], "scores": [0.9, 0.5, 0.5], "predicted_ratings": [8.0, 7.0, 7.5]}


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"item_ids": [3, 2, 1], "predicted_ratings": [8.0, 7.5, 7.0]}, True),  # equal scores change places
        ({"item_ids": [3, 1, 9]}, True),  # so do those at the end of the list, also with a title behind it
        ({"item_ids": [1, 3, 2]}, False),
        ({"item_ids": [9, 1, 2]}, False),
        ({"scores": [0.9, 0.5, 0.4]}, False),
        ({"item_ids": [], "scores": [], "predicted_ratings": []}, False),
    ],
)
def test_titles_of_equal_score_may_change_places(change: dict[str, Any], same: bool) -> None:
    assert is_same_response({**ANSWER, **change}, ANSWER) is same


@pytest.mark.parametrize("text", ["", "{}x", "[1]", '[{"request": {"ratings": {"a": 1}}, "answer": {}}]', "[null]"])
def test_a_broken_file_is_named(text: str, stored: Path) -> None:
    (stored / FILE).write_text(text)

    with pytest.raises(ArtifactError, match=FILE):
        check_golden_requests(Recommender.load(stored), stored)


def test_a_version_from_before_there_were_golden_requests_has_none(stored: Path, tmp_path: Path) -> None:
    copy = tmp_path / "old"
    shutil.copytree(stored, copy)
    (copy / FILE).unlink()

    assert check_golden_requests(Recommender.load(copy), copy) == 0
