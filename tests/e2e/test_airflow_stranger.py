"""The first weeks of a user who knows nothing but the commands: arrivals, a retraining, alerts, an approval.

The clock is that of the schedules, with a first day two weeks ago: what Airflow would have run since then, it runs now.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from otaku.platform.supervisor import MARKER
from retrain_model.days import find_last_finished_day
from tests.dags.sinks import build_connections, receive_json, receive_mail
from tests.retrain_model.worlds import write_tiny_world

pytestmark = [pytest.mark.e2e, pytest.mark.local, pytest.mark.timeout(2400)]

Otaku = Callable[..., str]
DAYS = 15


@pytest.fixture
def otaku(tmp_path: Path) -> Iterator[Otaku]:
    """Run `otaku` in a folder of its own, with nothing set but by its `.env`; the platform ends with the test."""
    given = {name: value for name, value in os.environ.items() if not name.startswith(("OTAKU", "AIRFLOW", "MLFLOW"))}
    # As in an image: a checkout that is edited meanwhile would be another release to the run.
    given["OTAKU_REVISION"] = "tests"

    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "otaku", *arguments],
            env=given,
            cwd=tmp_path,
            check=False,
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == code, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout

    yield run
    run("down")


def test_the_first_weeks_of_a_stranger(otaku: Otaku, tmp_path: Path) -> None:
    today = datetime.now(UTC).date()
    first = today - timedelta(days=DAYS)
    write_tiny_world(tmp_path / "files")
    with receive_mail() as (mail_port, messages), receive_json() as (json_port, bodies):
        connections = build_connections(mail_port, json_port)
        settings = {
            "OTAKU_START_DATE": str(first),
            "OTAKU_NOTIFY": "mailto:ops@example.org,webhook:otaku_webhook",
            "OTAKU_APPROVAL": "always",
        }
        (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))

        assert "`otaku ingest DIR` loads your files" in otaku("up", "--no-airflow")
        said = otaku("ingest", "files", "--hold-back", "0.3", "--first-day", str(first))
        assert "There is no model yet" in said
        held_back = re.search(r"(\d+) held back", said)
        assert held_back is not None
        assert "The platform is up." in otaku("up")
        for name in ("AIRFLOW_CONN_SMTP_DEFAULT", "AIRFLOW_CONN_OTAKU_WEBHOOK"):
            connection = name.removeprefix("AIRFLOW_CONN_").lower()
            otaku("airflow", "connections", "add", connection, "--conn-json", connections[name])

        # Those who were held back arrive, a cohort every day since the first one; then generated users do.
        n_days = (find_last_finished_day(datetime.now(UTC)) - first).days + 1
        expected = [str(first + timedelta(days=count)) for count in range(n_days)]
        rows = wait_for(lambda: json.loads(otaku("arrivals", "--json")), lambda found: len(found) >= len(expected))
        assert sorted(row["day"] for row in rows) == expected
        assert all(10 <= row["n_users"] <= 25 for row in rows)
        assert sum(row["n_users"] - row["n_generated"] for row in rows) == int(held_back[1])
        assert [row["n_generated"] for row in rows if row["day"] == expected[0]] == [0]

        # The weekly run has trained and waits for a person, who is told where to answer.
        (request,) = wait_for(lambda: json.loads(otaku("models", "waiting", "--json")), bool)
        asked = wait_for(lambda: [body for body in bodies if body.get("event") == "approval"], bool)[0]
        assert asked["dag_id"] == "retrain_model"
        assert request["run_key"] in asked["subject"]
        assert "/required_actions" in asked["text"]
        assert json.loads(otaku("ledger", "--json")) == []

        # The answer is given, the run goes on, and the version is in Production.
        promoted = otaku("models", "approve", request["run_key"], "--reason", "the first lists look good")
        assert "Version 1 is in Production." in promoted
        verdict = wait_for(lambda: [body for body in bodies if body.get("event") == "verdict"], bool)[0]
        assert verdict["subject"].startswith("retrain_model promoted models:/anime-recommender/1")
        subjects = wait_for(
            lambda: {str(message["Subject"]) for message in messages},
            lambda found: {asked["subject"], verdict["subject"]} <= found,
        )
        assert not {subject for subject in subjects if "failed" in subject}
        (decision,) = json.loads(otaku("ledger", "--json"))
        assert decision["action"] == "promote"
        assert decision["challenger_version"] == 1
        assert "the first lists look good" in json.dumps(decision)
        wait_for(lambda: read_states(otaku, verdict["run_id"]), lambda found: found["promote"] == "success")
        states = read_states(otaku, verdict["run_id"])
        assert (states["approve"], states["keep"]) == ("success", "skipped")
        assert verdict["run_id"].startswith("scheduled__")
        otaku("status")

    otaku("down")
    assert list(find_processes(tmp_path / ".otaku")) == []


def read_states(otaku: Otaku, run_id: str) -> dict[str, str]:
    """Read how the tasks of a retraining are, by Airflow's own command."""
    found = otaku("airflow", "tasks", "states-for-dag-run", "retrain_model", run_id, "--output", "json")
    return {task["task_id"]: task["state"] for task in json.loads(found[found.index("[{") :])}


def find_processes(home: Path) -> Iterator[psutil.Process]:
    """Find what still runs for a home."""
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except psutil.Error:
            continue


def wait_for(read: Callable[[], Any], is_there: Callable[[Any], bool], *, seconds: float = 1200) -> Any:
    deadline = time.monotonic() + seconds
    while not is_there(found := read()):
        assert time.monotonic() < deadline, found
        time.sleep(2)
    return found
