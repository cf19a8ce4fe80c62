"""A week run by Airflow is reported as a week run in this process; the Airflow API is a stand-in."""

# ruff: noqa: ARG002 - a stand-in takes what the client takes

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from otaku.demo import airflow_steps
from otaku.demo.steps import DemoReport
from recsys.exceptions import RetrainError
from recsys.progress import ignore_progress
from recsys.settings import Settings
from tests.retrain_model.conftest import SUNDAY
from tests.retrain_model.worlds import name_day, read_traces

MONDAY = SUNDAY - timedelta(days=6)


class Scheduler:
    """Behaves like an Airflow whose runs end at once in the given task states."""

    url = "http://airflow.example"

    def __init__(self, states: dict[str, str]) -> None:
        self.backfills: list[tuple[str, date, date]] = []
        self._states = states

    def backfill(self, dag_id: str, first: date, last: date, *, period: timedelta = timedelta(days=1)) -> int:
        self.backfills.append((dag_id, first, last))
        return len(self.backfills)

    def wait_for_backfill(self, backfill: int, *, timeout: float, on_poll: Callable[[], None]) -> None:
        on_poll()

    def read_runs(self, dag_id: str) -> dict[date, dict[str, Any]]:
        first, last = self.backfills[-1][1:]
        days = [first + timedelta(days=offset) for offset in range((last - first).days + 1)]
        return {day: {"dag_run_id": f"{dag_id} {day}"} for day in [*days, first - timedelta(days=300)]}

    def read_tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        return {name: {"state": state} for name, state in self._states.items()}


class Recorder:
    def __init__(self) -> None:
        self.received: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *values: self.received.append((name, *values))


@pytest.mark.local
@pytest.mark.slow
def test_a_week_is_reported_from_the_results_of_its_runs(undisturbed: Settings) -> None:
    before = read_traces(undisturbed)
    scheduler, output, demo = Scheduler({"one": "success", "other": "skipped"}), Recorder(), DemoReport()
    progress: list[tuple[str, int, int]] = []
    airflow_steps.run_week(
        undisturbed,
        scheduler,  # type: ignore[arg-type]
        1,
        demo,
        output,
        lambda *step: progress.append(step),
    )
    assert scheduler.backfills == [
        ("add_new_users", MONDAY, SUNDAY),
        ("monitor_drift", SUNDAY, SUNDAY),
        ("retrain_model", SUNDAY, SUNDAY),
    ]
    (week,) = demo.weeks
    (entry,) = before.ledger
    assert (name_day(week["run_key"]), week["action"], week["decision"]["reason"]) == entry[:3]
    assert [day["day"] for day in week["arrivals"]] == [str(MONDAY + timedelta(days=day)) for day in range(7)]
    assert week["drift"] is None
    assert ("Airflow: add_new_users", 14, 14) in progress
    assert [name for name, *_ in output.received] == ["arrived", "drifted", "retrained"]
    assert read_traces(undisturbed) == before


def test_a_task_that_failed_after_its_retries_is_named() -> None:
    scheduler = Scheduler({"snapshot": "success", "train_ranker": "failed"})
    with pytest.raises(RetrainError, match=r"retrain_model did not succeed \(train_ranker of 2026-01-11\).*airflow.ex"):
        airflow_steps.run_days(scheduler, "retrain_model", SUNDAY, SUNDAY, ignore_progress)  # type: ignore[arg-type]
    with pytest.raises(RetrainError, match="no task ran"):
        airflow_steps.run_days(Scheduler({}), "retrain_model", SUNDAY, SUNDAY, ignore_progress)  # type: ignore[arg-type]
