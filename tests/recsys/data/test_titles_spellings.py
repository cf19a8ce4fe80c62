import pytest

from recsys.data.titles import TitleIndex
from recsys.exceptions import UnknownTitleError
from tests.recsys.data.title_catalogs import Work, build_catalog

INDEX = TitleIndex.build(
    build_catalog(
        [
            Work(40748, 707_976, "Jujutsu Kaisen (TV)", None, "呪術廻戦", year=2020),
            Work(38777, 14_024, "Jujutsu Kaisen", "Jujutsu Kaisen", "呪術廻戦", type="ONA", year=2018),
            Work(35233, 12_000, "Jingisukan no Jin-kun", type="ONA"),
            Work(14719, 965_386, "JoJo no Kimyou na Bouken (TV)", year=2012),
            Work(666, 75_346, "JoJo no Kimyou na Bouken", type="OVA", year=1993),
            Work(31933, 625_022, "JoJo no Kimyou na Bouken Part 4: Diamond wa Kudakenai"),
            Work(21, 1_352_724, "One Piece", "One Piece", "ONE PIECE"),
            Work(459, 80_000, "One Piece Movie 1", None, "ワンピース", type="Movie"),
            Work(8171, 16_499, "One Piece Recap", "One Piece Recap", "ワンピース", type="OVA"),
            Work(16498, 2_000_000, "Shingeki no Kyojin", "Attack on Titan", "進撃の巨人"),
            Work(25777, 1_500_000, "Shingeki no Kyojin Season 2", "Attack on Titan Season 2"),
            Work(35760, 1_200_000, "Shingeki no Kyojin Season 3", "Attack on Titan Season 3"),
            Work(38524, 1_000_000, "Shingeki no Kyojin Season 3 Part 2", "Attack on Titan Season 3 Part 2"),
            Work(40028, 900_000, "Shingeki no Kyojin: The Final Season", "Attack on Titan Final Season"),
            Work(36702, 60_000, "Shingeki no Kyojin Movie 2: Jiyuu no Tsubasa", type="Movie"),
            Work(33704, 900, "AOTU Shijie", type="ONA"),
            Work(32182, 1_255_830, "Mob Psycho 100"),
            Work(37510, 835_688, "Mob Psycho 100 II"),
            Work(11757, 1_900_000, "Sword Art Online"),
            Work(21881, 1_300_000, "Sword Art Online II"),
            Work(27891, 90_000, "Sword Art Online II: Debriefing", type="Special"),
            Work(120, 420_919, "Fruits Basket", year=2001),
            Work(38680, 372_802, "Fruits Basket 1st Season", year=2019),
            Work(40417, 197_274, "Fruits Basket 2nd Season", year=2020),
            Work(121, 1_151_621, "Fullmetal Alchemist", None, "鋼の錬金術師"),
            Work(1535, 2_500_000, "Death Note", None, "デスノート"),
            Work(6702, 1_312_470, "Fairy Tail"),
            Work(11061, 1_673_924, "Hunter x Hunter (2011)", "Hunter x Hunter", year=2011),
            Work(136, 416_227, "Hunter x Hunter", "Hunter x Hunter", year=1999),
            Work(31240, 1_478_842, "Re:Zero kara Hajimeru Isekai Seikatsu"),
            Work(8426, 100_000, "Hourou Musuko"),
            Work(34104, 150_000, "Knight's & Magic"),
            Work(600, 20_000, "Legend of Duo", type="ONA"),
            Work(101, 200_000, "Air", type="TV"),
            Work(900, 5_000, "Shikoyaka Naru Toki", None, "淑やか", type="OVA", age_rating="Rx - Hentai"),
            Work(901, 9_000, "Euphoria", type="OVA", genres=["HENTAI"]),
            Work(902, 9_000, "Tsuma no Kokoro", None, type="OVA", genres=["hentai"]),
            Work(20, 1_830_540, "Naruto", None, "ナルト"),
        ]
    )
)


@pytest.mark.parametrize(
    ("query", "item_id"),
    [
        ("Jujutsu Kaisen", 40748),
        ("呪術廻戦", 40748),
        ("JoJo no Kimyou na Bouken", 14719),
        ("Hunter x Hunter", 11061),
        ("ワンピース", 21),
        ("わんぴーす", 21),
        ("One Piece Recap", 8171),
    ],
)
def test_format_and_popularity_decide_between_namesakes(query: str, item_id: int) -> None:
    assert INDEX.resolve(query).item_id == item_id


@pytest.mark.parametrize(
    ("query", "other"), [("Jujutsu Kaisen", 38777), ("Hunter x Hunter", 136), ("ワンピース", 8171)]
)
def test_namesakes_are_alternatives(query: str, other: int) -> None:
    assert other in [candidate.item_id for candidate in INDEX.resolve(query).alternatives]


@pytest.mark.parametrize(
    ("query", "item_id"),
    [
        ("attack on titan s2", 25777),
        ("Attack on Titan II", 25777),
        ("Shingeki no Kyojin 2", 25777),
        ("shingeki no kyojin second season", 25777),
        ("Shingeki no Kyojin season 1", 16498),
        ("Attack on Titan season 3 part 2", 38524),
        ("Attack on Titan season 3", 35760),
        ("Attack on Titan season 4", 40028),
        ("attack on titan the final season", 40028),
        ("Shingeki no Kyojin movie 2", 36702),
        ("Mob Psycho 100 2", 37510),
        ("Mob Psycho 100", 32182),
        ("Sword Art Online Season 2", 21881),
        ("SAO 2", 21881),
        ("AoT S3", 35760),
        ("JoJo no Kimyou na Bouken Part 4", 31933),
        ("Fruits Basket", 120),
        ("Fruits Basket Season 1", 38680),
        ("Fruits Basket 2019", 38680),
        ("Fruits Basket 2020", 40417),
        ("Hunter x Hunter 1999", 136),
        ("AIR TV", 101),
        ("Shingeki no Kyoujin Season 2", 25777),  # misspelled
        ("Shingeki no Kyojin Seasn 2", 25777),
    ],
)
def test_numbers_years_and_formats_select_a_work(query: str, item_id: int) -> None:
    assert INDEX.resolve(query).item_id == item_id


@pytest.mark.parametrize(
    ("query", "suggestions"),
    [
        ("Mob Psycho 100 3", ["Mob Psycho 100", "Mob Psycho 100 II"]),
        ("Fruits Basket 2010", ["Fruits Basket", "Fruits Basket 1st Season", "Fruits Basket 2nd Season"]),
        (
            "Attack on Titan Season 7",
            [
                "Shingeki no Kyojin",
                "Shingeki no Kyojin Season 2",
                "Shingeki no Kyojin Season 3",
                "Shingeki no Kyojin Season 3 Part 2",
                "Shingeki no Kyojin: The Final Season",
            ],
        ),
    ],
)
def test_an_unknown_season_of_a_known_series_is_answered_with_its_seasons(query: str, suggestions: list[str]) -> None:
    with pytest.raises(UnknownTitleError) as caught:
        INDEX.resolve(query)

    assert caught.value.suggestions == suggestions


@pytest.mark.parametrize(
    ("query", "item_id"),
    [("FMA", 121), ("JJK", 40748), ("AoT", 16498), ("HxH", 11061), ("SAO", 11757), ("fma alchemist", 121)],
)
def test_an_acronym_stands_for_a_popular_work(query: str, item_id: int) -> None:
    found = INDEX.resolve(query)

    assert (found.item_id, found.match) == (item_id, "acronym")
    assert 0.5 <= found.confidence < 0.9
    assert INDEX.search(query)[0].item_id == item_id


@pytest.mark.parametrize(
    ("query", "item_id"),
    [
        ("ですのーと", 1535),
        ("デスノート", 1535),
        ("ﾃﾞｽﾉｰﾄ", 1535),
        ("なると", 20),
        ("Fairytail", 6702),
        ("HunterxHunter", 11061),
        ("Hunter×Hunter", 11061),
        ("ReZero", 31240),
        ("Knight&#039;s &amp; Magic", 34104),
        ("Knight&amp;#039;s &amp;amp; Magic", 34104),
        ("Knights and Magic", 34104),
        ("Hōrō Musuko", 8426),
        ("Horo Musuko", 8426),
        ("Houroumusuko", 8426),
    ],
)
def test_scripts_long_vowels_spaces_and_entities_are_folded(query: str, item_id: int) -> None:
    assert INDEX.resolve(query).item_id == item_id


@pytest.mark.parametrize(
    "query",
    ["Legend of Korra", "Toy Story", "Death Race", "Fairly Odd Parents", "Mob Psycho 99", "Naruto 7", "Attack"[:2]],
)
def test_another_work_is_no_misspelling(query: str) -> None:
    with pytest.raises(UnknownTitleError):
        INDEX.resolve(query)


@pytest.mark.parametrize("query", ["Shikoyaka", "Shikoyaka Naru Tok", "Euphoria", "euphori", "SNT"])
def test_a_title_for_adults_is_no_guess(query: str) -> None:
    with pytest.raises(UnknownTitleError) as caught:
        INDEX.resolve(query)

    assert not {"Shikoyaka Naru Toki", "Euphoria"} & set(caught.value.suggestions)
    assert INDEX.resolve(query, adult=True).item_id in (900, 901)


@pytest.mark.parametrize("query", ["Shikoyaka Naru Toki", "淑やか", "Tsuma no Kokoro"])
def test_a_title_for_adults_is_found_and_completed_on_request_alone(query: str) -> None:
    found = INDEX.resolve(query, adult=True)

    assert found.item_id in (900, 902)
    with pytest.raises(UnknownTitleError):
        INDEX.resolve(query)
    assert INDEX.search(query) == []
    assert [hit.item_id for hit in INDEX.search(query, adult=True)] == [found.item_id]


@pytest.mark.parametrize(
    ("query", "item_ids"),
    [
        ("fairyta", [6702]),
        ("attack on titan s2", [25777]),
        ("sword art", [11757, 21881, 27891]),
        ("nar", [20]),
        ("です", [1535]),
    ],
)
def test_a_completion_knows_the_same_spellings(query: str, item_ids: list[int]) -> None:
    assert [hit.item_id for hit in INDEX.search(query, limit=3)] == item_ids
