import contextlib
import sys

import jellyfish
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recsys.columns import Columns, ItemColumns
from recsys.data.catalog import Catalog
from recsys.data.folding import MAX_QUERY_LENGTH, compute_similarity, fold_title
from recsys.data.spelling import SpellingIndex
from recsys.data.titles import TitleIndex
from recsys.exceptions import UnknownTitleError

# id, members, default, English, Japanese, synonyms
TITLES: list[tuple[int, float, str, str | None, str | None, list[str]]] = [
    (1, 1_251_960, "Cowboy Bebop", "Cowboy Bebop", "カウボーイビバップ", []),
    (5, 273_145, "Cowboy Bebop: Tengoku no Tobira", "Cowboy Bebop: The Movie", None, []),
    (19, 720_000, "Monster", None, "モンスター", []),
    (20, 1_830_540, "Naruto", None, "ナルト", ["NARUTO -Part I-"]),
    (30, 1_200_000, "Neon Genesis Evangelion", None, "新世紀エヴァンゲリオン", ["NGE"]),
    (440, 180_000, "Shoujo Kakumei Utena", "Revolutionary Girl Utena", None, ["Utena"]),
    (918, 770_000, "Gintama", None, None, []),
    (9969, 450_000, "Gintama'", "Gintama Season 2", None, []),
    (2000, 10, "Berserk", None, None, []),
    (33, 400_000, "Kenpuu Denki Berserk", "Berserk", None, []),
    (2001, float("nan"), "!!!", None, None, []),
    (2002, 90, "Pokémon", None, None, []),
    (2003, 80, "Sakura Kiss Baton", None, None, []),
    (5114, 2_000_000, "Fullmetal Alchemist: Brotherhood", None, "鋼の錬金術師", []),
]


def build_catalog(rows: list[tuple[int, float, str, str | None, str | None, list[str]]]) -> Catalog:
    items = pd.DataFrame(index=range(len(rows)), columns=ItemColumns.All, dtype=object)
    names = [ItemColumns.Members, ItemColumns.Title, ItemColumns.TitleEnglish, ItemColumns.TitleJapanese]
    for place, column in enumerate([Columns.Item, *names, ItemColumns.Synonyms]):
        items[column] = pd.Series([row[place] for row in rows])
    return Catalog(items)


INDEX = TitleIndex.build(build_catalog(TITLES))


@pytest.mark.parametrize(
    ("query", "item_id", "match"),
    [
        ("Cowboy Bebop", 1, "exact"),
        ("  COWBOY   bebop! ", 1, "exact"),
        ("ｃｏｗｂｏｙ ｂｅｂｏｐ", 1, "exact"),
        ("カウボーイビバップ", 1, "alias"),
        ("ｶｳﾎﾞｰｲﾋﾞﾊﾞｯﾌﾟ", 1, "alias"),
        ("cowboy bebop the movie", 5, "alias"),
        ("Gintama'", 9969, "exact"),
        ("Gintama", 918, "exact"),
        ("pokemon", 2002, "exact"),
        ("!!!", 2001, "exact"),
        ("Neon Genesys Evangelion", 30, "typo"),
        ("xonster", 19, "typo"),
    ],
)
def test_a_title_is_found_however_it_is_written(query: str, item_id: int, match: str) -> None:
    found = INDEX.resolve(query)

    assert (found.item_id, found.match) == (item_id, match)
    assert found.confidence == 1.0 if match != "typo" else 0.9 < found.confidence < 1.0


def test_a_default_title_goes_before_a_more_popular_alias_which_is_an_alternative() -> None:
    found = INDEX.resolve("berserk")

    assert found.item_id == 2000
    assert [other.item_id for other in found.alternatives] == [33]


def test_an_unknown_title_comes_with_the_titles_that_hold_its_words() -> None:
    with pytest.raises(UnknownTitleError, match="no title matches 'Nion Genozas Evangellium'") as caught:
        INDEX.resolve("Nion Genozas Evangellium")

    assert caught.value.suggestions == ["Neon Genesis Evangelion"]


@pytest.mark.parametrize(
    ("query", "item_id", "match"),
    [
        ("Utena", 440, "alias"),
        ("revolutionary girl", 440, "prefix"),
        ("Kakumei", 440, "substring"),
        ("gelion", 30, "substring"),
        ("エヴァンゲリオン", 30, "substring"),
        ("bebop cowboy", 1, "tokens"),
        ("tobira bebop", 5, "tokens"),
        ("skb", 2003, "acronym"),
        ("FMA", 5114, "acronym"),
        ("FMAB", 5114, "acronym"),
        ("FMA brotherhood", 5114, "acronym"),
        ("brotherhood fma", 5114, "acronym"),
        ("girl shoujo", 440, "tokens"),  # words of two titles of one item
    ],
)
def test_a_part_of_a_title_is_enough_and_is_trusted_less(query: str, item_id: int, match: str) -> None:
    found = INDEX.resolve(query)

    assert (found.item_id, found.match) == (item_id, match)
    assert match == "alias" or 0.5 <= found.confidence <= 0.9
    assert found.item_id not in [other.item_id for other in found.alternatives]


def test_the_longer_part_is_trusted_more_and_the_others_are_alternatives() -> None:
    short, long = INDEX.resolve("cow"), INDEX.resolve("cowboy beb")

    assert (short.item_id, long.item_id) == (1, 1)
    assert short.confidence < long.confidence
    assert [other.item_id for other in short.alternatives] == [5]


@pytest.mark.parametrize("query", ["co", "x", "zq fma", "ナ", "fmx brotherhood"])
def test_too_little_or_too_much_is_no_part(query: str) -> None:
    with pytest.raises(UnknownTitleError):
        INDEX.resolve(query)


@pytest.mark.parametrize("query", ["", " ", "\n", "\x00", "\ud800", "？", "𝕫𝕫𝕫"])
def test_a_text_that_is_no_title_is_unknown(query: str) -> None:
    with pytest.raises(UnknownTitleError):
        INDEX.resolve(query)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("bebop cowboy", [(1, "tokens"), (5, "tokens")]),
        ("cowboy bebop", [(1, "exact"), (5, "prefix")]),
        ("n", [(20, "prefix"), (30, "prefix")]),
        ("utena", [(440, "exact")]),
        ("kakumei", [(440, "substring")]),
        ("gelion", [(30, "substring")]),
        ("ナル", [(20, "prefix")]),
        ("neon genesys evangelon", [(30, "typo")]),
        ("berserk", [(2000, "exact"), (33, "exact")]),
        ("!!!", [(2001, "exact")]),
        ("qqqq", []),
        ("", []),
    ],
)
def test_a_completion_is_ranked_by_kind_of_match_and_popularity(query: str, expected: list[tuple[int, str]]) -> None:
    hits = INDEX.search(query)

    assert [(hit.item_id, hit.match) for hit in hits][: len(expected)] == expected
    assert bool(hits) == bool(expected)


def test_a_completion_names_each_item_once_and_the_spelling_that_was_found() -> None:
    hits = INDEX.search("cowboy", limit=5)

    assert [(hit.item_id, hit.matched) for hit in hits] == [(1, "Cowboy Bebop"), (5, "Cowboy Bebop: The Movie")]
    assert len(INDEX.search("o", limit=3)) == 3


def test_an_overlong_title_is_found_by_its_beginning() -> None:
    title = "long " * 100
    index = TitleIndex.build(build_catalog([(1, 1.0, title, None, None, []), (2, 1.0, "ﷺ" * 250, None, None, [])]))

    assert index.resolve(title).item_id == 1
    assert index.resolve("ﷺ" * 250).item_id == 2
    assert max(len(name.folded) for name in index.parts.names) <= MAX_QUERY_LENGTH


@given(st.text(st.characters(), max_size=300))
def test_no_text_whatever_breaks_the_index(query: str) -> None:
    INDEX.search(query)
    with contextlib.suppress(UnknownTitleError):
        assert 0.5 <= INDEX.resolve(query).confidence <= 1.0


@given(st.lists(st.text(min_size=1, max_size=30).filter(str.strip), min_size=1, max_size=6))
def test_every_title_resolves_to_itself_or_to_an_equal_one(titles: list[str]) -> None:
    index = TitleIndex.build(
        build_catalog([(number, 1.0, title, None, None, []) for number, title in enumerate(titles)])
    )

    for title in titles:
        found = index.resolve(title)
        assert fold_title(found.title) == fold_title(title)
        assert found.match == "exact"


LONG_TITLES = [row for row in TITLES if len(row[2]) >= 10 and row[0] not in (5, 33)]


@given(st.sampled_from(LONG_TITLES), st.data())
def test_one_wrong_missing_or_extra_letter_is_forgiven(row: tuple[int, ...], data: st.DataObject) -> None:
    title = str(row[2])
    place = data.draw(st.integers(0, len(title) - 1))
    letter = data.draw(st.sampled_from("qxz"))
    end = data.draw(st.sampled_from([place, place + 1]))

    found = INDEX.resolve(title[:place] + letter + title[end:])

    assert found.item_id == row[0]


anything = st.text(min_size=1, max_size=12).map(fold_title).filter(lambda word: any(map(str.isalnum, word)))
# Equal beginnings with other ends: pairs on both sides of the thresholds, with and without a common prefix.
alike = st.tuples(st.sampled_from(["", "a", "ab", "abc", "abcd", "abcde"]), st.text("abcdefg ", min_size=1, max_size=5))
similar_words = alike.map(lambda parts: fold_title("".join(parts))).filter(bool)


@given(st.lists(similar_words | anything, min_size=1), similar_words | anything)
@example(["abcdy"], "abcdx")
@example(["monster"], "xonster")
def test_pruning_loses_nothing_that_is_similar_enough(spellings: list[str], query: str) -> None:
    index = SpellingIndex.build(spellings)

    for threshold in (0.8, 0.9):
        similarities = [compute_similarity(query, spelling) for spelling in spellings]
        similar = {place for place, similarity in enumerate(similarities) if similarity > threshold}
        assert similar <= set(index.prune(query, threshold).tolist())


@given(st.lists(similar_words | anything, min_size=1), similar_words | anything, st.integers(1, 4))
def test_pruning_by_edits_loses_nothing_that_is_near_enough(spellings: list[str], query: str, most: int) -> None:
    edits = [jellyfish.damerau_levenshtein_distance(query, spelling) for spelling in spellings]
    near = {place for place, count in enumerate(edits) if count <= most}

    assert near <= set(SpellingIndex.build(spellings).prune_edits(query, most).tolist())


@pytest.mark.slow
def test_a_folded_character_is_one_grapheme_alone_and_beside_any_other() -> None:
    # jellyfish counts graphemes; "b" + n others has one match of n + 1 only if nothing was joined.
    joined = []
    for sign in filter(str.isalnum, map(chr, range(sys.maxunicode + 1))):
        for neighbour in ("a", "가", sign):
            folded = fold_title("b" + sign + neighbour)
            similarity = (1 / len(folded) + 2) / 3
            if abs(jellyfish.jaro_similarity(folded, "b") - similarity) > 1e-9:
                joined.append(sign)

    assert joined == []
