"""`otaku ledger`, `arrivals`, `quarantine` and `drift list` over real tables."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert
from typer.testing import CliRunner

from otaku.cli import app
from otaku.platform.environment import settings_environment
from recsys.connections import open_engine
from recsys.settings import Settings
from recsys.storage.tables import arrivals, decisions, drift_reports, quarantine

pytestmark = pytest.mark.local


@pytest.fixture
def runner(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Run commands over tables with a few rows."""
    named = settings.model_copy(update={"model_name": "anime"})
    for name, value in {**settings_environment(named), "OTAKU_MODEL_NAME": "anime"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    with open_engine(named) as engine, engine.begin() as connection:
        fill(connection)
    return CliRunner()


def fill(connection: Connection) -> None:
    days = [dt.date(2026, 1, day) for day in (5, 6, 7)]
    for number, (action, model) in enumerate((("promote", "anime"), ("keep", "anime"), ("promote", "other")), 1):
        row = {"run_key": f"week-{number}", "action": action, "actor": "gate", "reason": f"reason {number}"}
        versions = {"challenger_version": number, "champion_version": None, "evidence": {}, "model_name": model}
        connection.execute(insert(decisions).values({**row, **versions}))
    for number, day in enumerate(days, 1):
        counts = {"n_users": number, "n_ratings": 1000 * number, "n_generated": 0}
        connection.execute(insert(arrivals).values(day=day, batch_id=str(day), **counts))
        found = {"breached": number == 2, "retraining_wanted": False, "reason": "psi", "report": {"long": 1}}
        connection.execute(insert(drift_reports).values(day=day, model_version=1, report_uri="s3://r", **found))
    for line, reason in enumerate(("unknown title", "unknown title", "rating 11% of 10"), 1):
        row = {"file_digest": "d", "line": line, "file_name": "rating.csv", "reason": reason}
        connection.execute(insert(quarantine).values(content="1,2,\x1b[31mred [bold]", **row))


def read(runner: CliRunner, *words: str) -> list[dict[str, Any]]:
    done = runner.invoke(app, [*words, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_decisions_of_the_model_are_filtered(runner: CliRunner) -> None:
    assert [row["run_key"] for row in read(runner, "ledger")] == ["week-2", "week-1"]
    assert [row["run_key"] for row in read(runner, "ledger", "--limit", "1")] == ["week-2"]
    assert [row["run_key"] for row in read(runner, "ledger", "--action", "promote")] == ["week-1"]
    assert [row["run_key"] for row in read(runner, "ledger", "--version", "2")] == ["week-2"]
    assert read(runner, "ledger", "--since", "2100-01-01") == []
    shown = runner.invoke(app, ["ledger"]).stdout
    assert "reason 1" in shown
    assert "reason 3" not in shown
    assert "No decisions about anime" in runner.invoke(app, ["ledger", "--version", "9"]).stdout
    assert runner.invoke(app, ["ledger", "--action", "no"]).exit_code == 2


def test_arrivals_and_drift_are_listed_by_day(runner: CliRunner) -> None:
    assert [row["n_users"] for row in read(runner, "arrivals")] == [3, 2, 1]
    assert [row["day"] for row in read(runner, "arrivals", "--since", "2026-01-07")] == ["2026-01-07"]
    assert "3,000" in runner.invoke(app, ["arrivals"]).stdout
    assert [row["day"] for row in read(runner, "drift", "list")] == ["2026-01-07", "2026-01-06", "2026-01-05"]
    (breached,) = read(runner, "drift", "list", "--breached")
    assert breached["day"] == "2026-01-06"
    assert "report" not in breached


def test_refused_rows_are_shown_by_reason_and_cannot_reach_the_terminal(runner: CliRunner) -> None:
    assert [row["line"] for row in read(runner, "quarantine", "--reason", "UNKNOWN")] == [1, 2]
    assert [row["line"] for row in read(runner, "quarantine", "--reason", "11% of")] == [3]
    assert read(runner, "quarantine", "--reason", "_nknown") == []
    assert read(runner, "quarantine", "--counts") == [
        {"reason": "unknown title", "n_rows": 2},
        {"reason": "rating 11% of 10", "n_rows": 1},
    ]
    shown = runner.invoke(app, ["quarantine"]).stdout
    assert "\x1b[31m" not in shown
    assert "[31mred [bold]" in shown


def test_drift_needs_a_day_or_a_command(runner: CliRunner) -> None:
    done = runner.invoke(app, ["drift"])
    assert done.exit_code == 2
    assert "--day 2026-01-12" in done.output
