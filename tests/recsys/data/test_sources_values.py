import math
from datetime import date

import pytest

from recsys.data.sources import statuses, users, values
from recsys.types import WatchStatus


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


@pytest.mark.parametrize(
    "text",
    [
        "No description available for this anime.",
        "There is no synopsis available yet.",
        "no summary yet",
        "No synopsis.",
        "Sorry, no description was found.",
        "No synopsis information has been added to this title. Help improve our database.",
    ],
)
def test_placeholder_sentences_of_all_sources_are_none(text: str) -> None:
    assert values.parse_synopsis(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "No description can do justice to this tale.",
        "No information reaches the village, and the children set out.",
        "No plot survives the first battle.",
        "There is no summary of a life like hers.",
    ],
)
def test_a_synopsis_that_begins_like_a_placeholder_stays(text: str) -> None:
    assert values.parse_synopsis(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Gintama&amp;#039;", "Gintama'"),
        ("&amp;amp;quot;A&amp;amp;quot; &amp; B", '"A" & B'),
        ("&quot;Alpha&quot; &amp;amp; Omega", '"Alpha" & Omega'),
        ("Tom &amp; Jerry &copy;", "Tom & Jerry ©"),
        ("R&D", "R&D"),
    ],
)
def test_entities_that_were_escaped_more_than_once(text: str, expected: str) -> None:
    assert values.parse_title(text) == expected
    assert values.parse_text(text) == expected
    assert values.parse_list(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Action, Sci-Fi", ["Action", "Sci-Fi"]),
        ("action, SCI-FI, Action", ["Action", "Sci-Fi"]),
        ("hentai", ["Hentai"]),
        ("slice of life|boys love", ["Slice of Life", "Boys Love"]),
        ("Drama;Comedy; drama", ["Drama", "Comedy"]),
        ("['Comedy', 'Sports', 'drama']", ["Comedy", "Sports", "Drama"]),
        ('["Comedy", "cgdct"]', ["Comedy", "CGDCT"]),
        ("[]", []),
        ("[Comedy, Sports", ["[Comedy", "Sports"]),
        ("[Comedy, Sports]", ["Comedy", "Sports"]),
        ("UNKNOWN", []),
        ("['Unknown']", []),
        ("space western, Space Western, SPACE WESTERN", ["Space Western"]),
        ("it's magic", ["It's Magic"]),
    ],
)
def test_genres_however_they_are_written(text: str, expected: list[str]) -> None:
    assert values.parse_genres(text) == expected


def test_synonyms_keep_what_separates_genres() -> None:
    assert values.parse_list("Steins;Gate 0, SG0") == ["Steins;Gate 0", "SG0"]
    assert values.parse_list("Ann, the First|Ann") == ["Ann, the First", "Ann"]
    assert values.parse_list("['Ann, the First', 'Steins;Gate']") == ["Ann, the First", "Steins;Gate"]


@pytest.mark.parametrize("text", ["[" * 5000 + "]" * 5000, "[__import__('os')]", "[1, 2", "[{}]", "['a'", "]["])
def test_what_looks_like_a_list_and_is_none_is_text(text: str) -> None:
    assert values.parse_genres(text) is not None


def test_a_mean_score_of_zero_is_none() -> None:
    assert math.isnan(values.parse_score("0.0"))
    assert values.parse_score("8.0") == 8


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("1", "watching"), ("2", "completed"), ("3", "on_hold"), ("4", "dropped"), ("6", "planned"), ("6.0", "planned"),
        ("Watching", "watching"), ("completed", "completed"), ("On-Hold", "on_hold"), ("on_hold", "on_hold"),
        ("Dropped ", "dropped"), ("Plan to Watch", "planned"), ("plan_to_watch", "planned"),
        ("0", None), ("5", None), ("33", None), ("", None), ("seen", None),
    ],
)  # fmt: skip
def test_statuses(text: str, status: str | None) -> None:
    assert statuses.parse_status(text) == status
    codes, unknown = statuses.parse_statuses([text, "4"])
    assert [None if code < 0 else list(WatchStatus)[code] for code in codes] == [status, "dropped"]
    assert unknown.tolist() == [status is None and text != "", False]


def test_names_are_hashed_alike_everywhere() -> None:
    first = users.hash_user_names(["Ann", "bob", " ANN ", "", "Ann"])
    assert first[0] == first[2] == first[4] == users.hash_user_name("ann") == 3_726_806_458_093_379
    assert first[3] == users.MISSING_NAME
    assert len(users.hash_user_names([])) == 0
    many = users.hash_user_names([f"user-{number}" for number in range(20_000)])
    assert len(set(many.tolist())) == 20_000
    assert users.FIRST_HASHED_ID <= many.min() < many.max() <= users.LAST_HASHED_ID < 2**53
