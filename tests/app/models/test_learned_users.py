"""Users that models learn while they serve: kept in a journal, restored from the database, forgotten on request."""

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from app.models.learned_users import LearnedUsers, build_row, find_growing, read_journal
from app.models.serving import ServingModel
from recsys.exceptions import ServiceUnavailableError
from recsys.recommender import Recommender
from recsys.retrieval.hybrid import Hybrid
from recsys.retrieval.user_user import UserUser
from tests.factories import tiny_recommender, tiny_world
from tests.fork_server import ROOT, Program

MINUTE = 60.0


@cache
def fitted() -> dict[str, UserUser | Hybrid]:
    catalog, interactions = tiny_world()
    ratings = interactions.to_matrix(catalog)
    return {model.name: model.fit(ratings, catalog) for model in (UserUser(), Hybrid())}


def grow(folder: Path) -> ServingModel:
    """Load a version with both models that can grow, as a service that starts does."""
    if not (folder / "recommender.json").exists():
        known = tiny_recommender()
        replace(known, retriever=replace(known.retriever, standalone=fitted())).save(folder)
    return ServingModel.build(Recommender.load(folder), name="served", version=1, run_id="run")


def rate(user_id: int) -> dict[int, float]:
    """Make ratings up that only this user has."""
    rng = np.random.default_rng(user_id)
    item_ids = tiny_world()[0].item_ids
    return {int(item): float(rng.integers(5, 11)) for item in rng.choice(item_ids, 12, replace=False)}


def read_all(user_ids: Sequence[int]) -> Mapping[int, Mapping[int, float]]:
    return {user_id: rate(user_id) for user_id in user_ids}


def test_a_user_is_learned_once_by_the_model_that_was_asked(tmp_path: Path) -> None:
    model, learned = grow(tmp_path / "version"), LearnedUsers(tmp_path / "learned" / "users.txt", read_all)
    assert set(find_growing(model)) == {"user-user", "hybrid"}
    assert learned.learn(model, "user-user", 7, rate(7))
    assert not learned.learn(model, "user-user", 7, rate(7))
    assert not learned.learn(model, "ranker", 8, rate(8))
    assert not learned.learn(model, "user-user", 9, {})
    assert not learned.learn(model, "user-user", 9, {123_456_789: 9.0})
    assert {name: list(one.inserted) for name, one in find_growing(model).items()} == {"user-user": [7], "hybrid": []}  # type: ignore[attr-defined]
    assert learned.learn(model, "user-user", 7, rate(70))
    assert learned.user_ids == read_journal(tmp_path / "learned" / "users.txt") == [7]


def test_after_a_restart_everybody_is_there_with_the_ratings_of_the_database(tmp_path: Path) -> None:
    before, path = grow(tmp_path / "version"), tmp_path / "users.txt"
    learned = LearnedUsers(path, read_all)
    for user_id in (7, 8, 9):
        learned.learn(before, "user-user", user_id, rate(user_id))
    after = grow(tmp_path / "version")
    changed = {7: rate(7), 9: rate(90)}  # 8 was deleted, 9 has rated more
    assert LearnedUsers(path, lambda ids: {one: changed[one] for one in ids if one in changed}).restore(after) == 2
    model = find_growing(after)["user-user"]
    assert isinstance(model, UserUser)
    expected = grow(tmp_path / "version")
    for user_id, ratings in changed.items():
        LearnedUsers(None, read_all).learn(expected, "user-user", user_id, ratings)
    twin = find_growing(expected)["user-user"]
    assert isinstance(twin, UserUser)
    assert model.inserted == twin.inserted
    assert set(model.inserted) == {7, 9}


def test_without_a_database_users_come_back_on_their_next_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "users.txt"
    LearnedUsers(path, read_all).learn(grow(tmp_path / "version"), "hybrid", 7, rate(7))

    def fail(_: Sequence[int]) -> Mapping[int, Mapping[int, float]]:
        raise ServiceUnavailableError("the database does not answer")

    learned, model = LearnedUsers(path, fail), grow(tmp_path / "version")
    assert learned.restore(model) == 0
    assert "1 users are inserted on their next request" in caplog.text
    assert learned.learn(model, "hybrid", 7, rate(7))
    assert read_journal(path) == [7]


def test_a_deleted_user_is_forgotten_by_models_and_journal(tmp_path: Path) -> None:
    model, path = grow(tmp_path / "version"), tmp_path / "users.txt"
    learned = LearnedUsers(path, read_all)
    for algorithm in ("user-user", "hybrid"):
        learned.learn(model, algorithm, 7, rate(7))
    learned.forget(model, 7)
    learned.forget(None, 8)
    assert not any(one.inserted for one in find_growing(model).values())  # type: ignore[attr-defined]
    assert read_journal(path) == []
    assert path.read_text().splitlines()[-1].startswith("-7 ")


def test_a_damaged_line_costs_one_user(tmp_path: Path) -> None:
    path = tmp_path / "users.txt"
    learned = LearnedUsers(path, read_all)
    model = grow(tmp_path / "version")
    for user_id in (7, 8, 9):
        learned.learn(model, "user-user", user_id, rate(user_id))
    whole = path.read_text()
    path.write_text(whole.replace("+8 ", "+6 ", 1))
    assert read_journal(path) == [7, 9]
    path.write_text(whole[:-5])  # the last line was cut short
    assert read_journal(path) == [7, 8]
    path.write_bytes(b"\xff\xfe+5 \n\n" + whole.encode())
    assert read_journal(path) == [7, 8, 9]
    assert read_journal(tmp_path / "none.txt") == []


def test_a_journal_that_cannot_be_written_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    learned = LearnedUsers(tmp_path / "file" / "users.txt", read_all)
    assert learned.learn(grow(tmp_path / "version"), "user-user", 7, rate(7))
    assert "inserted users are not kept" in caplog.text


def insert_and_query(folder: Path, path: Path, *, go_on: Callable[[int], bool], n_threads: int = 20) -> ServingModel:
    """Let threads insert users of their own and query, and check every response."""
    model, learned = grow(folder), LearnedUsers(path, read_all)

    def work(number: int) -> None:
        step = 0
        while go_on(step):
            user_id, algorithm = 1_000 * (step + 1) + number, ("user-user", "hybrid")[step % 2]
            learned.learn(model, algorithm, user_id, rate(user_id))
            scores = model.recommender.retriever.get_generator(algorithm).score(build_row(model, rate(number)))
            assert np.isfinite(scores).all()
            assert scores.any()
            step += 1

    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(work, range(n_threads)))
    return model


def check_consistent(model: ServingModel, folder: Path, path: Path) -> int:
    """Compare a crowded model with the journal, and with one that learned the same users one after another."""
    user_ids = read_journal(path)
    held = {name: one.inserted for name, one in find_growing(model).items()}  # type: ignore[attr-defined]
    assert set(held["user-user"]) | set(held["hybrid"]) == set(user_ids)
    calm = grow(folder)
    for name, inserted in held.items():
        for user_id in inserted:
            find_growing(calm)[name].insert(user_id, build_row(calm, rate(user_id)))
        assert find_growing(calm)[name].inserted == inserted  # type: ignore[attr-defined]
    return len(user_ids)


def test_twenty_threads_insert_and_query(tmp_path: Path) -> None:
    model = insert_and_query(tmp_path / "version", tmp_path / "users.txt", go_on=lambda step: step < 6)
    assert check_consistent(model, tmp_path / "version", tmp_path / "users.txt") == 120


@pytest.mark.e2e
def test_twenty_threads_insert_and_query_for_a_minute(tmp_path: Path) -> None:
    end = time.monotonic() + MINUTE
    model = insert_and_query(tmp_path / "version", tmp_path / "users.txt", go_on=lambda _: time.monotonic() < end)
    assert check_consistent(model, tmp_path / "version", tmp_path / "users.txt") > 1_000


def test_killed_while_threads_insert_the_next_start_is_consistent(tmp_path: Path) -> None:
    """SIGKILL in the middle: whatever the journal holds is restored, and it goes on from there."""
    folder, path = tmp_path / "version", tmp_path / "users.txt"
    grow(folder)
    command = (
        "from pathlib import Path; from tests.app.models.test_learned_users import insert_and_query as run;"
        f"run(Path({str(folder)!r}), Path({str(path)!r}), go_on=lambda _: True)"
    )
    with Program(["-c", command], cwd=ROOT) as child:
        stopped = threading.Event()
        while child.poll() is None and not (path.exists() and len(read_journal(path)) >= 40):
            stopped.wait(0.05)
        assert child.poll() is None
        os.kill(child.pid, signal.SIGKILL)
    kept = read_journal(path)
    assert len(kept) >= 40
    model, learned = grow(folder), LearnedUsers(path, read_all)
    assert learned.restore(model) == len(kept)
    for one in find_growing(model).values():
        assert list(one.inserted) == kept  # type: ignore[attr-defined]
    assert learned.learn(model, "user-user", 999_999, rate(999_999))
    assert read_journal(path) == [*kept, 999_999]
