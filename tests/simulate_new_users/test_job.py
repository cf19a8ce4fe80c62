"""The daily job on a real database: what arrives, that it arrives once, and in any order."""

import datetime as dt
from collections.abc import Callable

import numpy as np
import pytest
from sqlalchemy import Engine, delete, func, insert, select, update

from recsys.data.preferences import build_preference_rows, compute_preferences
from recsys.data.splits import assign_groups
from recsys.exceptions import ArrivalError, NothingIngestedError, QueueNotStartedError
from recsys.storage.arrival_queue import read_first_day, start_queue
from recsys.storage.database import create_database_engine, read_catalog, read_ratings
from recsys.storage.tables import future_users, items, ratings, user_preferences, users
from simulate_new_users.arrivals import EPOCH, FIRST_GENERATED_ID, build_generated_id, select_positions
from simulate_new_users.job import add_new_users

pytestmark = pytest.mark.local
SIZE = (2, 4)
DAYS = [EPOCH + dt.timedelta(days=number) for number in range(14)]
LATE = EPOCH + dt.timedelta(days=60)


def test_a_cohort_is_the_next_slice_of_the_queue(engine: Engine, read_tables: Callable) -> None:
    before = read_tables()
    first, second = (add_new_users(engine, day, cohort_size=SIZE) for day in DAYS[:2])
    after = read_tables()
    queue = {position: (user_id, item_ids, values) for user_id, position, item_ids, values, *_ in after["future_users"]}
    for report in (first, second):
        expected = [queue[position] for position in select_positions(report.day, SIZE)]
        assert report.user_ids == tuple(sorted(user_id for user_id, _, _ in expected))
        arrived = {row for row in after["ratings"] if row[0] in report.user_ids}
        assert arrived == {(u, i, r) for u, ids, values in expected for i, r in zip(ids, values, strict=True)}
        assert (report.n_users, report.n_ratings, report.n_generated) == (len(expected), len(arrived), 0)
        assert (report.day, report.n_users, report.n_ratings, 0, report.batch_id) in after["arrivals"]
    new = [row for row in after["users"] if row not in before["users"]]
    assert {row[1:] for row in new} == {(day, f"arrival:{day}") for day in DAYS[:2]}
    assert after["future_users"] == before["future_users"]


@pytest.mark.parametrize("day", [EPOCH, LATE])
def test_the_same_day_again_changes_nothing_and_says_so(engine: Engine, read_tables: Callable, day: dt.date) -> None:
    first = add_new_users(engine, day, cohort_size=SIZE)
    tables = read_tables()
    again = add_new_users(engine, day, cohort_size=SIZE)
    assert read_tables() == tables
    assert (first.already_arrived, again.already_arrived) == (False, True)
    assert (again.user_ids, again.n_ratings, again.n_generated) == (first.user_ids, first.n_ratings, first.n_generated)


def test_days_in_any_order_end_in_the_same_tables(
    engine: Engine, read_tables: Callable, forget_arrivals: Callable
) -> None:
    reports = [add_new_users(engine, day, cohort_size=SIZE) for day in DAYS]
    in_order = read_tables()
    assert 0 < sum(report.n_generated for report in reports) < sum(report.n_users for report in reports)
    for seed in (1, 2):
        forget_arrivals()
        for place in np.random.default_rng(seed).permutation(len(DAYS)):
            add_new_users(engine, DAYS[place], cohort_size=SIZE)
        assert read_tables() == in_order


def test_generated_users_depend_on_their_day_alone(
    engine: Engine, read_tables: Callable, forget_arrivals: Callable
) -> None:
    alone = add_new_users(engine, LATE, cohort_size=SIZE)
    rows = [row for row in read_tables()["ratings"] if row[0] >= FIRST_GENERATED_ID]
    assert alone.n_generated == alone.n_users > 0
    assert alone.user_ids == tuple(build_generated_id(LATE, place) for place in range(alone.n_users))
    forget_arrivals()
    for day in [*DAYS, LATE]:
        add_new_users(engine, day, cohort_size=SIZE)
    ours = [row for row in read_tables()["ratings"] if row[0] in alone.user_ids]
    assert ours == rows
    assert len({item_id for _, item_id, _ in rows}) > 4


@pytest.mark.parametrize("hidden_group", ["test", "validation"])
def test_no_generated_training_user_resembles_held_out_users(
    engine: Engine, read_tables: Callable, forget_arrivals: Callable, hidden_group: str
) -> None:
    """Turn the ratings of all held-out users upside down: no user to train on is generated differently."""

    def generate() -> dict[str, list[tuple[int, ...]]]:
        forget_arrivals()
        report = add_new_users(engine, LATE, cohort_size=(25, 25))
        groups = dict(zip(report.user_ids, assign_groups(report.user_ids).tolist(), strict=True))
        rows = [row for row in read_tables()["ratings"] if row[0] in groups]
        return {group: [row for row in rows if groups[row[0]] == group] for group in ("train", hidden_group)}

    before = generate()
    users = np.arange(1, 31)
    hidden = users[assign_groups(users) == hidden_group].tolist()
    assert hidden, "the world has such users"
    with engine.begin() as connection:
        connection.execute(update(ratings).where(ratings.c.user_id.in_(hidden)).values(rating=11 - ratings.c.rating))
    after = generate()
    assert after["train"] == before["train"] != []


def test_a_queue_that_ends_within_a_cohort_is_filled_up(engine: Engine) -> None:
    position = select_positions(EPOCH, (4, 4))[2]
    with engine.begin() as connection:
        connection.execute(delete(future_users).where(future_users.c.position >= position))
    report = add_new_users(engine, EPOCH, cohort_size=(4, 4))
    assert report.user_ids == (1024, 1025, build_generated_id(EPOCH, 2), build_generated_id(EPOCH, 3))
    assert report.n_generated == 2


def test_stored_preferences_equal_those_computed_from_the_stored_ratings(engine: Engine) -> None:
    reports = [add_new_users(engine, day, cohort_size=SIZE) for day in (*DAYS[:3], LATE)]
    arrived = np.array([user_id for report in reports for user_id in report.user_ids])
    expected = build_preference_rows(
        compute_preferences(read_ratings(engine, None).select_users(arrived), read_catalog(engine))
    )
    with engine.connect() as connection:
        stored = connection.execute(select(user_preferences).order_by(user_preferences.c.user_id)).all()
    assert [row._asdict() for row in stored] == expected.to_dict("records")


@pytest.mark.parametrize("day", [EPOCH, LATE])
def test_a_dry_run_leaves_no_trace_and_tells_what_will_come(
    engine: Engine, read_tables: Callable, day: dt.date
) -> None:
    before = read_tables()
    promised = add_new_users(engine, day, cohort_size=SIZE, dry_run=True)
    assert read_tables() == before
    kept = add_new_users(engine, day, cohort_size=SIZE)
    assert promised.dry_run
    assert not kept.dry_run
    fields = ("day", "batch_id", "n_users", "n_ratings", "n_generated", "user_ids", "already_arrived")
    assert [getattr(promised, name) for name in fields] == [getattr(kept, name) for name in fields]
    afterwards = add_new_users(engine, day, cohort_size=SIZE, dry_run=True)
    assert afterwards.already_arrived
    assert afterwards.user_ids == kept.user_ids


def test_users_known_by_now_do_not_arrive_again(engine: Engine, read_tables: Callable) -> None:
    with engine.begin() as connection:
        connection.execute(insert(users).values(user_id=1024, batch_id="ingest"))
        connection.execute(insert(ratings).values(user_id=1024, item_id=100, rating=3))
    report = add_new_users(engine, EPOCH, cohort_size=(3, 3))
    assert report.user_ids == (1023, 1025)
    tables = read_tables()
    assert (1024, None, "ingest") in tables["users"]
    assert [row for row in tables["ratings"] if row[0] == 1024] == [(1024, 100, 3)]


def test_a_cohort_of_users_who_are_all_known_still_is_a_day(engine: Engine, read_tables: Callable) -> None:
    with engine.begin() as connection:
        connection.execute(
            insert(users), [{"user_id": user_id, "batch_id": "ingest"} for user_id in (1025, 1024, 1023)]
        )
    expected = read_tables() | {"arrivals": [(EPOCH, 0, 0, 0, f"arrival:{EPOCH}")]}
    assert add_new_users(engine, EPOCH, cohort_size=(3, 3)).user_ids == ()
    assert read_tables() == expected
    assert add_new_users(engine, EPOCH, cohort_size=(3, 3)).already_arrived


def test_ids_in_the_range_of_generated_users_are_refused(engine: Engine, read_tables: Callable) -> None:
    with engine.begin() as connection:
        waiting = update(future_users).where(future_users.c.position == 0)
        connection.execute(waiting.values(user_id=FIRST_GENERATED_ID + 5))
    before = read_tables()
    with pytest.raises(ArrivalError, match=rf"{FIRST_GENERATED_ID + 5}.*reserved"):
        add_new_users(engine, EPOCH, cohort_size=SIZE)
    assert read_tables() == before


def test_a_generated_user_who_exists_without_their_day_is_refused(engine: Engine) -> None:
    taken = build_generated_id(LATE, 1)
    with engine.begin() as connection:
        connection.execute(insert(users).values(user_id=taken, arrived_on=LATE, batch_id=f"arrival:{LATE}"))
    with pytest.raises(ArrivalError, match=rf"{taken} exists although {LATE}.*put its row back"):
        add_new_users(engine, LATE, cohort_size=SIZE)


def test_no_users_at_all_is_one_clear_error(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(delete(users))
        connection.execute(delete(future_users))
        assert connection.scalar(select(func.count()).select_from(items)) == 60
    with pytest.raises(NothingIngestedError, match="ingest ratings first"):
        add_new_users(engine, EPOCH)


def test_known_users_alone_or_the_queue_alone_are_enough_to_go_on(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(delete(users))
    assert add_new_users(engine, LATE, cohort_size=SIZE).n_generated > 0
    with engine.begin() as connection:
        connection.execute(delete(future_users))
        connection.execute(insert(users).values(user_id=1, batch_id="ingest"))
        connection.execute(insert(ratings).values(user_id=1, item_id=100, rating=3))
    assert add_new_users(engine, LATE + dt.timedelta(days=1), cohort_size=SIZE).n_generated > 0


def test_a_day_before_the_queue_is_refused(engine: Engine, read_tables: Callable) -> None:
    before = read_tables()
    with pytest.raises(ArrivalError, match="2026-01-04"):
        add_new_users(engine, EPOCH - dt.timedelta(days=1))
    assert read_tables() == before


def test_a_database_without_tables_is_one_clear_error(empty_database_url: str) -> None:
    engine = create_database_engine(empty_database_url)
    with pytest.raises(NothingIngestedError, match="no tables yet"):
        add_new_users(engine, EPOCH)
    engine.dispose()


def test_the_queue_counts_from_the_day_of_the_ingest(engine: Engine) -> None:
    with engine.begin() as connection:
        start_queue(connection, LATE)
        start_queue(connection, EPOCH)  # a later ingest moves nothing
    with pytest.raises(QueueNotStartedError, match=f"the queue starts on {LATE}"):
        add_new_users(engine, DAYS[0], cohort_size=SIZE, scheduled=True)
    first = add_new_users(engine, LATE, cohort_size=SIZE, scheduled=True)
    assert (first.n_generated, first.user_ids) == (0, tuple(1026 - place for place in range(first.n_users, 0, -1)))
    with pytest.raises(ArrivalError, match=f"the queue starts on {LATE}"):
        add_new_users(engine, DAYS[0], cohort_size=SIZE)


def test_the_past_is_replayed_in_any_order_while_nobody_has_arrived(
    engine: Engine, read_tables: Callable, forget_arrivals: Callable
) -> None:
    for day in DAYS[:4]:
        add_new_users(engine, day, cohort_size=SIZE)
    without_first_day = read_tables()
    forget_arrivals()
    with engine.begin() as connection:
        start_queue(connection, LATE)
    assert add_new_users(engine, DAYS[3], cohort_size=SIZE, dry_run=True).n_generated == 0
    with engine.connect() as connection:
        assert read_first_day(connection) == LATE, "a dry run changes nothing"
    for day in reversed(DAYS[:4]):
        add_new_users(engine, day, cohort_size=SIZE)
    assert read_tables() == without_first_day


def test_a_queue_that_is_moved_still_holds_those_who_wait(engine: Engine) -> None:
    with engine.begin() as connection:
        start_queue(connection, LATE + dt.timedelta(days=1))
    first = add_new_users(engine, LATE, cohort_size=SIZE)  # counted from the epoch, everybody had arrived by then
    assert (first.n_generated, first.user_ids) == (0, tuple(1026 - place for place in range(first.n_users, 0, -1)))
    with engine.connect() as connection:
        assert read_first_day(connection) == LATE
    with pytest.raises(ArrivalError, match=f"the queue starts on {LATE}"):
        add_new_users(engine, LATE - dt.timedelta(days=1), cohort_size=SIZE)


def test_days_that_arrived_before_the_first_day_was_stored_stay_as_they_were(engine: Engine) -> None:
    add_new_users(engine, EPOCH, cohort_size=SIZE)
    with engine.begin() as connection:
        start_queue(connection, LATE)
        assert read_first_day(connection) is None
