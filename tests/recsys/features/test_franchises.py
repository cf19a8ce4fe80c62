"""Titles of one franchise are found and put in order, others are left apart."""

import json
from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from recsys.columns import Columns, ItemColumns
from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.data.sources.reading import read_source
from recsys.data.splits import TRAIN, select_group
from recsys.exceptions import ArtifactError
from recsys.features.franchises import Franchises, compute_franchises, order
from recsys.features.franchises.names import split_name

# default title, English title, type, year, studio, thousands of members
Row = tuple[str, str | None, str, int, str, int]


def build_catalog(rows: Sequence[Row]) -> Catalog:
    items = pd.DataFrame({name: [None] * len(rows) for name in ItemColumns.All})
    items[Columns.Item] = np.arange(1, len(rows) + 1)
    items[ItemColumns.Title] = [row[0] for row in rows]
    items[ItemColumns.TitleEnglish] = [row[1] for row in rows]
    items[ItemColumns.Type] = [row[2] for row in rows]
    items[ItemColumns.AiredFrom] = [date(row[3], 4, 1) for row in rows]
    items[ItemColumns.Studios] = [[row[4]] for row in rows]
    for name in (ItemColumns.Genres, ItemColumns.Synonyms):
        items[name] = [[] for _ in rows]
    items[ItemColumns.Source] = "Manga"
    items[ItemColumns.Numericals] = np.nan
    items[ItemColumns.Members] = [1000.0 * row[5] for row in rows]
    items[ItemColumns.Episodes], items[ItemColumns.DurationMinutes] = 12.0, 24.0
    return Catalog(items)


def find_groups(rows: Sequence[Row]) -> list[set[str]]:
    numbers = compute_franchises(build_catalog(rows)).numbers
    return [{rows[place][0] for place in np.flatnonzero(numbers == number)} for number in np.unique(numbers)]


@pytest.mark.parametrize(
    ("title", "head", "whole"),
    [
        ("Cowboy Bebop: Tengoku no Tobira", "cowboy bebop", "cowboy bebop tengoku no tobira"),
        ("Re:Zero kara Hajimeru Isekai Seikatsu 2nd Season", *["re zero kara hajimeru isekai seikatsu"] * 2),
        ("K: Missing Kings", "k", "k missing kings"),
        ("Fate/stay night", "fate", "fate stay night"),
        ("Overlord II", "overlord", "overlord"),
        ("Kizumonogatari II: Nekketsu-hen", "kizumonogatari", "kizumonogatari nekketsu hen"),
        ("86", "86", "86"),
    ],
)
def test_a_name_has_a_head_and_is_whole_without_season(title: str, head: str, whole: str) -> None:
    assert split_name(title) == (head, whole)


def test_parts_join_and_namesakes_stay_apart() -> None:
    rows: list[Row] = [
        ("Re:Zero kara Hajimeru Isekai Seikatsu", "Re:ZERO", "TV", 2016, "White Fox", 900),
        ("Re:Zero kara Hajimeru Isekai Seikatsu 2nd Season", "Re:ZERO Season 2", "TV", 2020, "White Fox", 700),
        ("Re:Zero kara Hajimeru Isekai Seikatsu - Memory Snow", None, "Movie", 2018, "White Fox", 300),
        ("Isekai Cheat Magician", None, "TV", 2019, "Encourage", 200),
        ("K", None, "TV", 2012, "GoHands", 500),
        ("K: Missing Kings", None, "Movie", 2014, "GoHands", 200),
        ("K-On!", None, "TV", 2009, "Kyoto Animation", 600),
        ("Mahou Shoujo Madoka★Magica", "Puella Magi Madoka Magica", "TV", 2011, "Shaft", 900),
        ("Mahou Shoujo Lyrical Nanoha", "Magical Girl Lyrical Nanoha", "TV", 2004, "Seven Arcs", 100),
        ("High School DxD", None, "TV", 2012, "TNK", 900),
        ("Highschool of the Dead", "High School of the Dead", "TV", 2010, "Madhouse", 900),
        ("Monster", None, "TV", 2004, "Madhouse", 700),
        ("Monster Musume no Iru Nichijou", None, "TV", 2015, "Lerche", 300),
    ]
    titles = [row[0] for row in rows]
    assert sorted(map(sorted, find_groups(rows))) == sorted(
        map(sorted, [titles[:3], titles[3:4], titles[4:6], *([title] for title in titles[6:])])
    )


def test_titles_without_a_name_stay_alone() -> None:
    assert len(find_groups([("!", None, "TV", 2000, "A", 1), ("??", None, "TV", 2001, "A", 1)])) == 2


SEASONS: list[Row] = [
    ("Overlord", None, "TV", 2015, "Madhouse", 1000),
    ("Overlord II", None, "TV", 2018, "Madhouse", 600),
    ("Overlord III", None, "TV", 2019, "Madhouse", 500),
    ("Overlord Movie 1: Fushisha no Ou", None, "Movie", 2017, "Madhouse", 80),
    ("Clannad", None, "TV", 2007, "Kyoto Animation", 800),
    ("Clannad: After Story", None, "TV", 2008, "Kyoto Animation", 700),
    ("Fullmetal Alchemist", None, "TV", 2003, "Bones", 900),
    ("Fullmetal Alchemist: Brotherhood", None, "TV", 2009, "Bones", 2000),
    ("Ao no Exorcist: Kyoto Fujouou-hen", None, "TV", 2017, "A-1", 400),
    ("Ao no Exorcist", None, "TV", 2011, "A-1", 1200),
]


def list_before(rows: Sequence[Row], order: Franchises) -> dict[str, list[str]]:
    return {row[0]: [rows[other][0] for other in order.list_before(place)] for place, row in enumerate(rows)}


def test_seasons_come_in_their_order_and_films_after_what_aired_before() -> None:
    order = compute_franchises(build_catalog(SEASONS))

    before = list_before(SEASONS, order)
    assert before["Overlord III"] == ["Overlord", "Overlord II"]
    assert before["Overlord Movie 1: Fushisha no Ou"] == ["Overlord"]
    assert before["Clannad: After Story"] == ["Clannad"]
    assert before["Ao no Exorcist: Kyoto Fujouou-hen"] == ["Ao no Exorcist"]
    assert not before["Overlord"]
    assert not order.is_main[3]
    assert order.is_main[[0, 1, 2, 4, 5]].all()


def test_a_retelling_that_more_users_know_needs_nothing_before_it() -> None:
    order = compute_franchises(build_catalog(SEASONS))
    assert order.numbers[6] == order.numbers[7]
    assert not list_before(SEASONS, order)["Fullmetal Alchemist: Brotherhood"]


def test_users_decide_whether_a_name_without_a_number_is_a_sequel() -> None:
    rows: list[Row] = [
        ("Kidou Senshi", None, "TV", 1990, "A", 500),
        ("Kidou Senshi: Destiny", None, "TV", 1992, "A", 300),
        ("Kidou Senshi: Wing", None, "TV", 1995, "A", 300),
    ]
    rng = np.random.default_rng(1)
    ratings = np.zeros((400, 3), dtype=np.float32)
    ratings[:200, 0] = 8
    ratings[:90, 1] = 8  # all of them know the first one
    ratings[150:330, 2] = 8  # few of them do
    ratings *= rng.random(ratings.shape) < 0.97

    before = list_before(rows, compute_franchises(build_catalog(rows), csr_matrix(ratings)))
    assert before["Kidou Senshi: Destiny"] == ["Kidou Senshi"]
    assert before["Kidou Senshi: Wing"] == []


def test_what_is_stored_is_what_is_read_and_damage_is_noticed() -> None:
    order = compute_franchises(build_catalog(SEASONS))
    again = Franchises.from_state(order.state, len(SEASONS))
    assert np.array_equal(again.numbers, order.numbers)
    assert np.array_equal(again.is_main, order.is_main)
    assert (again.requirements != order.requirements).nnz == 0
    for name, wrong in [
        ("numbers", np.array([0])),
        ("numbers", order.numbers + 100),
        ("indices", order.requirements.indices + 50),
        ("indptr", order.requirements.indptr + 1),
    ]:
        with pytest.raises(ArtifactError):
            Franchises.from_state(order.state | {name: wrong}, len(SEASONS))
    with pytest.raises(ArtifactError, match="holds no array 'is_main'"):
        Franchises.from_state({"numbers": order.numbers}, len(SEASONS))


CHECKED = Path(__file__).with_name("franchises.json")
DATA = Path(__file__).parents[4] / "shared" / "data" / "mal"


@pytest.fixture(scope="module")
def real() -> tuple[Catalog, Franchises]:
    if not (DATA / "anime.csv").is_file():
        pytest.skip(f"real data are not at {DATA}")
    source = read_source(DATA)
    catalog = Catalog(source.items)
    ratings = select_group(Interactions(source.ratings), TRAIN).to_matrix(catalog)
    return catalog, compute_franchises(catalog, ratings)


@pytest.mark.slow
def test_franchises_of_the_real_catalog_are_those_checked_by_hand(real: tuple[Catalog, Franchises]) -> None:
    catalog, order = real
    checked = json.loads(CHECKED.read_text(encoding="utf-8"))
    ignored = np.zeros(len(catalog), dtype=np.bool_)
    labels = np.full(len(catalog), -1)
    for label, entry in enumerate(checked.values()):
        labels[catalog.positions(entry["items"])] = label
        ignored[catalog.positions(entry.get("ignored", []))] = True
    labelled = np.flatnonzero((labels >= 0) & ~ignored)
    same = labels[labelled][:, None] == labels[labelled]
    joined = order.numbers[labelled][:, None] == order.numbers[labelled]
    above = np.triu(np.ones_like(same), 1)
    others = np.bincount(order.numbers[(labels < 0) & ~ignored], minlength=len(catalog))
    n_joined = (joined & above).sum() + others[order.numbers[labelled]].sum()

    assert len(checked) >= 150
    assert (same & joined & above).sum() / n_joined >= 0.98
    assert (same & joined & above).sum() / (same & above).sum() >= 0.93


@pytest.mark.slow
def test_seasons_of_the_real_catalog_are_in_order(real: tuple[Catalog, Franchises]) -> None:
    catalog, order = real
    right = []
    for entry in json.loads(CHECKED.read_text(encoding="utf-8")).values():
        for seasons in entry["orders"]:
            positions = catalog.positions(seasons).tolist()
            for first, second in pairwise(positions):
                assert second not in order.list_before(first)
                right.append(first in order.list_before(second))

    assert len(right) > 200
    assert np.mean(right) >= 0.97


def test_names_of_each_pair_are_compared_once_however_many_titles_have_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    n_works, compared = 60, 0
    count_letters = order._Work.count_letters

    def count(self: order._Work, later: order._Work) -> int:
        nonlocal compared
        compared += 1
        return count_letters(self, later)

    monkeypatch.setattr(order._Work, "count_letters", count)
    rows: list[Row] = [("The Same", None, "TV", 1990, "Studio", 10)] * n_works
    assert len(set(compute_franchises(build_catalog(rows)).numbers.tolist())) == 1
    assert 0 < compared <= n_works**2
