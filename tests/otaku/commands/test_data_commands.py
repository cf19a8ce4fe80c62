"""`sample`, `ingest`, `simulate`, `doctor` and `status` against real services, in this process."""

import csv
import gzip
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from otaku.cli import app
from otaku.platform.environment import settings_environment
from recsys.data.sources.layouts import LAYOUTS
from recsys.exceptions import SourceLayoutError, UnknownUserError, WatchListError
from recsys.settings import Settings
from tests.list_files import build_mal_entry, build_mal_xml

PACKAGES = ("otaku", "recsys", "retrain_model", "simulate_new_users", "app")


@pytest.fixture
def runner(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CliRunner]:
    """Run commands whose environment names the services of this test."""
    for name, value in settings_environment(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    levels = {name: logging.getLogger(name).level for name in PACKAGES}
    yield CliRunner()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def _invoke(runner: CliRunner, *arguments: str) -> str:
    result = runner.invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_world_is_written_ingested_and_lived_in(runner: CliRunner, tmp_path: Path) -> None:
    world = str(tmp_path / "world")
    options = ("--users", "60", "--items", "80", "--ratings", "1500", "--seed", "3")
    assert "60 users, 80 anime and 1,500 ratings" in _invoke(runner, "sample", world, *options)

    told = _invoke(runner, "ingest", world, "--hold-back", "0.5")
    assert "80 anime" in told
    assert "rating_complete.csv" in told
    assert "without Airflow nobody arrives by itself: `otaku simulate --day" in told
    assert "`otaku retrain` trains one" in told
    again = json.loads(_invoke(runner, "ingest", world, "--hold-back", "0.5", "--json"))
    assert set(again["written"].values()) == {0}
    assert sum(file["rows"] for file in again["files"]) == 1500 + 80 + again["files"][1]["rows"]

    dry = _invoke(runner, "simulate", "--day", "2026-01-06", "--dry-run", "--cohort-size", "2", "3")
    assert "nothing was written" in dry
    first = _invoke(runner, "simulate", "--day", "2026-01-06", "--cohort-size", "2", "3")
    assert first.endswith(" arrived\n")
    assert "nothing to do" in _invoke(runner, "simulate", "--day", "2026-01-06", "--cohort-size", "2", "3")


def test_outside_services_are_examined_by_the_name_of_their_setting(runner: CliRunner) -> None:
    table = _invoke(runner, "status")
    assert table.count("│ outside │ answers │") == 3
    assert "answers at OTAKU_DATABASE_URL" in runner.invoke(app, ["doctor"]).stdout
    assert "export OTAKU_DATABASE_URL=postgresql://" in _invoke(runner, "status", "--env")
    assert json.loads(_invoke(runner, "status", "--env", "--json"))["OTAKU_DATABASE_URL"].startswith("postgresql://")


def test_up_and_down_leave_outside_services_alone(runner: CliRunner) -> None:
    assert "was up already" in _invoke(runner, "up", "--no-airflow")
    assert _invoke(runner, "down").strip() == "Nothing was running."


def test_serve_gives_the_service_complete_settings(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Settings] = []
    monkeypatch.setattr("app.server.serve", served.append)
    _invoke(runner, "serve", "--port", "0", "--host", "::1")
    assert (served[0].port, served[0].host) == (0, "::1")
    assert served[0].mlflow_tracking_uri is not None


def test_ingest_tries_and_names_layouts(runner: CliRunner, tmp_path: Path) -> None:
    lists = "user_id,anime_id,rating,watching_status,watched_episodes\n1,1,9,2,26\n1,2,0,6,0\n2,1,8,2,26\n"
    (tmp_path / "anime.csv").write_bytes(b"anime_id,name,genre\n1,Caf\xe9,Action\n2,Beta,Drama\n")
    (tmp_path / "animelist.csv").write_text(lists)
    told = _invoke(runner, "ingest", str(tmp_path), "--dry-run", "--hold-back", "0")
    assert "kaggle-2020-lists layout" in told
    assert "animelist.csv: list entries without a rating: planned 1." in told
    assert "anime.csv: decoded as Windows-1252 1." in told
    changes = "items 2, users 2, ratings 2, watch_statuses 3, user_preferences 2"
    assert f"Dry run: nothing was written. Rows to change: {changes}." in told
    assert "Snapshot" not in told
    with pytest.raises(SourceLayoutError, match=r"kaggle-2018 lacks AnimeList\.csv"):
        runner.invoke(app, ["ingest", str(tmp_path), "--layout", "kaggle-2018"], catch_exceptions=False)
    wrong = runner.invoke(app, ["ingest", str(tmp_path), "--layout", "kaggle"])
    assert (wrong.exit_code, "kaggle-2020-lists" in wrong.output) == (2, True)

    season = tmp_path / "autumn.csv"
    season.write_text("mal_id,title,genres\n3,New,Action\n")
    report = json.loads(_invoke(runner, "ingest", str(season), "--json"))
    assert (report["n_items"], report["written"]["items"], report["dry_run"]) == (1, 1, False)


def test_layouts_are_listed_from_the_registry(runner: CliRunner) -> None:
    told = _invoke(runner, "ingest", "--layouts")
    assert all(name in told for name in LAYOUTS)


def test_a_list_is_shown_and_stored_for_a_user(runner: CliRunner, tmp_path: Path) -> None:
    world = tmp_path / "world"
    _invoke(runner, "sample", str(world), "--users", "30", "--items", "40", "--ratings", "600", "--seed", "3")
    _invoke(runner, "ingest", str(world), "--hold-back", "0")
    with (world / "anime.csv").open(encoding="utf-8", newline="") as handle:
        item_ids = [row["MAL_ID"] for row in csv.DictReader(handle)][:3]
    with (world / "rating_complete.csv").open(encoding="utf-8", newline="") as handle:
        user_id = next(csv.DictReader(handle))["user_id"]
    entries = [build_mal_entry(item_id, "A", 7, "Dropped") for item_id in item_ids]
    path = tmp_path / "list.xml.gz"
    path.write_bytes(gzip.compress(build_mal_xml(*entries, build_mal_entry(10**9, "[b]?[/b]", 9, "6")).encode()))

    told = _invoke(runner, "import-list", str(path))
    assert "4 entries: 3 matched, 1 not in the catalog, 0 duplicates." in told
    assert "[b]?[/b]" in told
    assert "Nothing was stored" in told
    dry = _invoke(runner, "import-list", str(path), "--user", user_id, "--dry-run")
    assert "3 statuses would change" in dry
    stored = json.loads(_invoke(runner, "import-list", str(path), "--user", user_id, "--json"))["stored"]
    assert (stored["user_id"], stored["n_statuses"]) == (int(user_id), 3)
    again = _invoke(runner, "import-list", str(path), "--user", user_id)
    assert f"User {user_id}: 0 ratings and 0 statuses changed." in again

    with pytest.raises(UnknownUserError, match="there is no user 77777"):
        _invoke(runner, "import-list", str(path), "--user", "77777")
    path.write_bytes(b"no list")
    with pytest.raises(WatchListError, match="no known format"):
        _invoke(runner, "import-list", str(path))
