"""A user's own later word holds, and what is trained on is what is served, in whatever order it came."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from sqlalchemy import Connection, Engine, Transaction, select, text

from app.stores.database import Database
from app.stores.user_history import read_history
from recsys.columns import Columns
from recsys.storage import tables
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.feedback import FeedbackEvent, write_feedback
from recsys.storage.feedback_folds import fold_feedback
from recsys.storage.ingestion import ingest_directory
from recsys.storage.snapshots import read_snapshot, write_snapshot
from recsys.storage.users import read_user, register_user
from recsys.storage.watch_statuses import store_list
from recsys.types import WatchStatus
from simulate_new_users.job import add_new_users

pytestmark = pytest.mark.local
ITEMS = (1, 5, 9, 12)
N_USERS = 10
FIRST_DAY = date(2026, 1, 5)
_STATUSES = {2: WatchStatus.Completed, 4: WatchStatus.Dropped, 6: WatchStatus.Planned}
Pair = tuple[int, int]


def write_files(folder: Path, version: int, n_users: int = N_USERS) -> dict[Pair, tuple[int, int]]:
    """Write a catalog and lists of which each version lacks and changes some rows; return rating and status code."""
    folder.mkdir(exist_ok=True)
    lines = [f'{item},"Title {item}",{"Action" if item % 2 else "Drama"}' for item in ITEMS]
    (folder / "anime.csv").write_text("\n".join(["MAL_ID,Name,Genders", *lines, ""]))
    rng = np.random.default_rng(version)
    rows = {
        (user, item): (int(rng.integers(0, 11)), int(rng.choice(list(_STATUSES))))
        for user in range(n_users)
        for item in ITEMS
        if rng.random() < 0.7
    }
    content = [f"{user},{item},{rating},{status},1" for (user, item), (rating, status) in rows.items()]
    header = "user_id,anime_id,rating,watching_status,watched_episodes"
    (folder / "animelist.csv").write_text("\n".join([header, *content, ""]))
    return rows


@dataclass
class Expected:
    """What a user said of titles, each with its place in time, over what files said."""

    own: dict[Pair, tuple[int, Any]] = field(default_factory=dict)
    files: dict[Pair, Any] = field(default_factory=dict)

    def say(self, pair: Pair, value: Any, moment: int) -> None:
        if moment > self.own.get(pair, (-1, None))[0]:
            self.own[pair] = (moment, value)

    def of(self, user_id: int) -> dict[int, Any]:
        values = self.files | {pair: value for pair, (_, value) in self.own.items()}
        return {item: values[user, item] for user, item in sorted(values) if user == user_id}


class Interleaving(RuleBasedStateMachine):
    """Ingests, feedback, imports, folds and arrivals in any order, with a transaction that may stay open meanwhile."""

    def __init__(self, engine: Engine, store: ArtifactStore, folder: Path) -> None:
        super().__init__()
        self.engine, self.store, self.folder = engine, store, folder
        self.ratings, self.statuses = Expected(), Expected()
        self.queue: dict[int, dict[int, tuple[int, int]]] = {}
        self.known: list[int] = []
        self.moment, self.day = 0, FIRST_DAY
        self.slow: tuple[Connection, Transaction, FeedbackEvent, int] | None = None
        with engine.begin() as connection:
            emptied = (tables.users, tables.items, tables.future_users, tables.arrivals, tables.feedback_folds)
            names = ", ".join(table.fullname for table in emptied)
            connection.execute(text(f"TRUNCATE {names} CASCADE"))

    def now(self) -> int:
        self.moment += 1
        return self.moment

    @initialize(version=st.integers(0, 3))
    def begin(self, version: int) -> None:
        self.ingest(version)

    @rule(version=st.integers(0, 3))
    def ingest(self, version: int) -> None:
        rows = write_files(self.folder, version)
        ingest_directory(self.folder, self.engine, self.store, hold_back=0.4)
        with self.engine.connect() as connection:
            self.known = sorted(connection.scalars(select(tables.users.c.user_id)))
        self.take_files({pair: row for pair, row in rows.items() if pair[0] in self.known})
        for user in {user for user, _ in rows} - set(self.known):
            self.queue[user] = {item: row for (owner, item), row in rows.items() if owner == user}

    def take_files(self, rows: dict[Pair, tuple[int, int]]) -> None:
        self.ratings.files |= {pair: rating for pair, (rating, _) in rows.items() if rating}
        self.statuses.files |= {pair: _STATUSES[code] for pair, (_, code) in rows.items()}

    def pick(self, user: int) -> int:
        return self.known[user % len(self.known)]

    def build_event(self, user: int, item: int, rating: int, kind: str) -> FeedbackEvent:
        given = rating if kind == "rating" else None
        return FeedbackEvent(f"k{self.now()}", self.pick(user), item, kind, given)  # type: ignore[arg-type]

    def record(self, event: FeedbackEvent, moment: int) -> None:
        pair = event.user_id, event.item_id
        if event.kind == "rating":
            self.ratings.say(pair, event.rating, moment)
        else:
            self.statuses.say(pair, tables.STATUS_OF_KIND[event.kind], moment)

    @rule(
        user=st.integers(0, 9),
        item=st.sampled_from(ITEMS),
        rating=st.integers(1, 10),
        kind=st.sampled_from(["rating", "rating", "seen", "plan"]),
    )
    def give_feedback(self, user: int, item: int, rating: int, kind: str) -> None:
        event = self.build_event(user, item, rating, kind)
        with self.engine.begin() as connection:
            write_feedback(connection, [event])
        self.record(event, self.now())

    @precondition(lambda self: self.slow is None)
    @rule(user=st.integers(0, 9), item=st.sampled_from(ITEMS), rating=st.integers(1, 10))
    def begin_slow_feedback(self, user: int, item: int, rating: int) -> None:
        event = self.build_event(user, item, rating, "rating")
        connection = self.engine.connect()
        transaction = connection.begin()
        write_feedback(connection, [event])
        self.slow = connection, transaction, event, self.now()

    @precondition(lambda self: self.slow is not None)
    @rule()
    def end_slow_feedback(self) -> None:
        assert self.slow is not None
        connection, transaction, event, moment = self.slow
        transaction.commit()
        connection.close()
        self.slow = None
        self.record(event, moment)

    @rule(user=st.integers(0, 9), given=st.dictionaries(st.sampled_from(ITEMS), st.integers(1, 10), min_size=1))
    def import_list(self, user: int, given: dict[int, int]) -> None:
        owner, moment = self.pick(user), self.now()
        statuses = dict.fromkeys(given, WatchStatus.OnHold)
        with self.engine.begin() as connection:
            store_list(connection, owner, given, statuses)
        for item, rating in given.items():
            self.ratings.say((owner, item), rating, moment)
            self.statuses.say((owner, item), WatchStatus.OnHold, moment)

    @rule(given=st.dictionaries(st.sampled_from(ITEMS), st.integers(1, 10)))
    def register(self, given: dict[int, int]) -> None:
        moment = self.now()
        with self.engine.begin() as connection:
            user = register_user(connection, given, self.day)
        self.known.append(user)
        for item, rating in given.items():
            self.ratings.say((user, item), rating, moment)

    @rule()
    def arrive(self) -> None:
        report = add_new_users(self.engine, self.day, cohort_size=(1, 3))
        self.day += timedelta(days=1)
        for user in report.user_ids:
            self.known = sorted({*self.known, user})
            if user in self.queue:
                self.take_files({(user, item): row for item, row in self.queue.pop(user).items()})
            else:  # generated: what it says is what it is
                with self.engine.connect() as connection:
                    self.ratings.files |= {(user, item): value for item, value in read(connection, user)[0].items()}

    @precondition(lambda self: self.slow is None)
    @rule()
    def fold(self) -> None:
        """Nobody notices a fold but the training, which now reads what the service reads."""
        fold_feedback(self.engine, self.day)
        with self.engine.connect() as connection:
            served = {user: read(connection, user) for user in self.known}
        assert served == {user: (self.ratings.of(user), self.statuses.of(user)) for user in self.known}
        assert read_trained(self.engine, self.store) == without_empty(served)

    def teardown(self) -> None:
        if self.slow is not None:
            self.end_slow_feedback()
        if self.known:
            self.fold()


def read(connection: Connection, user_id: int) -> tuple[dict[int, int], dict[int, WatchStatus]]:
    user = read_user(connection, user_id)
    assert user is not None
    return dict(user.ratings), dict(user.statuses)


def read_trained(engine: Engine, store: ArtifactStore) -> dict[int, Any]:
    """Ratings and statuses by user, as the training gets them."""
    snapshot = read_snapshot(store, write_snapshot(engine, store, None))
    found: dict[int, tuple[dict[int, int], dict[int, WatchStatus]]] = {}
    for user, item, rating in snapshot.interactions.table[Columns.Interactions].itertuples(index=False, name=None):
        found.setdefault(user, ({}, {}))[0][item] = rating
    for user, item, status in snapshot.statuses.table[Columns.Statuses].itertuples(index=False, name=None):
        found.setdefault(user, ({}, {}))[1][item] = WatchStatus(status)
    return found


def without_empty(served: dict[int, Any]) -> dict[int, Any]:
    return {user: values for user, values in served.items() if any(values)}


def test_any_interleaving_trains_on_what_is_served(engine: Engine, store: ArtifactStore, tmp_path: Path) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lambda: Interleaving(engine, store, tmp_path / "files"),
        settings=settings(
            max_examples=12,
            stateful_step_count=14,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def database(engine: Engine) -> Iterator[Database]:
    with Database(engine, read_seconds=20) as opened:
        yield opened


async def read_served(database: Database, user_ids: list[int]) -> dict[int, dict[int, int]]:
    """Ratings by user, as a request gets them."""
    served = {}
    for user in user_ids:
        history = await read_history(database, user)
        assert history is not None
        served[user] = dict(zip(history.item_ids.tolist(), map(int, history.ratings), strict=True))
    return served


def test_500_users_are_trained_on_as_they_are_served(
    engine: Engine, database: Database, store: ArtifactStore, tmp_path: Path
) -> None:
    rng = np.random.default_rng(20261128)
    own = Expected()
    write_files(tmp_path / "files", 0, n_users=800)
    ingest_directory(tmp_path / "files", engine, store, hold_back=0.3)
    for number in range(4):
        with engine.connect() as connection:
            known = sorted(connection.scalars(select(tables.users.c.user_id)))
        events = [
            FeedbackEvent(f"{number}-{n}", int(rng.choice(known)), int(rng.choice(ITEMS)), "rating", 1 + n % 10)
            for n in range(400)
        ]
        with engine.begin() as connection:
            write_feedback(connection, events)
        with engine.begin() as connection:
            for user in rng.choice(known, 40, replace=False).tolist():
                item, rating = int(rng.choice(ITEMS)), int(rng.integers(1, 11))
                store_list(connection, user, {item: rating}, {})
                events.append(FeedbackEvent("import", user, item, "rating", rating))
        for moment, event in enumerate(events):
            own.say((event.user_id, event.item_id), event.rating, 1000 * number + moment)
        if number % 2:
            fold_feedback(engine, FIRST_DAY)
        write_files(tmp_path / "files", number % 3, n_users=800)
        ingest_directory(tmp_path / "files", engine, store, hold_back=0.3)
        add_new_users(engine, FIRST_DAY + timedelta(days=number), cohort_size=(5, 9))
    with engine.connect() as connection:
        known = sorted(connection.scalars(select(tables.users.c.user_id)))
    served = asyncio.run(read_served(database, known))
    fold_feedback(engine, FIRST_DAY)
    trained = {user: values[0] for user, values in read_trained(engine, store).items() if values[0]}
    with engine.connect() as connection:
        sources = set(connection.scalars(select(tables.ratings.c.source).distinct()))
    assert sources == {"file", "arrival", "import", "feedback"}
    assert len(known) >= 500
    assert trained == {user: values for user, values in served.items() if values}
    assert all(served[user][item] == rating for (user, item), (_, rating) in own.own.items())
