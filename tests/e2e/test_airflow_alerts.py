"""Alerts of a real scheduler: a missed deadline, and a week in which there was nothing to do."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from retrain_model.days import find_last_finished_day
from tests.dags.sinks import build_connections, receive_json, receive_mail
from tests.e2e.conftest import World
from tests.e2e.test_airflow_clock import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.local, pytest.mark.timeout(1800)]


def test_a_missed_deadline_and_a_quiet_week_are_told_by_mail_and_webhook(
    open_airflow: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if this Airflow had been started for the first time a week ago, and been off since.
    last = find_last_finished_day(datetime.now(UTC))
    monkeypatch.setenv("OTAKU_START_DATE", str(last - timedelta(days=6)))
    with receive_mail() as (mail_port, messages), receive_json() as (json_port, bodies):
        for name, value in build_connections(mail_port, json_port).items():
            monkeypatch.setenv(name, value)
        open_airflow(clock=True)
        told: dict[tuple[str, str], dict[str, str]] = {}

        def everything() -> bool:
            told.update({(body["event"], body["dag_id"]): body for body in bodies if "event" in body})
            subjects = {str(message["Subject"]) for message in messages}
            return {("deadline", "add_new_users"), ("quiet", "add_new_users")} <= set(told) and (
                {"add_new_users is late", "add_new_users has had nothing to do for a week"} <= subjects
            )

        wait_until(everything, seconds=900)

    late, quiet = told["deadline", "add_new_users"], told["quiet", "add_new_users"]
    assert late["text"].startswith("the arrivals of the day should have ended by 23:00 UTC\nscheduled__")
    assert "ingest ratings first" in quiet["text"]
    # Of seven evenings one lies within a day, and seven skipped runs are told of once.
    assert [body["event"] for body in bodies if body.get("dag_id") == "add_new_users"].count("deadline") == 1
    assert [body["event"] for body in bodies if body.get("dag_id") == "add_new_users"].count("quiet") == 1
