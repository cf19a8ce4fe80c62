"""A dry run of any job changes nothing outside `dry-run/`; days that are not complete are not trained on."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert, select
from typer.testing import CliRunner

import retrain_model.__main__ as retraining
import retrain_model.drift.__main__ as drift
import retrain_model.feedback.__main__ as feedback
import simulate_new_users.__main__ as arrivals_job
from otaku.cli import app
from recsys.connections import open_engine, open_registry
from recsys.exceptions import RetrainError, UnfinishedDayError
from recsys.ranking.params import get_preset
from recsys.settings import Settings
from recsys.storage.database import upsert_rows
from recsys.storage.feedback import FeedbackEvent, write_feedback
from recsys.storage.tables import arrivals, items, users
from retrain_model import job, steps
from retrain_model.days import require_finished_day
from retrain_model.job import open_context, retrain
from tests.everything import read_everything
from tests.retrain_model.conftest import SUNDAY
from tests.retrain_model.test_steps import shrink
from tests.retrain_model.worlds import copy_text_vectors, to_environment

pytestmark = [pytest.mark.local, pytest.mark.slow]
NEXT = (SUNDAY + timedelta(days=1)).isoformat()
NOON = datetime(2026, 1, 11, 12, tzinfo=UTC)

JOBS: dict[str, Callable[[], Any]] = {
    "arrivals": lambda: arrivals_job.run(["--json", "--day", NEXT, "--dry-run"]),
    "feedback": lambda: feedback.run(["--day", NEXT, "--dry-run"]),
    "drift": lambda: drift.run(["--day", NEXT, "--dry-run"]),
    "a look at drift": lambda: json.loads(
        CliRunner().invoke(app, ["drift", "--day", NEXT, "--json"], catch_exceptions=False).stdout
    ),
    "retraining": lambda: retraining.run(["--as-of", NEXT, "--dry-run"]),
    "a step of it": lambda: retraining.run(["snapshot", "--as-of", NEXT, "--dry-run"]),
    "pruning": lambda: CliRunner().invoke(app, ["models", "prune", "--keep", "0", "--dry-run"], catch_exceptions=False),
}


@pytest.fixture(scope="module")
def lived(open_world: Callable[[], Settings], undisturbed: Settings) -> Settings:
    """A world with a model in Production whose alias lags behind the ledger, and with feedback that waits."""
    settings = open_world()
    copy_text_vectors(undisturbed, settings)
    with open_context(SUNDAY, settings=settings) as context:
        assert retrain(shrink(context, 20)).action == "promote"
        with context.engine.begin() as connection:
            user_id = connection.scalars(select(users.c.user_id)).first()
            item_id = connection.scalars(select(items.c.item_id)).first()
            assert user_id is not None
            assert item_id is not None
            write_feedback(connection, [FeedbackEvent("a", user_id, item_id, "rating", 3)])
    open_registry(settings).point_alias("production", None)
    return settings


@pytest.fixture
def environment(lived: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name, value in to_environment(lived).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    few = {name: replace(getattr(get_preset("default"), name), n_estimators=20) for name in ("relevance", "rating")}
    monkeypatch.setattr(job, "get_preset", lambda name: replace(get_preset(name), **few))


@pytest.mark.usefixtures("environment")
def test_no_dry_run_of_any_job_changes_anything(lived: Settings) -> None:
    before = read_everything(lived)
    for name, run in JOBS.items():
        result = run()
        assert read_everything(lived) == before, name
        if name == "retraining":
            assert result["action"] == "none"
            assert result["evaluation"]["champion_version"] == 1
            assert result["evaluation"]["challenger_version"] is None
            assert result["decision"]["reference"] == "champion"


def test_a_dry_run_promotes_nothing_even_if_told_to(lived: Settings) -> None:
    with open_context(SUNDAY, settings=lived, dry_run=True) as context, pytest.raises(RetrainError, match="a dry run"):
        steps.promote(context)


def test_a_dry_run_of_noon_does_not_fix_what_the_evening_sees(
    open_world: Callable[[], Settings], undisturbed: Settings
) -> None:
    settings = open_world()
    with open_engine(settings) as engine, engine.begin() as connection:
        connection.execute(delete(arrivals).where(arrivals.c.day == SUNDAY))
    with open_context(SUNDAY, settings=settings, dry_run=True) as context:
        noon = replace(context, clock=lambda: NOON)
        steps.snapshot(noon)
        known = steps.load_snapshot(noon).digest
    with open_context(SUNDAY, settings=settings) as context:
        with pytest.raises(UnfinishedDayError, match=r"2026-01-11 is not over .* --as-of 2026-01-10"):
            steps.snapshot(replace(context, clock=lambda: NOON))
        with context.engine.begin() as connection:
            rows = [{"user_id": 7_000_001, "arrived_on": SUNDAY, "batch_id": "evening"}]
            connection.execute(insert(users), rows)
            connection.execute(insert(arrivals).values(day=SUNDAY, n_users=1, n_ratings=0, n_generated=0, batch_id="e"))
        steps.snapshot(replace(context, clock=lambda: NOON))
        assert steps.load_snapshot(context).digest != known
    with open_context(SUNDAY, settings=settings, dry_run=True) as context:
        steps.snapshot(context)
        assert steps.load_snapshot(context).digest != known


@pytest.mark.parametrize(
    ("day", "now", "finished"),
    [
        (date(2026, 1, 10), NOON, True),
        (date(2026, 1, 11), NOON, False),
        (date(2026, 1, 11), NOON.replace(hour=22), True),
        (date(2026, 1, 12), NOON.replace(hour=23), False),
    ],
)
def test_a_day_is_finished_when_it_is_over_or_its_arrivals_have_come(
    day: date, now: datetime, finished: bool, settings: Settings
) -> None:
    with open_engine(settings) as engine, engine.begin() as connection:
        if finished:
            require_finished_day(connection, day, now)
        else:
            with pytest.raises(UnfinishedDayError):
                require_finished_day(connection, day, now)
        upsert_rows(connection, arrivals, _arrival(day))
        require_finished_day(connection, day, now)


def _arrival(day: date) -> Any:
    import pandas as pd

    return pd.DataFrame([{"day": day, "n_users": 1, "n_ratings": 1, "n_generated": 0, "batch_id": "x"}])


@pytest.mark.usefixtures("environment")
def test_drift_of_a_day_that_is_not_over_is_not_written(lived: Settings) -> None:
    future = (datetime.now(UTC).date() + timedelta(days=30)).isoformat()
    before = read_everything(lived)
    with pytest.raises(UnfinishedDayError, match="is not over"):
        drift.run(["--day", future])
    assert drift.run(["--day", future, "--dry-run"])["report_uri"].startswith(f"s3://{lived.s3_bucket}/dry-run/drift/")
    after, job_runs = read_everything(lived), "table job_runs"
    assert len(after.pop(job_runs)) == len(before.pop(job_runs)) + 1  # that it was too early
    assert after == before
