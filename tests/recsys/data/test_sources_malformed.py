"""Malformed files: what is normalised, and what is refused."""

from pathlib import Path

import pytest

from recsys.columns import Columns, ItemColumns
from recsys.data.catalog import Catalog
from recsys.data.sources import items, rows
from recsys.data.sources.reading import Source, read_source
from recsys.exceptions import SourceLayoutError

HEADER = "anime_id,name,genre,type,episodes,rating,members"
RATINGS = "user_id,anime_id,rating\n1,1,8\n"


def _read(folder: Path, anime: str | bytes, ratings: str = RATINGS) -> Source:
    (folder / "anime.csv").write_bytes(anime.encode() if isinstance(anime, str) else anime)
    (folder / "rating.csv").write_text(ratings)
    return read_source(folder)


def test_genres_and_types_have_one_spelling(tmp_path: Path) -> None:
    anime = f'{HEADER}\n1,A,"Action, Sci-Fi",TV,2,8.8,9\n2,B,"action, sci-fi",tv,2,8.8,9\n3,C,hentai,ova,1,6,9\n'
    source = _read(tmp_path, anime)
    assert Catalog(source.items).genres == ("Action", "Hentai", "Sci-Fi")
    assert source.items[ItemColumns.Type].tolist() == ["TV", "TV", "OVA"]


def test_entities_escaped_twice(tmp_path: Path) -> None:
    source = _read(
        tmp_path, f"{HEADER}\n1,Aoi&amp;#039;,Drama,TV,1,7.6,9\n2,&quot;Alpha&quot; &amp; Omega,Drama,TV,1,7,9\n"
    )
    assert source.items[ItemColumns.Title].tolist() == ["Aoi'", '"Alpha" & Omega']


def test_genres_as_a_python_list_and_numbers_as_floats(tmp_path: Path) -> None:
    anime = (
        "anime_id,title,synopsis,genre,aired,episodes,members,popularity,ranked,score\n"
        "1,Aoi,They play on.,\"['Comedy', 'Sports']\",\"Oct 4, 2015 to Mar 27, 2016\",25.0,489,141,25.0,8.82\n"
    )
    source = _read(tmp_path, anime, "user_id,anime_id,rating\n1,1.0,9.0\n2,1,8\n")
    item = source.items.iloc[0]
    assert (item[ItemColumns.Genres], item[ItemColumns.Episodes], item[ItemColumns.MeanScore]) == (
        ["Comedy", "Sports"],
        25,
        8.82,
    )
    assert str(item[ItemColumns.AiredTo]) == "2016-03-27"
    assert source.ratings.to_numpy().tolist() == [[1, 1, 9], [2, 1, 8]]
    assert not any(file.refused for file in source.files)


@pytest.mark.parametrize("extra", [",,", ", ,", ",note,note"])
def test_columns_without_a_name_or_a_use_are_ignored(tmp_path: Path, extra: str) -> None:
    source = _read(tmp_path, f"{HEADER}{extra}\n1,A,Action,TV,2,8.8,9,,\n", "user_id,anime_id,rating,,\n1,1,8,,\n")
    assert source.items[ItemColumns.Members].tolist() == [9]
    assert source.ratings.to_numpy().tolist() == [[1, 1, 8]]
    with pytest.raises(SourceLayoutError, match="two columns for genres"):
        _read(tmp_path, f"{HEADER},genres\n1,A,Action,TV,2,8.8,9,Drama\n")


def test_a_synopsis_that_many_titles_share_is_a_placeholder(tmp_path: Path) -> None:
    shared, rare = items.PLACEHOLDER_TITLES, items.PLACEHOLDER_TITLES - 1
    texts = ["Text to follow."] * shared + ["A short film."] * rare
    lines = [f"{number},A{number},Action,{text}" for number, text in enumerate(texts, start=1)]
    source = _read(tmp_path, "\n".join(["anime_id,name,genre,synopsis", *lines]))
    assert source.items[ItemColumns.Synopsis].tolist() == [None] * shared + ["A short film."] * rare
    assert source.files[0].notes == {items.SHARED_SYNOPSIS: shared}


def test_a_synopsis_that_many_titles_share_in_a_file_of_its_own(tmp_path: Path) -> None:
    numbers = range(1, items.PLACEHOLDER_TITLES + 2)
    anime = "\n".join(["MAL_ID,Name,Genres", *(f"{number},A{number},Action" for number in numbers)])
    (tmp_path / "anime.csv").write_text(anime)
    texts = [f"{number},{'They hunt.' if number == 1 else 'Text to follow.'}" for number in numbers]
    (tmp_path / "anime_with_synopsis.csv").write_text("\n".join(["MAL_ID,sypnopsis", *texts]))
    (tmp_path / "rating_complete.csv").write_text(RATINGS)
    source = read_source(tmp_path)
    assert source.items[ItemColumns.Synopsis].tolist() == ["They hunt."] + [None] * items.PLACEHOLDER_TITLES
    assert source.files[1].notes == {items.SHARED_SYNOPSIS: items.PLACEHOLDER_TITLES}


def test_rows_in_windows_1252_are_read_and_noted(tmp_path: Path) -> None:
    anime = HEADER.encode() + b"\n1,Caf\xe9,Drama,TV,1,7,9\n2," + "カフェ".encode() + b",Drama,TV,1,7,9\n"
    source = _read(tmp_path, anime)
    assert source.items[ItemColumns.Title].tolist() == ["Café", "カフェ"]
    assert source.files[0].notes == {rows.DECODED_CP1252: 1}
    assert not source.files[0].refused


def test_what_is_wrong_is_refused_as_before(tmp_path: Path) -> None:
    ratings = "user_id,anime_id,rating\n1,1,8.5\n1,1,0\n1,1,11.0\n1,2,7\n1,1,eight\n1,1,-1.5\n1.5,1,8\n1,1,8\n"
    source = _read(tmp_path, f"{HEADER}\n1,A,Action,TV,2,8.8,9\n", ratings)
    assert sorted((row.line, row.reason) for row in source.files[1].refused) == [
        (2, "rating is not a whole number"),
        (3, "rating is out of range"),
        (4, "rating is out of range"),
        (5, "unknown item"),
        (6, "rating is not a whole number"),
        (7, "rating is not a whole number"),
        (8, "user_id is not a whole number"),
    ]
    assert source.ratings[Columns.Rating].tolist() == [8]
