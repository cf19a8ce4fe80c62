import gzip
from collections import Counter
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from recsys.columns import Columns, ItemColumns
from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.data.sources.detection import find_layout
from recsys.data.sources.reading import read_source
from recsys.data.sources.reports import FileReport
from recsys.exceptions import DataContractError, EmptyCatalogError, SourceLayoutError

ANIME = """MAL_ID,Name,Score,Genders,English name,Japanese name,Type,Episodes,Aired,Studios,Duration,Rating,Members
1,Cowboy Bebop,8.78,"Action, Sci-Fi, Space",Cowboy Bebop,カウボー,TV,26,"Apr 3, 1998 to Apr, 1999",Sunrise,24 min.,R,99
5,It&#039;s,Unknown,Unknown,Unknown,Unknown,Movie,Unknown,Unknown,Unknown,Unknown,Unknown,soon
5,Again,1,Action,,,TV,1,2001,,,,1
x,No id,1,Action,,,TV,1,2001,,,,1
9,,1,Action,,,TV,1,2001,,,,1
"""
SYNOPSES = """MAL_ID,Name,Score,Genders,sypnopsis
1,Cowboy Bebop,8.78,"Action, Sci-Fi, Space","In the year 2071, they hunt."
5,It's,Unknown,Unknown,No synopsis has been added for this series yet. Click here to update this information.
77,Stranger,1,Action,Nobody knows it.
"""
RATINGS = "user_id,anime_id,rating\n0,1,8\n0,5,9\n3,1,11\n3,5,ten\n3,77,5\n3,1,7\n4,1"
COOPER_ANIME = """anime_id,name,genre,type,episodes,rating,members
1,Cowboy Bebop,"Action, Space",TV,26,8.82,486824
5,Bebop Movie,Action,Movie,Unknown,8.4,137636
"""
COOPER_RATINGS = "user_id,anime_id,rating\n1,1,-1\n1,5,10\n2,1,0\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "anime.csv").write_text(ANIME)
    (tmp_path / "anime_with_synopsis.csv").write_text(SYNOPSES)
    (tmp_path / "rating_complete.csv").write_text(RATINGS)
    return tmp_path


def _reasons(file: FileReport) -> list[tuple[int, str]]:
    return sorted((row.line, row.reason) for row in file.refused)


def test_kaggle_folder_with_dirt(folder: Path) -> None:
    source = read_source(folder)
    assert source.layout == "kaggle-2020"
    assert [(file.name, file.rows, file.ingested) for file in source.files] == [
        ("anime.csv", 5, 2),
        ("anime_with_synopsis.csv", 3, 2),
        ("rating_complete.csv", 7, 3),
    ]
    items, synopses, ratings = source.files
    assert _reasons(items) == [(4, "duplicate item"), (5, "item_id is not a whole number"), (6, "title is missing")]
    assert _reasons(synopses) == [(4, "unknown item")]
    assert _reasons(ratings) == [
        (4, "rating is out of range"),
        (5, "rating is not a whole number"),
        (6, "unknown item"),
        (8, "wrong number of fields"),
    ]
    assert items.unreadable == Counter({ItemColumns.Members: 1})
    assert source.ratings.to_numpy().tolist() == [[0, 1, 8], [0, 5, 9], [3, 1, 7]]


def test_mal_names_and_values_are_translated(folder: Path) -> None:
    bebop, bare = read_source(folder).items.to_dict("records")
    assert bebop[ItemColumns.Genres] == ["Action", "Sci-Fi", "Space"]
    assert bebop[ItemColumns.TitleJapanese] == "カウボー"
    assert bebop[ItemColumns.AiredTo] == date(1999, 4, 30)
    assert bebop[ItemColumns.Synopsis] == "In the year 2071, they hunt."
    assert (bebop[ItemColumns.MeanScore], bebop[ItemColumns.AgeRating], bebop[ItemColumns.DurationMinutes]) == (
        8.78,
        "R",
        24,
    )
    assert bare[ItemColumns.Title] == "It's"
    assert bare[ItemColumns.Genres] == []
    assert bare[ItemColumns.Synopsis] is None
    assert pd.isna(bare[ItemColumns.Members])


def test_what_is_read_fits_the_domain(folder: Path) -> None:
    source = read_source(folder)
    assert Catalog(source.items).genres == ("Action", "Sci-Fi", "Space")
    assert len(Interactions(source.ratings)) == 3


def test_cooper_union_folder(tmp_path: Path) -> None:
    (tmp_path / "anime.csv").write_text(COOPER_ANIME)
    (tmp_path / "rating.csv").write_text(COOPER_RATINGS)
    source = read_source(tmp_path)
    assert source.layout == "cooper-union"
    assert source.items[ItemColumns.MeanScore].tolist() == [8.82, 8.4]
    assert source.items[ItemColumns.AgeRating].tolist() == [None, None]
    ratings = source.files[-1]
    assert (ratings.rows, ratings.ingested, ratings.unrated) == (3, 1, 1)
    assert _reasons(ratings) == [(4, "rating is out of range")]


@pytest.mark.parametrize("suffix", [".csv.gz", ".parquet"])
def test_other_formats_give_the_same_source(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, suffix: str
) -> None:
    clean = RATINGS.removesuffix("\n4,1")
    (folder / "rating_complete.csv").write_text(clean)
    other = tmp_path_factory.mktemp("other")
    for path in folder.glob("*.csv"):
        target = other / f"{path.stem}{suffix}"
        if suffix == ".parquet":
            pd.read_csv(path, dtype=str).to_parquet(target)
        else:
            target.write_bytes(gzip.compress(path.read_bytes()))
    expected, read = read_source(folder), read_source(other)
    pd.testing.assert_frame_equal(read.items, expected.items)
    pd.testing.assert_frame_equal(read.ratings, expected.ratings)
    assert [file.rows for file in read.files] == [file.rows for file in expected.files]


@pytest.mark.parametrize("header", ["MAL_ID,Name,Genres", "anime_id,title,genre", "Mal Id , NAME,Genders"])
def test_header_spellings(folder: Path, header: str) -> None:
    (folder / "anime.csv").write_text(f"\ufeff{header}\n1,Cowboy Bebop,Action\n")
    assert read_source(folder).items[ItemColumns.Genres].tolist() == [["Action"]]


def test_missing_synopses_are_allowed(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "anime_with_synopsis.csv").unlink()
    assert read_source(folder).items[ItemColumns.Synopsis].isna().all()
    assert "without synopsis" in caplog.text


@pytest.mark.parametrize("name", ["anime.csv", "rating_complete.csv"])
@pytest.mark.parametrize(
    "content",
    [b"", b"a,b,c\n1,2,3\n", b"\x89PNG\r\n\x1a\n\x00\x00\xff" * 50, None],
    ids=["empty", "header", "binary", "gone"],
)
def test_a_file_that_is_no_such_file_is_refused(folder: Path, name: str, content: bytes | None) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(SourceLayoutError, match=name.removesuffix(".csv")):
        read_source(folder)


def test_ambiguous_folders_are_refused(folder: Path) -> None:
    (folder / "anime.csv.gz").write_bytes(gzip.compress(ANIME.encode()))
    with pytest.raises(SourceLayoutError, match="leave one of them"):
        find_layout(folder)
    with pytest.raises(SourceLayoutError, match="is no folder"):
        find_layout(folder / "anime.csv")
    (folder / "anime.csv.gz").unlink()
    (folder / "anime.csv").write_text("MAL_ID,Name,Genres,Genders\n")
    with pytest.raises(SourceLayoutError, match="two columns for genres"):
        find_layout(folder)


def test_a_folder_without_any_item_is_refused(folder: Path) -> None:
    (folder / "anime.csv").write_text("MAL_ID,Name,Genres\nx,y,z\n")
    with pytest.raises(EmptyCatalogError, match="1 of 1 are refused"):
        read_source(folder)


def test_a_row_that_got_lost_is_noticed() -> None:
    with pytest.raises(DataContractError, match="3 rows"):
        FileReport("x.csv", "", rows=3, ingested=2).check_sum()


def test_progress_is_told(folder: Path) -> None:
    told: list[tuple[str, int, int]] = []
    read_source(folder, on_progress=lambda stage, done, total: told.append((stage, done, total)))
    assert told == [("read items", 100, 100), ("read synopses", 100, 100), ("read ratings", 100, 100)]


def test_real_data_are_accounted_for() -> None:
    folder = Path(__file__).parents[4] / "shared" / "data" / "mal"
    if not folder.is_dir():
        pytest.skip(f"real data are not at {folder}")
    source = read_source(folder)
    for file in source.files:
        with (folder / file.name).open("rb") as handle:
            assert sum(1 for _ in handle) - 1 == file.rows == file.ingested + len(file.refused)
    assert Counter(row.reason for row in source.files[-1].refused) == {"unknown item": 6032}
    assert source.files[0].unreadable == {}
    assert source.ratings[Columns.User].nunique() == 6472
