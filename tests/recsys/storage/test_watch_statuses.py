from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError

from recsys.columns import Columns
from recsys.exceptions import UnknownUserError
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.database import read_preferences, read_user_ids
from recsys.storage.feedback import FeedbackEvent, FeedbackKind, write_feedback
from recsys.storage.feedback_folds import fold_feedback
from recsys.storage.ingestion import ingest_directory
from recsys.storage.snapshots import Snapshot, read_snapshot, write_snapshot
from recsys.storage.tables import future_users, users
from recsys.storage.users import StoredUser, read_user
from recsys.storage.watch_statuses import read_watch_statuses, store_list
from recsys.types import WatchStatus
from simulate_new_users.arrivals import EPOCH
from simulate_new_users.job import add_new_users
from tests.recsys.storage.conftest import N_USERS

pytestmark = pytest.mark.local
DAY = date(2026, 2, 1)
NUMBERS = {"watching": 1, "completed": 2, "on_hold": 3, "dropped": 4, "planned": 6}
# What is listed without a rating; 900 has a list without a single one.
UNRATED = [(3, 9, "planned"), (4, 9, "dropped"), (900, 9, "watching"), (900, 5, "on_hold")]
RATED = [(user_id, item_id, "completed") for user_id in range(N_USERS) for item_id in (1, 5, 12)]
ROWS = sorted([*UNRATED, *RATED])


@pytest.fixture
def ingest(engine: Engine, store: ArtifactStore, folder: Path) -> Callable[[float], str]:
    """Ingest the folder with whole lists in place of its ratings."""
    (folder / "rating_complete.csv").unlink()
    rows = [(*row, 0) for row in UNRATED] + [(*row, 1 + (row[0] + row[1]) % 10) for row in RATED]
    lines = [f"{user_id},{item_id},{rating},{NUMBERS[status]},3" for user_id, item_id, status, rating in rows]
    header = "user_id,anime_id,rating,watching_status,watched_episodes"
    (folder / "animelist.csv").write_text("\n".join([header, *lines, ""]))
    return lambda hold_back: ingest_directory(folder, engine, store, hold_back=hold_back).snapshot_uri


def read_rows(engine: Engine) -> list[tuple[int, int, str]]:
    return [tuple(row) for row in read_watch_statuses(engine, None).table.itertuples(index=False)]


def test_an_ingest_stores_statuses_once(engine: Engine, ingest: Callable[[float], str]) -> None:
    first = ingest(0.0)
    assert read_rows(engine) == ROWS
    assert ingest(0.0) == first
    assert 900 in read_user_ids(engine.connect())


def test_held_back_users_bring_their_statuses_when_they_arrive(
    engine: Engine, store: ArtifactStore, ingest: Callable[[float], str]
) -> None:
    ingest(0.9)
    with engine.connect() as connection:
        waiting = {row.user_id: row for row in connection.execute(select(future_users))}
        here = set(read_user_ids(connection).tolist())
    held = {row[0] for row in ROWS} & set(waiting)
    assert held
    assert read_rows(engine) == sorted(row for row in ROWS if row[0] in here)
    for user_id in held:
        listed = zip(waiting[user_id].status_item_ids, waiting[user_id].statuses, strict=True)
        assert sorted(listed) == sorted(row[1:] for row in ROWS if row[0] == user_id)

    add_new_users(engine, EPOCH, cohort_size=(45, 45))
    assert read_rows(engine) == ROWS
    later = read_snapshot(store, write_snapshot(engine, store, EPOCH))
    assert [tuple(row) for row in later.statuses.table.itertuples(index=False)] == ROWS
    with engine.connect() as connection:
        arrived = set(connection.scalars(select(users.c.user_id).where(users.c.arrived_on == EPOCH)))
    assert held <= arrived


def test_files_without_statuses_take_none_away(
    engine: Engine, store: ArtifactStore, folder: Path, ingest: Callable[[float], str]
) -> None:
    ingest(0.5)
    with engine.connect() as connection:
        before = connection.execute(select(future_users).order_by(future_users.c.position)).all()
    (folder / "animelist.csv").unlink()
    rated = [f"{user_id},{item_id},{1 + (user_id + item_id) % 10}" for user_id, item_id, _ in RATED]
    (folder / "rating_complete.csv").write_text("\n".join(["user_id,anime_id,rating", *rated, ""]))
    report = ingest_directory(folder, engine, store, hold_back=0.5)
    assert (report.written["watch_statuses"], report.written["future_users"]) == (0, 0)
    with engine.connect() as connection:
        assert connection.execute(select(future_users).order_by(future_users.c.position)).all() == before
    assert any(row.statuses for row in before)


def test_a_list_is_stored_whole_or_not_at_all(engine: Engine, ingest: Callable[[float], str]) -> None:
    ingest(0.0)
    statuses = {1: WatchStatus.Dropped, 9: WatchStatus.Planned, 777: WatchStatus.Completed}
    with engine.begin() as connection:
        stored = store_list(connection, 900, {1: 2, 777: 5}, statuses)
    assert (stored.n_ratings, stored.n_statuses, stored.unknown_item_ids) == (1, 2, (777,))
    with engine.begin() as connection:
        assert store_list(connection, 900, {1: 2}, statuses).n_statuses == 0
        user, preferences = read_user(connection, 900), read_preferences(connection, 900)
    assert user is not None
    assert user.ratings == {1: 2}
    assert user.statuses == {1: "dropped", 5: "on_hold", 9: "planned"}
    assert preferences is not None
    assert preferences.genre_shares == {"Action": 1.0, "Space": 1.0}

    before = read_rows(engine)
    with pytest.raises(IntegrityError), engine.begin() as connection:
        store_list(connection, 900, {5: 99}, {5: WatchStatus.Dropped})
    with pytest.raises(UnknownUserError, match="no user 12345"), engine.begin() as connection:
        store_list(connection, 12_345, {5: 9}, {})
    assert read_rows(engine) == before


def _send(engine: Engine, *events: tuple[int, int, FeedbackKind, int | None]) -> None:
    with engine.begin() as connection:
        batch = [FeedbackEvent(f"{len(events)}-{number}-{event}", *event) for number, event in enumerate(events)]
        assert not write_feedback(connection, batch).unknown


def _serve(engine: Engine) -> dict[int, StoredUser]:
    with engine.connect() as connection:
        found = (read_user(connection, user_id) for user_id in read_user_ids(connection).tolist())
        return {user.user_id: user for user in found if user is not None}


def _freeze(engine: Engine, store: ArtifactStore) -> Snapshot:
    return read_snapshot(store, write_snapshot(engine, store, None))


def test_the_served_history_is_that_of_the_training_snapshot(
    engine: Engine, store: ArtifactStore, ingest: Callable[[float], str]
) -> None:
    ingest(0.5)
    known = sorted(_serve(engine))
    rater, lister = known[0], known[1]
    _send(
        engine, (rater, 1, "rating", 2), (rater, 9, "plan", None), (rater, 9, "seen", None), (rater, 5, "click", None)
    )
    fold_feedback(engine, DAY)
    ingest(0.5)
    # Later than what was folded: it must not be overruled by it.
    with engine.begin() as connection:
        store_list(connection, rater, {1: 10}, {1: WatchStatus.Completed, 9: WatchStatus.Dropped})
        store_list(connection, lister, {12: 1}, {12: WatchStatus.Dropped, 9: WatchStatus.OnHold})
    add_new_users(engine, EPOCH, cohort_size=(5, 5))
    _send(engine, (rater, 5, "rating", 7), (lister, 9, "plan", None), (lister, 1, "dismissal", None))
    before = _serve(engine)
    assert before[rater].ratings[5] == 7
    assert before[lister].statuses[9] == "planned"
    fold_feedback(engine, DAY)

    served, frozen = _serve(engine), _freeze(engine, store)
    assert served == {user_id: served[user_id] for user_id in frozen.users[Columns.User].tolist()}
    assert {user_id: (user.ratings, user.statuses) for user_id, user in served.items()} == {
        user_id: (user.ratings, user.statuses) for user_id, user in before.items()
    }
    rated = {(user.user_id, item_id, value) for user in served.values() for item_id, value in user.ratings.items()}
    listed = {(user.user_id, item_id, value) for user in served.values() for item_id, value in user.statuses.items()}
    assert rated == {tuple(row) for row in frozen.interactions.table.itertuples(index=False)}
    assert listed == {tuple(row) for row in frozen.statuses.table.itertuples(index=False)}
    assert served[rater].ratings[1] == 10
    assert served[rater].statuses[9] == "dropped"
