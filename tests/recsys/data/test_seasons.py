import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.folding import fold_title
from recsys.data.seasons import MAX_SEASON, ParsedTitle, parse_title, remove_decoration


@pytest.mark.parametrize(
    ("title", "base", "season"),
    [
        ("Overlord 2", "overlord", 2),
        ("Overlord II", "overlord", 2),
        ("オーバーロードⅡ", "おーばーろーど", 2),
        ("Overlord2", "overlord", 2),
        ("Overlord S2", "overlord", 2),
        ("Overlord s02", "overlord", 2),
        ("Overlord Season 2", "overlord", 2),
        ("Overlord: Season II", "overlord", 2),
        ("Overlord season two", "overlord", 2),
        ("Overlord 2nd Season", "overlord", 2),
        ("Overlord Second Season", "overlord", 2),
        ("Fairy Tail Series 2", "fairy tail", 2),
        ("てーきゅう 第2期", "てーきゅう", 2),
        ("天地無用！魎皇鬼 第三期", "天地無用 魎皇鬼", 3),
        ("機動戦士ガンダム00 セカンドシーズン", "機動戦士がんだむ00", 2),
        ("Ushio to Tora (TV) II", "ushio to tora", 2),
        ("Mob Psycho 100 II", "mob psycho 100", 2),
        ("Mob Psycho 100 2", "mob psycho 100", 2),
        ("Tokyo Ghoul √A", "tokyo ghoul", 2),
        ("Code Geass R2", "code geass", 2),
        ("Usavich V", "usavich", 5),
        ("Teekyuu 9", "teekyuu", 9),
    ],
)
def test_a_season_is_read_however_it_is_written(title: str, base: str, season: int) -> None:
    parsed = parse_title(title)

    assert (parsed.base, parsed.season, parsed.subtitle, parsed.kind in (None, "tv")) == (base, season, "", True)


@pytest.mark.parametrize(
    "title",
    [
        "Mob Psycho 100", "Area 88", "Steins;Gate 0", "11eyes", "86", "K", "S2", "Ranma ½", "Gundam X", "Special A",
        "Evangelion: 2.0 You Can (Not) Advance", "Cyborg 009", "Persona 5 the Animation", "Season", "Four Seasons",
        "Initial D Stage 4", "Zettai Shounen Vol. 2", "Pokemon Episode 3", "Final Fantasy", "Part-time Oni", "",
    ],
)  # fmt: skip
def test_other_numbers_and_words_belong_to_the_name(title: str) -> None:
    assert parse_title(title) == ParsedTitle(fold_title(title))


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Shingeki no Kyojin Season 3 Part 2", ParsedTitle("shingeki no kyojin", season=3, part=2)),
        ("Shingeki no Kyojin: The Final Season", ParsedTitle("shingeki no kyojin", is_final=True)),
        ("Fairy Tail: Final Series", ParsedTitle("fairy tail", is_final=True)),
        ("Re:Zero 2nd Season Cour 2", ParsedTitle("re zero", season=2, part=2)),
        ("Fairy Tail (2014)", ParsedTitle("fairy tail", year=2014)),
        ("Fruits Basket 2019", ParsedTitle("fruits basket", year=2019)),
        ("Kanon (TV 2006)", ParsedTitle("kanon", year=2006, kind="tv")),
        ("Jujutsu Kaisen (TV)", ParsedTitle("jujutsu kaisen", kind="tv")),
        ("AIR TV", ParsedTitle("air", kind="tv")),
        ("Clannad Movie", ParsedTitle("clannad", kind="movie")),
        ("劇場版 クラナド", ParsedTitle("くらなど", kind="movie")),
        ("One Piece Recap", ParsedTitle("one piece", kind="recap")),
        ("Overlord Movie 2: Shikkoku no Eiyuu", ParsedTitle("overlord", "shikkoku no eiyuu", part=2, kind="movie")),
        ("Sword Art Online II: Debriefing", ParsedTitle("sword art online", "debriefing", season=2, is_bare=True)),
        ("Teekyuu 3 Specials", ParsedTitle("teekyuu", part=3, kind="special")),
        ("Danganronpa 3: The End of Hope", ParsedTitle("danganronpa", "the end of hope", season=3, is_bare=True)),
        (
            "JoJo no Kimyou na Bouken Part 3: Stardust Crusaders 2nd Season",
            ParsedTitle("jojo no kimyou na bouken", "stardust crusaders", season=2, part=3),
        ),
    ],
)
def test_parts_years_formats_and_subtitles_are_read(title: str, expected: ParsedTitle) -> None:
    assert parse_title(title) == expected


@pytest.mark.parametrize(
    ("title", "bare"),
    [
        ("Jujutsu Kaisen (TV)", "Jujutsu Kaisen"),
        ("Hunter x Hunter (2011)", "Hunter x Hunter"),
        ("Pocket Monsters (TV 2019)", "Pocket Monsters"),
        ("(2011)", "(2011)"),
        ("Rewrite (Second)", "Rewrite (Second)"),
    ],
)
def test_year_and_format_in_parentheses_are_decoration(title: str, bare: str) -> None:
    assert remove_decoration(title) == bare


words = st.sampled_from(
    ["overlord", "season", "2", "II", "movie", "part", "(2011)", "(TV)", "final", "2nd", "√A", "劇場版", ":"]
)


@given(st.lists(words, max_size=6).map(" ".join) | st.text(max_size=40))
def test_any_text_is_parsed_and_keeps_a_name(title: str) -> None:
    parsed = parse_title(title)

    assert bool(parsed.base) == bool(fold_title(title))
    assert parsed.season is None or 1 <= parsed.season <= MAX_SEASON
    assert parsed.base == fold_title(parsed.base)
