import math
from datetime import date

import pytest

from recsys.data.sources import values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Apr 3, 1998 to Apr 24, 1999", (date(1998, 4, 3), date(1999, 4, 24))),
        ("Sep 1, 2001", (date(2001, 9, 1), date(2001, 9, 1))),
        ("2003", (date(2003, 1, 1), date(2003, 12, 31))),
        ("Feb, 2000", (date(2000, 2, 1), date(2000, 2, 29))),
        ("Apr, 1998 to ?", (date(1998, 4, 1), None)),
        ("1917 to 1918", (date(1917, 1, 1), date(1918, 12, 31))),
        ("2004 to Mar 9, 2005", (date(2004, 1, 1), date(2005, 3, 9))),
        ("1998-04-03", (date(1998, 4, 3), date(1998, 4, 3))),
        ("Unknown", (None, None)),
        ("Not available", (None, None)),
        ("", (None, None)),
    ],
)
def test_aired(text: str, expected: tuple[date | None, date | None]) -> None:
    assert values.parse_aired(text) == expected


@pytest.mark.parametrize("text", ["soon", "Feb 30, 2001", "Foo 1, 2001", "2001-13-01", "13, 2001", "to"])
def test_aired_that_is_no_date_raises(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        values.parse_aired(text)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("24 min. per ep.", 24),
        ("1 hr. 55 min.", 115),
        ("2 hr.", 120),
        ("1 hr. 2 min. per ep.", 62),
        ("90 sec. per ep.", 1.5),
    ],
)
def test_duration(text: str, minutes: float) -> None:
    assert values.parse_duration(text) == minutes


@pytest.mark.parametrize("text", ["long", "24", "-5 min.", "per ep."])
def test_duration_that_is_none_raises(text: str) -> None:
    with pytest.raises(ValueError, match="running time"):
        values.parse_duration(text)


def test_missing_values_are_missing() -> None:
    assert math.isnan(values.parse_duration("Unknown"))
    assert math.isnan(values.parse_number("Unknown"))
    assert values.parse_text("Unknown") is None
    assert values.parse_list("Unknown") == []


@pytest.mark.parametrize("text", ["abc", "-1", "inf", "1e999", "10.5"])
def test_number_outside_its_bounds_raises(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        values.parse_number(text, upper=10.0)


@pytest.mark.parametrize(
    "text",
    [
        "No synopsis information has been added to this title. Help improve our database by adding a synopsis here .",
        "No synopsis has been added for this series yet. Click here to update this information.",
        " no synopsis has been added for this series yet.",
        "",
        "Unknown",
    ],
)
def test_placeholder_synopsis_is_none(text: str) -> None:
    assert values.parse_synopsis(text) is None


def test_synopsis_that_mentions_the_word_stays() -> None:
    assert values.parse_synopsis("A film about a synopsis.") == "A film about a synopsis."


def test_titles_keep_words_that_mean_missing_elsewhere() -> None:
    assert values.parse_title("None") == "None"
    assert values.parse_title("Steins;Gate &amp; more") == "Steins;Gate & more"
    assert values.parse_title(" ") is None
