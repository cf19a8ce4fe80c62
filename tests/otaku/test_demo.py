"""`otaku demo` and `otaku retrain` as a user meets them: real processes, real exit codes, nothing left behind."""

import json
import os
import re
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest

from otaku.platform.state import read_state
from otaku.platform.supervisor import MARKER
from recsys.columns import Columns
from recsys.recommender.retriever import RANKER
from recsys.retrieval.registry import list_algorithms
from tests.fork_server import run_program
from tests.retrain_model.worlds import write_tiny_world

pytestmark = pytest.mark.local
ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def run(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "OTAKU_HOME": str(home),
        "COLUMNS": "160",
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    # Started elsewhere than in the repository, so that a .env in it has no say.
    return run_program(["-m", "otaku", *arguments], env=environment, cwd=home.parent)


def find_processes(home: Path) -> list[list[str]]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER, "").startswith(str(home)):
                found.append(process.cmdline())
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
def test_one_week_end_to_end(home: Path, tmp_path: Path) -> None:
    world, file = tmp_path / "world", tmp_path / "report.json"
    write_tiny_world(world)
    # What answers alone is fitted by the long test.
    variables = {"OTAKU_ALGORITHMS": "none"}
    try:
        result = run(home, "demo", "--weeks", "1", "--data", str(world), "--json", str(file), "--keep", **variables)
        assert result.returncode == 0, result.stderr
        check_kept_service(home, result.stdout)
    finally:
        assert run(home, "down").returncode == 0
    assert find_processes(home) == []

    report = json.loads(file.read_text())
    ingest = report["ingest"]
    assert all(
        part["rows"] == part["ingested"] + part["unrated"] + sum(part["quarantined"].values())
        for part in ingest["files"]
    )
    (week,) = report["weeks"]
    assert [day["day"] for day in week["arrivals"]] == [f"2026-01-{day:02}" for day in range(5, 12)]
    assert all(day["n_users"] for day in week["arrivals"])
    assert week["run_key"].startswith("2026-01-11-")
    assert week["action"] == week["decision"]["action"] == "promote"
    models = week["evaluation"]["models"]
    assert models["challenger"]["ndcg_at_10"] > models["popular"]["ndcg_at_10"]
    difference = week["decision"]["criteria"][0]["difference"]
    assert 0 < difference["low"] < difference["mean"] < difference["high"]
    assert set(report["seconds"]) == {
        "platform up",
        "ingest",
        "week 1: arrivals",
        "week 1: retrain",
        "service ready",
        "consistency",
        "all",
    }
    assert report["seconds"]["all"] >= report["seconds"]["week 1: retrain"] > 0
    check_answers(report["answers"])
    assert report["consistency"] == {"ok": True, "found": "MLflow shows what it says"}
    assert "✓ ledger: MLflow shows what it says" in result.stdout
    for step in (f"snapshot of {week['run_key']}", f"gate of {week['run_key']}", "fit retrieval"):
        assert f"INFO {step}: started" in result.stderr
        assert f"INFO {step}: finished" in result.stderr
    for section in ("Platform", "Data", "Week 1", "Service"):
        assert section in result.stdout
    assert f"PROMOTE: {week['decision']['reason']}" in result.stdout.replace("\n", " ").replace("  ", " ")


@pytest.mark.e2e
def test_every_algorithm_answers_every_kind_of_request(home: Path, tmp_path: Path) -> None:
    world, file = tmp_path / "world", tmp_path / "report.json"
    write_tiny_world(world)
    result = run(home, "demo", "--weeks", "1", "--data", str(world), "--json", str(file), "--algorithms")
    assert result.returncode == 0, result.stderr
    assert find_processes(home) == []
    assert list(home.glob("demo-*")) == []
    check_algorithms(json.loads(file.read_text())["algorithms"])


def check_kept_service(home: Path, shown: str) -> None:
    """The pages are served at the address that was shown, long after the command ended and its terminal closed."""
    (address,) = re.findall(r"The pages are at (http://127\.0\.0\.1:\d+/), operations at /ops", shown)
    opened = run(home, "open", BROWSER="true")
    assert (opened.returncode, opened.stdout.strip()) == (0, address)
    with urllib.request.urlopen(address, timeout=60) as response:
        assert "My Otaku Friend" in response.read().decode()
    shown = run(home, "status", "--json")
    assert shown.returncode == 0, shown.stdout
    assert address == {entry["name"]: f"{entry['url']}/" for entry in json.loads(shown.stdout)["services"]}["app"]
    (guard,) = (psutil.Process(entry.pid) for entry in read_state(home).services if entry.name == "app")
    assert os.getsid(guard.pid) == guard.pid


def check_algorithms(exchanges: list[dict[str, Any]]) -> None:
    """Every algorithm, those that are trained beside the first stage too, answers every kind of request."""
    kinds = {"existing_user", "new_user", "new_user_with_preferences", "new_user_with_history", "similar_items"}
    answered = {(one["question"]["algorithm"], one["answer"]["kind"]) for one in exchanges}
    assert answered == {(name, kind) for name in (RANKER, *list_algorithms()) for kind in kinds}
    for exchange in exchanges:
        item_ids = [item[Columns.Item] for item in exchange["answer"]["recommendations"]]
        assert len(set(item_ids)) == len(item_ids) == 10


def check_answers(answers: list[dict[str, Any]]) -> None:
    kinds = [exchange["answer"]["kind"] for exchange in answers]
    assert kinds == ["existing_user", "new_user", "new_user_with_preferences", "similar_items"]
    for exchange in answers:
        answer = exchange["answer"]
        assert answer["model"]["version"] == 1
        item_ids = [item[Columns.Item] for item in answer["recommendations"]]
        assert len(set(item_ids)) == len(item_ids) == 10
        watched = {item[Columns.Item] for item in answer.get("watched") or []}
        assert not watched & set(item_ids)
        assert exchange["milliseconds"] > 0
    wanted = set(answers[2]["question"]["user_preferences"])
    assert all(wanted & set(item["genres"]) for item in answers[2]["answer"]["recommendations"])
    assert answers[3]["answer"]["resolved"]["match"] == "typo"


def test_a_folder_that_is_no_data_is_one_sentence(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "holiday"
    folder.mkdir()
    (folder / "photos.csv").write_text("name\nbeach\n")
    result = run(home, "demo", "--weeks", "1", "--data", str(folder), "--json", str(tmp_path / "report.json"))
    assert result.returncode == 1
    assert result.stderr.startswith("otaku: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stdout
    assert not (tmp_path / "report.json").exists()
    assert find_processes(home) == []
    assert list(home.glob("demo-*")) == []


@pytest.mark.parametrize("arguments", [("--data", "/nowhere"), ("--weeks", "0"), ("--weeks", "many")])
def test_wrong_usage_exits_with_2_before_anything_starts(arguments: tuple[str, ...], home: Path) -> None:
    result = run(home, "demo", *arguments)
    assert result.returncode == 2
    assert arguments[0] in result.stderr
    assert not home.exists()


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("demo", ("--data", "--weeks", "--json", "--keep", "--airflow", "--algorithms", "[default: 3]")),
        ("retrain", ("--as-of", "--preset", "--dry-run", "--json", "default|original", "the last finished day")),
    ],
)
def test_help_is_complete(command: str, options: tuple[str, ...], home: Path) -> None:
    result = run(home, command, "--help")
    assert result.returncode == 0
    assert [option for option in options if option not in result.stdout] == []


def test_retrain_without_a_platform_says_what_to_do(home: Path) -> None:
    result = run(home, "retrain", "--as-of", "2026-01-11")
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "otaku up" in result.stderr
