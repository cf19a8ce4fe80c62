"""The time machine without its Airflow: a week that a scheduler lived through is told as if it had been done here."""

# ruff: noqa: ARG002 - a stand-in takes what the client takes

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from otaku.demo import scheduled
from otaku.demo.loop import Story
from recsys.exceptions import RetrainError
from recsys.settings import Settings
from tests.retrain_model.conftest import SUNDAY
from tests.retrain_model.worlds import read_traces

MONDAY = SUNDAY - timedelta(days=6)


class Scheduler:
    """Answers like an Airflow in which everything that is asked for has just ended, well or not."""

    url = "http://airflow.example"

    def __init__(self, states: dict[str, str]) -> None:
        self.asked: list[tuple[str, date, date]] = []
        self._states = states

    def backfill(self, dag_id: str, first: date, last: date, *, period: timedelta = timedelta(days=1)) -> int:
        self.asked.append((dag_id, first, last))
        return len(self.asked)

    def wait_for_backfill(self, backfill: int, *, timeout: float, on_poll: Callable[[], None]) -> None:
        on_poll()

    def read_runs(self, dag_id: str) -> dict[date, dict[str, Any]]:
        first, last = self.asked[-1][1:]
        days = [first + timedelta(days=offset) for offset in range((last - first).days + 1)]
        return {day: {"dag_run_id": f"{dag_id} {day}"} for day in [*days, first - timedelta(days=300)]}

    def read_tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        return {name: {"state": state} for name, state in self._states.items()}


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *values: self.heard.append((name, *values))


@pytest.mark.local
@pytest.mark.slow
def test_a_week_is_told_from_what_its_runs_left(undisturbed: Settings) -> None:
    before = read_traces(undisturbed)
    scheduler, listener, story = Scheduler({"one": "success", "other": "skipped"}), Listener(), Story()
    scheduled.live_a_week(undisturbed, scheduler, 1, story, listener)  # type: ignore[arg-type]
    assert scheduler.asked == [
        ("add_new_users", MONDAY, SUNDAY),
        ("monitor_drift", SUNDAY, SUNDAY),
        ("retrain_model", SUNDAY, SUNDAY),
    ]
    (week,) = story.weeks
    (entry,) = before.ledger
    assert (week["run_key"], week["action"], week["decision"]["reason"]) == entry[:3]
    assert [day["day"] for day in week["arrivals"]] == [str(MONDAY + timedelta(days=day)) for day in range(7)]
    assert week["drift"] is None
    assert ("progress", "Airflow: add_new_users", 14, 14) in listener.heard
    assert [heard[0] for heard in listener.heard if heard[0] != "progress"] == ["arrived", "drifted", "retrained"]
    assert read_traces(undisturbed) == before


def test_a_task_that_failed_for_good_is_named() -> None:
    scheduler = Scheduler({"snapshot": "success", "train_ranker": "failed"})
    with pytest.raises(RetrainError, match=r"retrain_model did not succeed \(train_ranker of 2026-01-11\).*airflow.ex"):
        scheduled.run_days(scheduler, "retrain_model", SUNDAY, SUNDAY, Listener())  # type: ignore[arg-type]
    with pytest.raises(RetrainError, match="no task ran"):
        scheduled.run_days(Scheduler({}), "retrain_model", SUNDAY, SUNDAY, Listener())  # type: ignore[arg-type]
