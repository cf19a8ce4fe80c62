import gzip
import json
from pathlib import Path

import pytest

from recsys.data.lists import content as list_content
from recsys.data.lists import entries as list_entries
from recsys.data.lists.entries import MANGA_SKIPPED, ListEntry
from recsys.data.lists.formats import OUT_OF_SCALE, PLANNED_SCORE, parse_watch_list
from recsys.data.lists.scores import ScoreFormat, convert_score
from recsys.data.lists.statuses import UNKNOWN_STATUS
from recsys.exceptions import WatchListError, WatchListTooLargeError
from recsys.types import WatchStatus
from tests.list_files import build_anilist, build_anilist_entry, build_mal_entry, build_mal_xml

CASES = Path(__file__).resolve().parents[5] / "shared" / "cases" / "files"

Row = tuple[int | None, int | None, str]


def read(content: bytes | str, **more: ScoreFormat) -> list[Row]:
    found = parse_watch_list(content.encode() if isinstance(content, str) else content, **more)
    return [(entry.item_id, entry.rating, entry.status.value) for entry in found.entries]


def test_the_export_of_myanimelist() -> None:
    content = build_mal_xml(
        build_mal_entry(1, "Cowboy Bebop", 9, "Completed"),
        build_mal_entry(5114, "Fullmetal Alchemist: Brotherhood", 0, "Completed"),
        build_mal_entry(16498, "Shingeki no Kyojin", 4, "Dropped"),
        build_mal_entry(40748, "Jujutsu Kaisen (TV)", 0, "Plan to Watch"),
        build_mal_entry(19, "Monster", 0, "On-Hold"),
        build_mal_entry(20, "Naruto", 7, "Watching"),
        build_mal_entry(30, "Neon Genesis Evangelion", 8, "6"),
    )
    found = parse_watch_list(content.encode())
    assert found.format == "myanimelist-xml"
    assert found.entries[0] == ListEntry(1, "Cowboy Bebop", 9, WatchStatus.Completed)
    assert read(content) == [
        (1, 9, "completed"),
        (5114, None, "completed"),
        (16498, 4, "dropped"),
        (40748, None, "planned"),
        (19, None, "on_hold"),
        (20, 7, "watching"),
        (30, None, "planned"),
    ]
    assert found.notes == {PLANNED_SCORE: 1}
    assert read(gzip.compress(content.encode())) == read(content)


def test_variants_of_converters() -> None:
    bare = "".join(
        [
            "<myinfo><user_name>user-a</user_name></myinfo><myanimelist>",
            "<anime><series_animedb_id><![CDATA[5]]></series_animedb_id><my_score>8.5</my_score>",
            "<my_status>Planning</my_status></anime>",
            "<!-- <anime><series_animedb_id>6</series_animedb_id></anime> -->",
            "<manga><manga_mangadb_id>2</manga_mangadb_id><my_score>9</my_score></manga>",
            "<anime><series_animedb_id>0</series_animedb_id><series_title>Only on AniList</series_title>",
            "<my_score>7.4</my_score><my_status>2</my_status></anime>",
            "<anime><series_animedb_id>1000000000000000000</series_animedb_id><my_score>x</my_score>",
            "<my_status>Rewatching?!</my_status></anime>",
            "<anime><series_animedb_id>-3</series_animedb_id><my_status>5</my_status></anime></myanimelist>",
        ]
    )
    found = parse_watch_list(bare.encode())
    assert read(bare) == [
        (5, None, "planned"),
        (None, 7, "completed"),
        (10**18, None, "completed"),
        (None, None, "watching"),
    ]
    assert found.entries[1].title == "Only on AniList"
    assert found.notes == {MANGA_SKIPPED: 1, PLANNED_SCORE: 1, UNKNOWN_STATUS: 1}


def test_the_scale_of_a_file_is_that_of_most_of_its_scores() -> None:
    hundred = build_mal_xml(*(build_mal_entry(n, "A", score, "Completed") for n, score in ((1, 85), (2, 9), (3, 70))))
    assert read(hundred) == [(1, 9, "completed"), (2, 1, "completed"), (3, 7, "completed")]
    ten = build_mal_xml(*(build_mal_entry(n, "A", score, "Completed") for n, score in ((1, 85), (2, 9), (3, 7))))
    assert read(ten) == [(1, None, "completed"), (2, 9, "completed"), (3, 7, "completed")]
    assert parse_watch_list(ten.encode()).notes == {OUT_OF_SCALE: 1}


def test_the_account_export_of_anilist() -> None:
    rows = [
        {"series_type": 0, "series_id": 1, "score": 85, "status": 2},
        {"series_type": 0, "series_id": 5114, "score": 0, "status": 1},
        {"series_type": 1, "series_id": 30002, "score": 90, "status": 0},
        {"series_type": 0, "series_id": 21087, "score": 3, "status": 3},
        {"series_type": 0, "series_id": 6, "score": 100, "status": 5},
        {"series_type": 0, "series_id": 19, "score": 40, "status": 4},
    ]
    content = json.dumps({"user": {"id": 1}, "lists": rows, "activity": []})
    found = parse_watch_list(content.encode())
    assert found.format == "anilist-account"
    assert read(content) == [
        (1, 9, "completed"),
        (5114, None, "planned"),
        (None, 1, "dropped"),
        (6, 10, "completed"),
        (19, 4, "on_hold"),
    ]
    assert found.entries[2].source_id == "AniList 21087"
    assert found.notes[MANGA_SKIPPED] == 1


@pytest.mark.parametrize(
    ("score_format", "scores", "ratings"),
    [
        ("POINT_100", (85, 3, 100), (9, 1, 10)),
        ("POINT_10_DECIMAL", (8.5, 0.1, 7.4), (9, 1, 7)),
        ("POINT_10", (8, 1, 10), (8, 1, 10)),
        ("POINT_5", (4, 1, 5), (8, 2, 10)),
        ("POINT_3", (1, 2, 3), (4, 6, 9)),
        # The query asked for tenths of a user who scores out of a hundred.
        ("POINT_100", (8.5, 3.0, 10.0), (9, 3, 10)),
        (None, (8.5, 3, 10), (9, 3, 10)),
        (None, (85, 30, 100), (9, 3, 10)),
    ],
)
def test_anilist_scores_are_on_the_scale_that_the_list_names(
    score_format: str | None, scores: tuple[float, ...], ratings: tuple[int, ...]
) -> None:
    rows = [build_anilist_entry(n, n, "A", score, "COMPLETED") for n, score in enumerate(scores, start=1)]
    assert [row[1] for row in read(build_anilist(rows, score_format))] == list(ratings)


def test_anilist_lists() -> None:
    rows = [
        build_anilist_entry(20, 20, "Naruto", 10, "REPEATING"),
        build_anilist_entry(165, None, "Not on MAL", 0, "CURRENT"),
        build_anilist_entry(6, 6, "Trigun", 0, "PAUSED"),
        {"media": {"id": 30013, "type": "MANGA"}, "status": "CURRENT"},
        {"no": "media"},
    ]
    expected = [(20, 10, "completed"), (None, None, "watching"), (6, None, "on_hold")]
    content = build_anilist(rows, "POINT_10")
    collection = json.loads(content)["data"]["MediaListCollection"]
    for document in (json.loads(content), collection, collection["lists"][0], rows):
        assert read(json.dumps(document)) == expected
    found = parse_watch_list(content.encode())
    assert found.entries[1].title == "Not on MAL"
    assert found.notes == {MANGA_SKIPPED: 1, "malformed entry left out": 1}


def test_the_export_of_yamtrack() -> None:
    content = (
        "media_id,source,media_type,title,image,season_number,score,status,notes\r\n"
        '1,mal,anime,"Cowboy Bebop",,,9.0,Completed,"two\nlines"\r\n'
        "6,mal,anime,Trigun,,,,Planning,\r\n"
        "7,manual,anime,Home Video,,,7.5,In progress,\r\n"
        "13,mal,manga,One Piece,,,8,Completed,\r\n"
        "5,mal\r\n"
    )
    found = parse_watch_list(content.encode())
    assert read(content) == [(1, 9, "completed"), (6, None, "planned"), (None, 8, "watching")]
    assert found.notes == {"other media left out": 1, "malformed row left out": 1}


def test_a_given_scale_overrules_the_file() -> None:
    content = build_mal_xml(build_mal_entry(1, "A", 4, "Completed"))
    assert read(content, score_format=ScoreFormat.Point5) == [(1, 8, "completed")]
    assert convert_score(0, ScoreFormat.Point10) is None
    assert convert_score(11, ScoreFormat.Point10) is None


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "windows-1252", "shift_jis"])
def test_encodings_are_read(encoding: str) -> None:
    title = "Café" if encoding == "windows-1252" else "カウボーイ"
    declared = "shift_jis" if encoding == "shift_jis" else "UTF-8"
    content = build_mal_xml(build_mal_entry(1, title, 9, "Completed")).replace("UTF-8", declared)
    found = parse_watch_list(content.encode(encoding))
    assert found.entries[0].title == title
    assert bool(found.notes) == (encoding != "utf-8-sig")


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE m [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {new} "{f"&{old};" * 10}">' for old, new in zip("abcdefgh", "bcdefghi", strict=True))
    + "]><myanimelist><anime><series_title>&i;</series_title></anime></myanimelist>"
)
EXTERNAL = '<!DOCTYPE m [<!ENTITY c SYSTEM "file:///etc/hostname">]><myanimelist><anime>&c;</anime></myanimelist>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (BOMB.encode(), "entities"),
        (EXTERNAL.encode(), "entities"),
        (gzip.compress(b"<myanimelist/>")[:-9], "damaged"),
        (gzip.compress(gzip.compress(b"<myanimelist/>")), "archive"),
        (b"PK\x03\x04" + bytes(40), "zip"),
        (b"<html><body>Sign in</body></html>", "no MyAnimeList export"),
        (b"<myanimelist><anime></myanimelist>", "malformed"),
        (b"<myanimelist>" + b"<a>" * 1000, "nests deeper"),
        (b"<myanimelist><anime " + b"a" * (3 << 20), "2 MB"),
        (b"[" * 100_000, "nests too deeply"),
        (b'{"lists": NaN}', "damaged"),
        (b'{"a": 1}', "neither"),
        (b'{"lists": [1, 2]}', "media"),
        (b"[]x", "damaged"),
        (b"1" * 5_000, "no known format"),
        (b"media_id,source,media_type\n" + b"1" * 200_000, "malformed"),
        (b"media_id,source,media_types\n1,mal,anime", "lacks the columns media_type"),
        (bytes(range(256)) * 10, "no known format"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(len(value)),
)
def test_hostile_and_foreign_files_are_refused_with_the_reason(content: bytes, message: str) -> None:
    with pytest.raises(WatchListError, match=message):
        parse_watch_list(content)


def test_what_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WatchListTooLargeError, match="60 MB"):
        parse_watch_list(gzip.compress(bytes(61 << 20), compresslevel=1))
    with pytest.raises(WatchListTooLargeError, match="60 MB"):
        parse_watch_list(b"<" + bytes(60 << 20))
    with pytest.raises(WatchListTooLargeError, match="more values"):
        parse_watch_list(b"[" + b"[]," * 1_100_000 + b"[]]")
    monkeypatch.setattr(list_content, "MAX_COMPRESSED_BYTES", 10)
    with pytest.raises(WatchListTooLargeError, match="compressed"):
        parse_watch_list(gzip.compress(b"<myanimelist></myanimelist>"))
    monkeypatch.setattr(list_entries, "MAX_ENTRIES", 2)
    entries = [build_mal_entry(n, "A", 1, "Completed") for n in (1, 2, 3)]
    assert len(read(build_mal_xml(*entries[:2]))) == 2
    with pytest.raises(WatchListTooLargeError, match="more than 2 entries"):
        parse_watch_list(build_mal_xml(*entries).encode())
    with pytest.raises(WatchListTooLargeError, match="more than 2 entries"):
        parse_watch_list(build_anilist([build_anilist_entry(n, n, "A", 1, "CURRENT") for n in (1, 2, 3)]).encode())


@pytest.mark.skipif(not CASES.exists(), reason="needs the cases of ../shared")
def test_the_files_of_the_field() -> None:
    exported = read((CASES / "mal-export" / "animelist.xml").read_bytes())
    assert exported == [
        (1, 9, "completed"),
        (5114, None, "completed"),
        (16498, 4, "dropped"),
        (40748, None, "planned"),
        (30, None, "planned"),
        (999999999, 7, "completed"),
    ]
    account = read((CASES / "anilist-export" / "gdpr_data.json").read_bytes())
    assert account == [(1, 9, "completed"), (5114, None, "planned")]
    with pytest.raises(WatchListError, match="entities"):
        read((CASES / "mal-export" / "hostile.xml").read_bytes())
