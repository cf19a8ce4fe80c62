"""Whom the DAGs tell of what, over real SMTP and HTTP."""

import json
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from tests.dags.conftest import run_with_airflow
from tests.dags.sinks import build_connections, receive_json, receive_mail

RunDags = Callable[..., list[dict[str, Any]]]
MONDAY = "2026-01-05T21:50:00+00:00"
WRONG = {"OTAKU_DATABASE_URL": "mysql://nowhere/{{ dag }}"}


@pytest.fixture
def sinks() -> Iterator[tuple[dict[str, str], list[Message], list[dict[str, Any]]]]:
    """The environment that leads to a mail server and a web server, and what they received."""
    with receive_mail() as (mail_port, messages), receive_json() as (json_port, bodies):
        yield build_connections(mail_port, json_port), messages, bodies


@pytest.mark.slow
def test_a_failure_is_told_by_mail_slack_and_webhook_and_who_cannot_be_told_keeps_nobody_from_it(
    run_dags: RunDags, sinks: tuple[dict[str, str], list[Message], list[dict[str, Any]]]
) -> None:
    connections, messages, bodies = sinks
    everybody = {"OTAKU_NOTIFY": f"webhook:not_there,{connections['OTAKU_NOTIFY']}"}
    (run,) = run_dags(("add_new_users", MONDAY, {}, WRONG | connections | everybody))
    assert run["state"] == "failed"

    (message,) = messages
    assert message["Subject"] == "add_new_users.add_cohort failed"
    assert (message["To"], message["From"]) == ("ops@example.org", "airflow@example.org")
    (page,) = [part for part in message.walk() if part.get_content_type() == "text/html"]
    assert "ConfigurationError" in page.get_content()

    told = {body.get("event", "slack"): body for body in bodies}
    assert set(told) == {"failure", "slack"}
    failure = told["failure"]
    assert (failure["dag_id"], failure["subject"]) == ("add_new_users", "add_new_users.add_cohort failed")
    assert failure["run_id"].startswith("manual__")
    assert failure["text"].startswith("ConfigurationError: wrong settings: OTAKU_DATABASE_URL")
    assert "/dags/add_new_users/runs/manual__" in failure["text"]
    assert told["slack"]["text"].startswith("*add_new_users.add_cohort failed*\nConfigurationError")


@pytest.mark.slow
def test_deadlines_follow_the_day_and_the_last_runs(airflow_home: Path, tmp_path: Path) -> None:
    output = tmp_path / "deadlines.json"
    script = Path(__file__).with_name("evaluate_deadlines.py")
    done = run_with_airflow(airflow_home, script, output)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(output.read_text(encoding="utf-8"))
    # Of the day that ends the data interval; not of backfills, nor of days that are made up for much later.
    assert found["arrivals"] == {"today": "23:00:00", "made up for": None, "backfill": None, "triggered": None}
    # 100, 200 and 300 seconds; runs that were skipped or failed do not count.
    assert found["retraining"]["after two runs"] is None
    assert found["retraining"]["after three runs"] == pytest.approx(2 * 200, abs=30)
    assert found["retraining"]["backfill"] is None
