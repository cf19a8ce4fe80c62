"""Titles of one franchise are found by their names, others are left apart."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.columns import ItemColumns
from recsys.data.catalog import Catalog
from recsys.features.franchises import compute_franchises, find_stem
from tests.factories import tiny_catalog

NAMES = [
    ("Shingeki no Kyojin", "Attack on Titan"),
    ("Shingeki no Kyojin Season 3 Part 2", None),
    ("Fullmetal Alchemist: Brotherhood", None),
    ("Hagane no Renkinjutsushi", "Fullmetal Alchemist"),
    ("Monster", None),
    ("Monster Musume no Iru Nichijou", None),
    ("Dragon Ball", None),
    ("Dragon Ball Z", None),
]


def catalog_of(names: list[tuple[str, str | None]]) -> Catalog:
    items = tiny_catalog().items.head(len(names)).copy()
    items[ItemColumns.Title] = [default for default, _ in names]
    items[ItemColumns.TitleEnglish] = [english for _, english in names]
    return replace(tiny_catalog(), items=items)


@pytest.mark.parametrize(
    ("title", "stem"),
    [
        ("Cowboy Bebop: Tengoku no Tobira", "cowboy bebop"),
        ("Kimi no Na wa.", "kimi no na wa"),
        ("Kizumonogatari II: Nekketsu-hen", "kizumonogatari"),
        ("Gekijouban Naruto Movie 3", "naruto"),
        ("Steins;Gate 0", "steins gate"),
        ("Shirobako Specials", "shirobako"),
        ("86", "86"),
        ("Movie", "movie"),
        ("", ""),
    ],
)
def test_stems_drop_what_numbers_a_part(title: str, stem: str) -> None:
    assert find_stem(title) == stem


def test_parts_join_and_namesakes_of_one_word_do_not() -> None:
    titan, titan_3, brotherhood, alchemist, monster, musume, ball, ball_z = compute_franchises(catalog_of(NAMES))
    assert titan == titan_3
    assert brotherhood == alchemist
    assert ball == ball_z
    assert len({titan, brotherhood, monster, musume, ball}) == 5


def test_titles_without_a_name_stay_alone() -> None:
    labels = compute_franchises(catalog_of([("!", None), ("!", None), ("??", None)]))
    assert len(set(labels.tolist())) == 3


@given(st.lists(st.sampled_from([name for name, _ in NAMES]), min_size=2, max_size=6))
def test_the_order_of_titles_does_not_matter(names: list[str]) -> None:
    forwards = compute_franchises(catalog_of([(name, None) for name in names]))
    backwards = compute_franchises(catalog_of([(name, None) for name in reversed(names)]))[::-1]
    same = forwards[:, None] == forwards[None, :]
    assert np.array_equal(same, backwards[:, None] == backwards[None, :])
