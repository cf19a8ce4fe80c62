"""Every registered layout on a folder of its own, and a layout that is registered here."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys.columns import Columns, ItemColumns
from recsys.data.contracts import RatingRules
from recsys.data.sources.detection import find_layout
from recsys.data.sources.layouts import LAYOUTS, FileFormat, Layout, register_layout
from recsys.data.sources.reading import Source, read_source
from recsys.data.sources.users import hash_user_name
from recsys.exceptions import ConfigurationError, SourceLayoutError

DOCUMENT = Path(__file__).parents[3] / "docs" / "data-layouts.md"
ITEMS_2020 = "MAL_ID,Name,Score,Genders,English name\n1,Aoi,8.1,Action,Blue\n2,Akai,Unknown,Drama,Unknown\n"
ITEMS_2018 = (
    "anime_id,title,title_english,title_japanese,title_synonyms,image_url,type,source,episodes,status,airing,"
    "aired_string,aired,duration,rating,score,scored_by,rank,popularity,members,favorites,studio,genre\n"
    '1,Aoi,Blue,青い,"Ao, Aoi!",,TV,Light Novel,12,Finished Airing,False,"Jan 13, 2012 to Mar 30, 2012",'
    "\"{'from': '2012-01-13', 'to': '2012-03-30'}\",24 min. per ep.,PG-13,7.63,10,1274.0,231,2832,64,Bones,"
    '"Comedy, Romance"\n'
    "2,Akai,,,,,Movie,Manga,1,Not yet aired,False,Not available,"
    "\"{'from': None, 'to': None}\",1 hr. 30 min.,PG-13,0.0,0,,999,7,0,,\n"
)
ITEMS_2023 = (
    "anime_id,Name,English name,Other name,Score,Genres,Synopsis,Type,Episodes,Aired,Premiered,Status,Producers,"
    "Licensors,Studios,Source,Duration,Rating,Rank,Popularity,Favorites,Scored By,Members,Image URL\n"
    '1,Aoi,Blue,"青い, 海",8.75,"Action, Award Winning",A diver looks for a way home.,TV,26.0,'
    '"Apr 3, 1998 to Apr 24, 1999",'
    "spring 1998,Finished Airing,P,L,Bones,Original,24 min per ep,R - 17+,41.0,43,785,914193.0,1771,x\n"
    "2,Akai,UNKNOWN,赤い,UNKNOWN,UNKNOWN,No description available for this anime.,ONA,UNKNOWN,Not available,UNKNOWN,"
    "Not yet aired,UNKNOWN,UNKNOWN,UNKNOWN,UNKNOWN,Unknown,UNKNOWN,UNKNOWN,0,0,UNKNOWN,12,UNKNOWN\n"
)
ITEMS_COOPER = "anime_id,name,genre,type,episodes,rating,members\n1,Aoi,Action,TV,26,8.8,100\n2,Akai,Drama,TV,1,7.7,9\n"
FOLDERS = {
    "kaggle-2020": {
        "anime": ITEMS_2020,
        "anime_with_synopsis": "MAL_ID,Name,Score,Genders,sypnopsis\n1,Aoi,8.1,Action,A diver looks for a way home.\n",
        "rating_complete": "user_id,anime_id,rating\n0,1,9\n0,2,7\n",
    },
    "kaggle-2020-lists": {
        "anime": ITEMS_2020,
        "animelist": "user_id,anime_id,rating,watching_status,watched_episodes\n"
        "0,1,9,2,26\n0,2,0,6,0\n3,1,0,1,13\n3,2,4,4,1\n",
    },
    "kaggle-2023": {
        "anime-dataset-2023": ITEMS_2023,
        "users-score-2023": "user_id,Username,anime_id,Anime Title,rating\n"
        "1,Ann,1,Aoi,9\n2,Bob,2,Akai,6\n2,Bob,x,y,6\n9,Ann,1\n",
    },
    "kaggle-2018": {
        "AnimeList": ITEMS_2018,
        "UserAnimeList": (
            "username,anime_id,my_watched_episodes,my_start_date,my_finish_date,my_score,my_status,my_rewatching,"
            "my_rewatching_ep,my_last_updated,my_tags\n"
            "Ann,1,12,0000-00-00,0000-00-00,9,1,,0,1362307973,\n"
            "Ann,2,0,0000-00-00,0000-00-00,0,6,,0,1362923691,\n"
            "Bob,1,12,0000-00-00,0000-00-00,7,2,,0,1362923691,Ann told me\n"
            "Bob,77,12,0000-00-00,0000-00-00,7,2,,0,1362923691,\n"
            "Cat,1\n"
        ),
    },
    "kaggle-2025": {
        "details": "mal_id,title,genres,score\n1,Aoi,Action,8.1\n2,Akai,Drama,7.9\n",
        "ratings": (
            "username,anime_id,status,score,is_rewatching,num_watched_episodes\n"
            "Ann,1,completed,9,False,26\nAnn,2,plan_to_watch,0,False,0\nBob,1,on_hold,0,False,3\nBob,2,dropped,2,False,1\n"
        ),
    },
    "cooper-union": {"anime": ITEMS_COOPER, "rating": "user_id,anime_id,rating\n1,1,9\n1,2,-1\n"},
}
ANN, BOB = hash_user_name("Ann"), hash_user_name("Bob")


def _write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.csv").write_text(content, encoding="utf-8")
    return folder


def _read(folder: Path, name: str) -> Source:
    return read_source(_write(folder, FOLDERS[name]))


def _statuses(source: Source) -> list[tuple[int, int, str]]:
    return [tuple(row) for row in source.statuses.astype({Columns.Status: str}).to_numpy().tolist()]


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_folder_is_recognised_by_its_file_names(name: str, tmp_path: Path) -> None:
    source = _read(tmp_path, name)
    assert source.layout == name
    assert source.items[ItemColumns.Title].tolist() == ["Aoi", "Akai"]
    assert list(source.ratings.columns) == Columns.Interactions
    assert list(source.statuses.columns) == Columns.Statuses
    assert sum(file.rows for file in source.files) == sum(len(text.splitlines()) - 1 for text in FOLDERS[name].values())


@pytest.mark.parametrize("name", LAYOUTS)
def test_renamed_files_are_recognised_by_their_headers(name: str, tmp_path: Path) -> None:
    wanted = LAYOUTS[name]
    files = FOLDERS[name]
    expected = read_source(_write(tmp_path / "named", {n: text for n, text in files.items() if "synopsis" not in n}))
    renamed = {"one": files[wanted.items.name], "two": files[wanted.ratings.name]}
    found = read_source(_write(tmp_path / "renamed", renamed))
    assert found.layout == name
    pd.testing.assert_frame_equal(found.ratings, expected.ratings)
    pd.testing.assert_frame_equal(found.items, expected.items)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_documented(name: str) -> None:
    row = next(line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{name}` "))
    assert all(f"`{file.name}`" in row for file in LAYOUTS[name].files)
    assert LAYOUTS[name].reference in row


def test_lists_of_2020_have_statuses_and_entries_without_a_rating(tmp_path: Path) -> None:
    source = _read(tmp_path, "kaggle-2020-lists")
    assert source.ratings.to_numpy().tolist() == [[0, 1, 9], [3, 2, 4]]
    assert _statuses(source) == [(0, 1, "completed"), (0, 2, "planned"), (3, 1, "watching"), (3, 2, "dropped")]
    assert (source.files[-1].ingested, source.files[-1].unrated) == (2, 2)
    assert source.files[-1].statuses == {"planned": 1, "watching": 1}


def test_ratings_are_preferred_to_lists_unless_these_are_named(tmp_path: Path) -> None:
    folder = _write(tmp_path, {**FOLDERS["kaggle-2020"], **FOLDERS["kaggle-2020-lists"]})
    source = read_source(folder)
    assert (source.layout, source.ignored) == ("kaggle-2020", ("animelist.csv",))
    named = read_source(folder, layout="kaggle-2020-lists")
    assert (named.layout, named.files[-1].name) == ("kaggle-2020-lists", "animelist.csv")
    assert named.ignored == ("rating_complete.csv",)


def test_values_of_2023(tmp_path: Path) -> None:
    source = _read(tmp_path, "kaggle-2023")
    aoi, akai = source.items.to_dict("records")
    assert (aoi[ItemColumns.TitleEnglish], aoi[ItemColumns.TitleJapanese]) == ("Blue", "青い, 海")
    assert aoi[ItemColumns.Genres] == ["Action", "Award Winning"]
    assert (aoi[ItemColumns.Episodes], aoi[ItemColumns.DurationMinutes], aoi[ItemColumns.Members]) == (26, 24, 1771)
    assert (aoi[ItemColumns.Ranked], aoi[ItemColumns.MeanScore]) == (41, 8.75)
    known = {name for name, value in akai.items() if value is not None and value == value and value != []}
    assert known == {
        Columns.Item, ItemColumns.Title, ItemColumns.TitleJapanese, ItemColumns.Type, ItemColumns.Popularity,
        ItemColumns.Favorites, ItemColumns.Members,
    }  # fmt: skip
    assert source.files[0].unreadable == {}
    assert source.ratings.to_numpy().tolist() == [[1, 1, 9], [2, 2, 6]]


def test_values_of_2018(tmp_path: Path) -> None:
    source = _read(tmp_path, "kaggle-2018")
    aoi, akai = source.items.to_dict("records")
    assert [str(aoi[name]) for name in ItemColumns.Dates] == ["2012-01-13", "2012-03-30"]
    assert (aoi[ItemColumns.Synonyms], aoi[ItemColumns.Source]) == (["Ao", "Aoi!"], "Light novel")
    assert pd.isna(akai[ItemColumns.MeanScore])
    assert source.files[0].unreadable == {}
    assert source.ratings.to_numpy().tolist() == sorted([[ANN, 1, 9], [BOB, 1, 7]])
    assert set(_statuses(source)) == {(ANN, 1, "watching"), (ANN, 2, "planned"), (BOB, 1, "completed")}


def test_lists_of_2025(tmp_path: Path) -> None:
    source = _read(tmp_path, "kaggle-2025")
    assert source.ratings.to_numpy().tolist() == sorted([[ANN, 1, 9], [BOB, 2, 2]])
    assert set(_statuses(source)) == {
        (ANN, 1, "completed"), (ANN, 2, "planned"), (BOB, 1, "on_hold"), (BOB, 2, "dropped")
    }  # fmt: skip


def test_unrated_of_cooper_union_is_completed(tmp_path: Path) -> None:
    source = _read(tmp_path, "cooper-union")
    assert source.ratings.to_numpy().tolist() == [[1, 1, 9]]
    assert _statuses(source) == [(1, 2, "completed")]


@pytest.mark.parametrize("name", ["kaggle-2018", "kaggle-2023", "kaggle-2025"])
def test_names_of_users_are_nowhere_in_what_is_read(name: str, tmp_path: Path) -> None:
    files = dict(FOLDERS[name])
    ratings = LAYOUTS[name].ratings.name
    files[ratings] += 'Ann,"broken\nAnn,1,2,3,4,5,6,7,8,9,10,11,12,13,14\n\udce9,Ann\n'.encode(
        "utf-8", "surrogateescape"
    ).decode("utf-8", "replace")
    source = read_source(_write(tmp_path, files))
    refused = source.files[-1].refused
    assert len(refused) >= 3
    kept = " ".join(row.content for row in refused) + source.ratings.to_csv() + source.statuses.to_csv()
    assert re.search(r"\b(ann|bob|cat)\b", kept, re.IGNORECASE) is None


def test_a_catalog_alone_is_read_where_a_part_will_do(tmp_path: Path) -> None:
    path = tmp_path / "autumn-2026.csv"
    path.write_text("mal_id,title,genres\n60001,New,Action\n")
    for source in (read_source(path, partial=True), read_source(tmp_path, partial=True)):
        assert source.items[Columns.Item].tolist() == [60001]
        assert (len(source.ratings), len(source.statuses)) == (0, 0)
        assert source.item_columns == [Columns.Item, ItemColumns.Title, ItemColumns.Genres]
    with pytest.raises(SourceLayoutError, match="no known layout"):
        read_source(tmp_path)
    (tmp_path / "ratigns.csv").write_text("user,anime,rating\n1,60001,8\n")
    with pytest.raises(SourceLayoutError, match="no known layout"):
        read_source(tmp_path, partial=True)


def test_ratings_alone_are_checked_against_the_items_that_are_known(tmp_path: Path) -> None:
    folder = _write(tmp_path, {"ratings": FOLDERS["kaggle-2025"]["ratings"]})
    source = read_source(folder, partial=True, read_known_items=lambda: np.array([1], dtype=np.int64))
    assert source.ratings.to_numpy().tolist() == [[ANN, 1, 9]]
    assert len(source.items) == 0
    assert [row.reason for row in source.files[0].refused] == ["unknown item", "unknown item"]
    with pytest.raises(SourceLayoutError, match="without a catalog"):
        read_source(folder, partial=True)


def test_what_fits_several_layouts_or_none_says_so(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("user_id,anime_id,rating\n1,1,9\n")
    with pytest.raises(SourceLayoutError, match=r"fits the layouts kaggle-2020, cooper-union; name one by --layout"):
        find_layout(tmp_path, partial=True)
    assert find_layout(tmp_path, name="cooper-union", partial=True).layout.name == "cooper-union"
    (tmp_path / "anime.csv").write_text("MAL_ID,Name,Genres\n1,X,Action\n")
    with pytest.raises(SourceLayoutError, match=r"'kaggle-1999' is no known layout; choose one of kaggle-2020, "):
        find_layout(tmp_path, name="kaggle-1999")
    (tmp_path / "one.csv").unlink()
    with pytest.raises(
        SourceLayoutError, match=r"kaggle-2020 lacks rating_complete\.csv, .*cooper-union lacks rating\.csv"
    ):
        find_layout(tmp_path)


@pytest.fixture
def registered() -> Iterator[Layout]:
    """A layout as docs/development.md shows it."""
    layout = Layout(
        name="shelf",
        reference="https://example.org/shelf",
        items=FileFormat(
            "works",
            {"work": Columns.Item, "label": ItemColumns.Title, "tags": ItemColumns.Genres},
            (Columns.Item, ItemColumns.Title),
            frozenset({"work", "label", "tags"}),
        ),
        ratings=FileFormat(
            "marks",
            {"reader": Columns.User, "work": Columns.Item, "mark": Columns.Rating, "shelf": Columns.Status},
            (Columns.User, Columns.Item, Columns.Rating),
            frozenset({"reader", "work", "mark"}),
        ),
        rules=RatingRules(unrated=0),
    )
    register_layout(layout)
    yield layout
    del LAYOUTS[layout.name]


def test_a_registered_layout_is_found_and_read(registered: Layout, tmp_path: Path) -> None:
    works = "work,label,tags,colour\n1,Aoi,action;sci-fi,blue\n"
    source = read_source(
        _write(tmp_path, {"works": works, "marks": "reader,work,mark,shelf\n4,1,8,completed\n5,1,0,3\n"})
    )
    assert source.layout == registered.name
    assert source.items[ItemColumns.Genres].tolist() == [["Action", "Sci-Fi"]]
    assert source.ratings.to_numpy().tolist() == [[4, 1, 8]]
    assert _statuses(source) == [(4, 1, "completed"), (5, 1, "on_hold")]
    with pytest.raises(ConfigurationError, match="shelf is registered already"):
        register_layout(registered)
