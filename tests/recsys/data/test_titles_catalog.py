"""Titles of the real catalog: the cases of the field, and generated spellings of all titles."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.parts.title_spellings import (
    Spelling,
    generate_hiragana,
    generate_joined,
    generate_macrons,
    generate_misspellings,
    generate_seasons,
    read_western_titles,
)
from recsys.data.catalog import Catalog
from recsys.data.sources.reading import read_source
from recsys.data.titles import TitleIndex, TitleMatch
from recsys.data.titles.names import find_adult
from recsys.exceptions import UnknownTitleError

SHARED = Path(__file__).parents[4] / "shared"
ANIME = SHARED / "data" / "mal" / "anime.csv"
CASES = SHARED / "cases" / "titles.csv"
N_POPULAR = 3_000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ANIME.is_file() and CASES.is_file()), reason=f"real data are not at {SHARED}"),
]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder = tmp_path_factory.mktemp("mal")
    (folder / "anime.csv").symlink_to(ANIME)
    (folder / "rating_complete.csv").write_text("user_id,anime_id,rating\n1,1,8\n")
    return Catalog(read_source(folder).items)


@pytest.fixture(scope="module")
def index(catalog: Catalog) -> TitleIndex:
    return TitleIndex.build(catalog)


def resolve_all(index: TitleIndex, spellings: Sequence[Spelling], *, adult: bool = False) -> list[TitleMatch | None]:
    found: list[TitleMatch | None] = []
    for spelling in spellings:
        try:
            found.append(index.resolve(spelling.text, adult=adult))
        except UnknownTitleError:
            found.append(None)
    return found


def count_right(spellings: Sequence[Spelling], found: Sequence[TitleMatch | None]) -> int:
    pairs = zip(spellings, found, strict=True)
    return sum(match is not None and match.item_id in spelling.right for spelling, match in pairs)


def test_the_cases_of_the_field_resolve(index: TitleIndex) -> None:
    with CASES.open(encoding="utf-8") as handle:
        cases = list(csv.DictReader(handle))
    found = resolve_all(index, [Spelling(case["query"], frozenset()) for case in cases])
    answers = ["unknown" if match is None else str(match.item_id) for match in found]

    assert len(cases) == 32
    assert [
        (case["query"], answer)
        for case, answer in zip(cases, answers, strict=True)
        if answer not in case["expected"].split("|")
    ] == []


def test_spellings_of_numbered_seasons_resolve(catalog: Catalog, index: TitleIndex) -> None:
    spellings = generate_seasons(catalog.items)
    found = resolve_all(index, spellings, adult=True)

    sure = [
        (spelling, match) for spelling, match in zip(spellings, found, strict=True) if match and match.confidence >= 0.9
    ]
    assert len(spellings) > 1_600
    assert count_right(spellings, found) >= 0.97 * len(spellings)
    assert sum(match.item_id not in spelling.right for spelling, match in sure) <= 0.005 * len(spellings)


def test_hiragana_macrons_and_joined_words_resolve(catalog: Catalog, index: TitleIndex) -> None:
    items = catalog.items
    for least, spellings in [
        (0.98, generate_hiragana(items)),
        (0.99, generate_macrons(items, N_POPULAR)),
        (0.95, generate_joined(items, N_POPULAR)),
    ]:
        assert len(spellings) > 800
        assert count_right(spellings, resolve_all(index, spellings, adult=True)) >= least * len(spellings)


def test_western_titles_are_unknown(index: TitleIndex) -> None:
    titles = read_western_titles()
    found = resolve_all(index, [Spelling(title, frozenset()) for title in titles])

    assert len(titles) >= 200
    assert found.count(None) >= 0.95 * len(titles)


def test_a_confidence_of_nine_tenths_is_right_nineteen_times_of_twenty(catalog: Catalog, index: TitleIndex) -> None:
    for slip, spellings in generate_misspellings(catalog.items, 1_000, np.random.default_rng(1)).items():
        found = resolve_all(index, spellings)
        sure = [place for place, match in enumerate(found) if match and match.confidence >= 0.9]

        assert len(sure) > 0.8 * len(spellings), slip
        right = count_right([spellings[place] for place in sure], [found[place] for place in sure])
        assert right >= 0.95 * len(sure), slip


def test_no_misspelling_is_answered_with_a_title_for_adults(catalog: Catalog, index: TitleIndex) -> None:
    adult = set(catalog.item_ids[find_adult(catalog.items)].tolist())
    spellings = generate_misspellings(catalog.items, 500, np.random.default_rng(2))["drop"]
    spellings += [Spelling(title, frozenset()) for title in read_western_titles()]

    assert len(adult) > 1_000
    assert [match.title for match in resolve_all(index, spellings) if match and match.item_id in adult] == []
    for spelling in spellings[:200]:
        assert not adult & {hit.item_id for hit in index.search(spelling.text[:4])}


@pytest.mark.parametrize("step", [6, pytest.param(1, marks=pytest.mark.e2e)], ids=["one in six", "all"])
def test_no_name_of_a_title_for_adults_is_answered_or_completed_with_one(
    catalog: Catalog, index: TitleIndex, step: int
) -> None:
    is_adult = find_adult(catalog.items)
    adult = set(catalog.item_ids[is_adult].tolist())
    names = [Spelling(title, frozenset()) for title in catalog.items.loc[is_adult, "title"]]

    assert len(names) > 1_000
    assert not adult & {match.item_id for match in resolve_all(index, names[::step]) if match}
    assert not adult & {hit.item_id for name in names[::10] for hit in index.search(name.text)}
