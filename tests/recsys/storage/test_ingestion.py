import json
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, text

from recsys.exceptions import ConfigurationError, SourceLayoutError
from recsys.settings import Settings
from recsys.storage import tables
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.database import read_catalog, read_history, read_preferences
from recsys.storage.ingestion import ingest_directory
from tests.fork_server import run_program

INGESTED = [
    tables.items,
    tables.users,
    tables.ratings,
    tables.user_preferences,
    tables.watch_statuses,
    tables.future_users,
    tables.quarantine,
]


def _dump(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables that an ingest writes, without the times of writing."""
    with engine.connect() as connection:
        return {
            table.name: [
                tuple(row)
                for row in connection.execute(
                    select(*(column for column in table.c if column.name not in {"created_at", "given_at"})).order_by(
                        *table.primary_key
                    )
                )
            ]
            for table in INGESTED
        }


def _count(engine: Engine) -> dict[str, int]:
    return {name: len(rows) for name, rows in _dump(engine).items()}


def test_a_folder_ends_in_the_tables(engine: Engine, store: ArtifactStore, folder: Path) -> None:
    report = ingest_directory(folder, engine, store, hold_back=0.3)
    assert (report.layout, report.n_items) == ("kaggle-2020", 4)
    assert [(file.rows, file.ingested, file.quarantined) for file in report.files] == [
        (5, 4, {"item_id is not a whole number": 1}),
        (2, 1, {"unknown item": 1}),
        (121, 120, {"rating is not a whole number": 1}),
    ]
    known, held_back = report.n_users_known, report.n_users_held_back
    assert known + held_back == 40
    assert 4 <= held_back <= 22
    assert (
        _count(engine)
        == report.written
        == {
            "items": 4,
            "users": known,
            "ratings": 3 * known,
            "user_preferences": known,
            "watch_statuses": 0,
            "future_users": held_back,
            "quarantine": 3,
        }
    )
    assert report.n_rows == 128
    assert json.loads(json.dumps(report.to_dict()))["quarantined"] == report.quarantined


def test_rows_are_what_the_files_say(engine: Engine, store: ArtifactStore, folder: Path) -> None:
    ingest_directory(folder, engine, store)
    rows = _dump(engine)
    user_id = rows["users"][0][0]
    assert {row[1:] for row in rows["users"]} == {(None, "ingest")}
    with engine.connect() as connection:
        history = read_history(connection, user_id)
        preferences = read_preferences(connection, user_id)
    expected = [[item, 1 + (user_id + item) % 10] for item in (1, 5, 12)]
    assert history.to_numpy().tolist() == expected
    assert preferences is not None
    assert preferences.mean_rating == sum(rating for _, rating in expected) / 3
    assert preferences.genre_shares == {"Action": 2 / 3, "Mystery": 1 / 3, "Space": 1 / 3}
    for waiting, _, item_ids, ratings, *_ in rows["future_users"]:
        assert item_ids == [1, 5, 12]
        assert ratings == [1 + (waiting + item) % 10 for item in item_ids]
    assert sorted(row[1] for row in rows["future_users"]) == list(range(len(rows["future_users"])))
    assert [row[1:] for row in rows["quarantine"] if row[2] == "rating_complete.csv"] == [
        (122, "rating_complete.csv", "rating is not a whole number", "3,9,eleven")
    ]


def test_the_queue_is_not_in_the_order_of_ids(engine: Engine, store: ArtifactStore, folder: Path) -> None:
    ingest_directory(folder, engine, store)
    queue = [row[0] for row in sorted(_dump(engine)["future_users"], key=lambda row: row[1])]
    assert queue != sorted(queue)


def test_again_changes_nothing(engine: Engine, store: ArtifactStore, folder: Path) -> None:
    first = ingest_directory(folder, engine, store)
    rows, keys = _dump(engine), store.list_keys("")
    second = ingest_directory(folder, engine, store)
    assert set(second.written.values()) == {0}
    assert (second.snapshot_uri, second.files) == (first.snapshot_uri, first.files)
    assert (_dump(engine), store.list_keys("")) == (rows, keys)


def test_every_stage_that_begins_is_told_to_end(engine: Engine, store: ArtifactStore, folder: Path) -> None:
    told: dict[str, tuple[int, int]] = {}
    ingest_directory(folder, engine, store, on_progress=lambda stage, done, total: told.update({stage: (done, total)}))
    assert {"read ratings", "write ratings", "commit", "write snapshot"} <= told.keys()
    assert all(done == total for done, total in told.values())


def test_users_who_wait_keep_their_place_when_others_come(engine: Engine, store: ArtifactStore, folder: Path) -> None:
    ingest_directory(folder, engine, store)
    places = {row[0]: row[1] for row in _dump(engine)["future_users"]}
    with (folder / "rating_complete.csv").open("a") as handle:
        handle.writelines(f"{user},1,7\n" for user in range(100, 140))
    ingest_directory(folder, engine, store)
    after = {row[0]: row[1] for row in _dump(engine)["future_users"]}
    assert places.items() <= after.items()
    assert sorted(after.values()) == list(range(len(after)))
    assert all(after[user] >= len(places) for user in after.keys() - places.keys())


@pytest.mark.parametrize("hold_back", [0.0, 0.9])
def test_another_share_moves_nobody_who_is_placed(
    engine: Engine, store: ArtifactStore, folder: Path, hold_back: float
) -> None:
    ingest_directory(folder, engine, store)
    rows = _dump(engine)
    report = ingest_directory(folder, engine, store, hold_back=hold_back)
    assert set(report.written.values()) == {0}
    assert _dump(engine) == rows


def test_who_has_arrived_stays_arrived(engine: Engine, store: ArtifactStore, folder: Path) -> None:
    ingest_directory(folder, engine, store)
    user_id, _, item_ids, ratings, *_ = _dump(engine)["future_users"][0]
    with engine.begin() as connection:
        connection.execute(insert(tables.users).values(user_id=user_id, arrived_on=date(2026, 1, 5), batch_id="day"))
        connection.execute(
            insert(tables.ratings),
            [{"user_id": user_id, "item_id": i, "rating": r} for i, r in zip(item_ids, ratings, strict=True)],
        )
    report = ingest_directory(folder, engine, store)
    assert report.written == dict.fromkeys(report.written, 0)
    assert (user_id, date(2026, 1, 5), "day") in _dump(engine)["users"]


def test_a_changed_file_changes_its_rows_and_the_preferences(
    engine: Engine, store: ArtifactStore, folder: Path
) -> None:
    ingest_directory(folder, engine, store, hold_back=0.0)
    path = folder / "rating_complete.csv"
    path.write_text(path.read_text().replace("\n7,5,3\n", "\n7,5,10\n"))
    report = ingest_directory(folder, engine, store, hold_back=0.0)
    assert report.written["ratings"] == report.written["user_preferences"] == 1
    with engine.connect() as connection:
        preferences = read_preferences(connection, 7)
    assert preferences is not None
    assert preferences.mean_rating == (9 + 10 + 10) / 3


def test_changed_genres_change_the_preferences(engine: Engine, store: ArtifactStore, folder: Path) -> None:
    ingest_directory(folder, engine, store, hold_back=0.0)
    path = folder / "anime.csv"
    path.write_text(path.read_text().replace("Mystery,Unknown", '"Mystery, Space",Unknown'))
    report = ingest_directory(folder, engine, store, hold_back=0.0)
    assert report.written == {**dict.fromkeys(report.written, 0), "items": 1, "user_preferences": 40, "quarantine": 1}


def test_a_row_leaves_the_quarantine_when_its_item_becomes_known(
    engine: Engine, store: ArtifactStore, folder: Path
) -> None:
    with (folder / "rating_complete.csv").open("a") as handle:
        handle.write("3,77,9\n")
    assert ingest_directory(folder, engine, store).quarantined["unknown item"] == 2
    with (folder / "anime.csv").open("a") as handle:
        handle.write("77,Now it is known,Drama,1,2001\n")
    assert "unknown item" not in ingest_directory(folder, engine, store).quarantined
    assert "unknown item" not in {row[3] for row in _dump(engine)["quarantine"]}


def test_cooper_union(engine: Engine, store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "anime.csv").write_text("anime_id,name,genre,type,episodes,rating,members\n1,X,Action,TV,1,8.1,10\n")
    (tmp_path / "rating.csv").write_text("user_id,anime_id,rating\n1,1,-1\n2,1,10\n")
    report = ingest_directory(tmp_path, engine, store, hold_back=0.0)
    assert (report.files[1].rows, report.files[1].ingested, report.files[1].unrated) == (2, 1, 1)
    # A user of whom only a status is known is a user.
    counts = _count(engine)
    assert (counts["users"], counts["ratings"], counts["watch_statuses"]) == (2, 1, 1)


def test_a_folder_that_says_less_takes_nothing_away(engine: Engine, store: ArtifactStore, folder: Path) -> None:
    ingest_directory(folder, engine, store)
    (folder / "anime_with_synopsis.csv").unlink()
    (folder / "anime.csv").write_text("MAL_ID,Name,Genders\n1,Cowboy Bebop!,Space\n5,X,Action\n12,Y,Mystery\n")
    assert ingest_directory(folder, engine, store).n_items == 3
    bebop = read_catalog(engine).items.iloc[0]
    assert (bebop["title"], bebop["genres"]) == ("Cowboy Bebop!", ["Space"])
    assert (bebop["synopsis"], bebop["episodes"], bebop["aired_from"]) == ("They hunt.", 26, date(1998, 4, 3))


def test_copies_of_one_file_are_quarantined_once(engine: Engine, store: ArtifactStore, folder: Path) -> None:
    items = "MAL_ID,Name,Genders,sypnopsis\n1,Cowboy Bebop,Space,They hunt.\nx,Bad,Space,Nothing.\n"
    for name in ("anime.csv", "anime_with_synopsis.csv"):
        (folder / name).write_text(items)
    report = ingest_directory(folder, engine, store)
    assert report.files[0].quarantined == report.files[1].quarantined == {"item_id is not a whole number": 1}
    assert [row[1:3] for row in _dump(engine)["quarantine"]].count((3, "anime.csv")) == 1


def test_what_is_no_such_folder_writes_nothing(engine: Engine, store: ArtifactStore, folder: Path) -> None:
    (folder / "rating_complete.csv").write_bytes(b"\x7fELF\0\0\0")
    with pytest.raises(SourceLayoutError):
        ingest_directory(folder, engine, store)
    with pytest.raises(ConfigurationError, match="hold_back"):
        ingest_directory(folder, engine, store, hold_back=1.0)
    assert set(_count(engine).values()) == {0}
    assert store.list_keys("") == []


def test_two_at_once_end_like_one(engine: Engine, store: ArtifactStore, folder: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        reports = list(pool.map(lambda _: ingest_directory(folder, engine, store), range(3)))
    together = _dump(engine)
    assert sorted(report.written["ratings"] for report in reports)[:2] == [0, 0]
    _empty(engine)
    ingest_directory(folder, engine, store)
    assert _dump(engine) == together


def _empty(engine: Engine) -> None:
    with engine.begin() as connection:
        names = ", ".join(table.fullname for table in INGESTED)
        connection.execute(text(f"TRUNCATE {names} CASCADE"))


_KILLED_INGEST = """
import json, os, signal, sys
from pathlib import Path
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.database import create_database_engine
from recsys.storage.ingestion import ingest_directory
given = json.loads(sys.argv[1])
def die(stage, done, total):
    if [stage, done] == given["point"]:
        os.kill(os.getpid(), signal.SIGKILL)
engine = create_database_engine(given["database_url"])
ingest_directory(Path(given["folder"]), engine, ArtifactStore(**given["store"]), on_progress=die)
"""


@pytest.mark.parametrize(
    ("stage", "done", "committed"),
    [
        ("read ratings", 100, False),
        ("write items", 1, False),
        ("write ratings", 1, False),
        ("write future_users", 1, False),
        ("write user_preferences", 1, False),
        ("commit", 0, False),
        ("write snapshot", 0, True),
    ],
)
def test_killed_half_way_and_run_again(
    engine: Engine,
    database_url: str,
    store: ArtifactStore,
    s3_settings: Settings,
    folder: Path,
    stage: str,
    done: int,
    committed: bool,
) -> None:
    undisturbed = ingest_directory(folder, engine, store)
    expected, snapshot = _dump(engine), store.list_keys("")
    _empty(engine)
    store.delete_prefix("")
    assert s3_settings.aws_access_key_id is not None
    assert s3_settings.aws_secret_access_key is not None
    given = {
        "point": [stage, done],
        "database_url": database_url,
        "folder": str(folder),
        "store": {
            "bucket": store.bucket,
            "endpoint_url": str(s3_settings.s3_endpoint_url).rstrip("/"),
            "access_key_id": s3_settings.aws_access_key_id.get_secret_value(),
            "secret_access_key": s3_settings.aws_secret_access_key.get_secret_value(),
        },
    }
    killed = run_program(["-c", _KILLED_INGEST, json.dumps(given)])
    assert killed.returncode == -signal.SIGKILL
    assert _dump(engine) == (expected if committed else {name: [] for name in expected})
    assert store.list_keys("") == []
    again = ingest_directory(folder, engine, store)
    assert (_dump(engine), store.list_keys("")) == (expected, snapshot)
    assert again.snapshot_uri == undisturbed.snapshot_uri


@pytest.mark.slow
def test_real_data_lose_no_row_on_their_way_to_the_tables(engine: Engine, store: ArtifactStore) -> None:
    folder = Path(__file__).parents[4] / "shared" / "data" / "mal"
    if not folder.is_dir():
        pytest.skip(f"real data are not at {folder}")
    report = ingest_directory(folder, engine, store)
    for file in report.files:
        assert file.rows == file.ingested + sum(file.quarantined.values())
    in_tables = _count(engine)
    with engine.connect() as connection:
        waiting = connection.scalar(text("SELECT sum(cardinality(item_ids)) FROM otaku.future_users"))
    assert in_tables["ratings"] + waiting == report.files[-1].ingested == 731_325
    assert report.quarantined == {"unknown item": 6032}
