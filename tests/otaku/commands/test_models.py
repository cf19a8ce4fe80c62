"""`otaku models` against a real registry and a real ledger, in this process."""

import json
import logging
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from otaku.cli import app
from otaku.platform.environment import settings_environment
from recsys.connections import open_engine
from recsys.exceptions import NoProductionModelError, RetrainError, UnknownVersionError
from recsys.settings import Settings
from recsys.storage.approvals import store_request
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.registry import PREVIOUS, PRODUCTION, Registry
from tests.recsys.storage.test_promotion import decide

pytestmark = pytest.mark.local
PACKAGES = ("otaku", "recsys", "retrain_model", "simulate_new_users", "app")


@pytest.fixture
def registry(mlflow_uri: str, store: ArtifactStore) -> Registry:
    return Registry(mlflow_uri, f"anime-{uuid.uuid4().hex[:8]}", store)


@pytest.fixture
def two_versions(registry: Registry, tmp_path: Path) -> Registry:
    (tmp_path / "saved").mkdir()
    for number in (1, 2):
        (tmp_path / "saved" / "model.json").write_text(str(number))
        run_id = registry.start_run(f"week-{number}")
        registry.register_model(run_id, tmp_path / "saved", f"week-{number}", metrics={"ndcg_at_10": number / 10})
    return registry


@pytest.fixture
def runner(
    registry: Registry, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CliRunner]:
    """Run commands whose environment names the services of this test."""
    for name, value in settings_environment(settings.model_copy(update={"model_name": registry.model_name})).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OTAKU_MODEL_NAME", registry.model_name)
    monkeypatch.chdir(tmp_path)
    levels = {name: logging.getLogger(name).level for name in PACKAGES}
    yield CliRunner()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def invoke(runner: CliRunner, *arguments: str) -> str:
    result = runner.invoke(app, ["models", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_user_promotes_rolls_back_and_reads_why(runner: CliRunner, two_versions: Registry) -> None:
    assert "Version 1 is in Production; before it was nothing." in invoke(
        runner, "promote", "1", "--reason", "the first"
    )
    answer = invoke(runner, "promote", "2", "--reason", "asked for [/in chat]", "--by", "mai")
    assert "Version 2 is in Production; before it was version 1." in answer
    answer = invoke(runner, "rollback", "--reason", "strange lists", "--by", "mai")
    assert "Version 1 is in Production again; version 2 is out." in answer
    assert (two_versions.alias_version(PRODUCTION), two_versions.alias_version(PREVIOUS)) == (1, 2)

    found = json.loads(invoke(runner, "list", "--json"))
    assert [version["version"] for version in found["versions"]] == [2, 1]
    assert [version["aliases"] for version in found["versions"]] == [["previous"], ["production"]]
    ledger = [(line["action"], line["challenger_version"], line["champion_version"]) for line in found["ledger"]]
    assert ledger == [("promote", 1, None), ("promote", 2, 1), ("rollback", 1, 2)]
    assert [line["actor"] for line in found["ledger"]][1:] == ["user:mai", "user:mai"]
    assert found["ledger"][0]["evidence"] == {"manual": True}

    table = invoke(runner, "list")
    assert "strange lists" in table
    assert "week-2" in table
    assert "0.2" in table
    shown = invoke(runner, "show", "2")
    assert "asked for [/in chat]" in shown
    assert "strange lists" in shown
    assert json.loads(invoke(runner, "show", "2", "--json"))["run_key"] == "week-2"


def test_without_a_model_the_next_step_is_named(runner: CliRunner) -> None:
    assert "otaku retrain" in invoke(runner, "list")


def test_a_reason_is_needed(runner: CliRunner, two_versions: Registry) -> None:
    for arguments in (["promote", "1"], ["rollback"], ["promote", "1", "--reason", "  "]):
        assert runner.invoke(app, ["models", *arguments]).exit_code == 2
    assert two_versions.production_version() is None


def test_what_cannot_be_done_is_said(runner: CliRunner, two_versions: Registry) -> None:
    with pytest.raises(NoProductionModelError, match="nothing to roll back to"):
        invoke(runner, "rollback", "--reason", "why not")
    with pytest.raises(UnknownVersionError, match="no version 7"):
        invoke(runner, "promote", "7", "--reason", "a typo")
    invoke(runner, "promote", "1", "--reason", "the first")
    with pytest.raises(RetrainError, match="already"):
        invoke(runner, "promote", "1", "--reason", "once more")


def test_a_half_done_promotion_is_completed_by_the_next_change_and_by_no_look(
    runner: CliRunner, two_versions: Registry
) -> None:
    invoke(runner, "promote", "1", "--reason", "the first")
    invoke(runner, "promote", "2", "--reason", "the second")
    two_versions.point_alias(PRODUCTION, 1)
    invoke(runner, "list")
    invoke(runner, "prune", "--dry-run")
    assert two_versions.production_version() == 1
    invoke(runner, "prune")
    assert two_versions.production_version() == 2


def test_old_versions_go_when_asked_for_and_not_before(
    runner: CliRunner, two_versions: Registry, tmp_path: Path
) -> None:
    for number in (3, 4):
        (tmp_path / "saved" / "model.json").write_text(str(number))
        two_versions.register_model(two_versions.start_run(f"week-{number}"), tmp_path / "saved", f"week-{number}")
    assert "There is nothing to delete." in invoke(runner, "prune", "--keep", "0")
    for number in range(1, 5):
        invoke(runner, "promote", str(number), "--reason", "in turn")
    told = invoke(runner, "prune", "--keep", "0", "--dry-run")
    assert "version 1 would go" in told
    assert "version 4 stays: carries the alias production" in told
    assert len(two_versions.list_versions()) == 4
    assert "nothing to delete" in invoke(runner, "prune")
    assert "version 1 is deleted" in invoke(runner, "prune", "--keep", "0")
    assert [found.version for found in two_versions.list_versions()] == [4, 3, 2]
    assert runner.invoke(app, ["models", "prune", "--keep", "-1"]).exit_code == 2


def test_a_waiting_promotion_is_shown_approved_and_refused(
    runner: CliRunner, two_versions: Registry, settings: Settings
) -> None:
    assert "No promotion waits for approval." in invoke(runner, "waiting")
    with open_engine(settings) as engine:
        for version in (1, 2):
            store_request(
                engine,
                two_versions,
                run_key=f"week-{version}",
                challenger=version,
                champion=None,
                decision=decide(0.1),
                body=f"Lift of version {version}.",
            )
    assert "Lift of version 2." in invoke(runner, "waiting")
    assert [found["run_key"] for found in json.loads(invoke(runner, "waiting", "--json"))] == ["week-1", "week-2"]
    assert "is refused; nothing stays" in invoke(runner, "refuse", "week-1", "--reason", "odd lists", "--by", "mai")
    assert "Version 2 is in Production." in invoke(runner, "approve", "week-2", "--reason", "good lists", "--by", "mai")
    assert two_versions.production_version() == 2
    ledger = json.loads(invoke(runner, "list", "--json"))["ledger"]
    assert [(line["action"], line["actor"]) for line in ledger] == [("keep", "user:mai"), ("promote", "user:mai")]
    with pytest.raises(RetrainError, match="week-1 was answered before: keep by user:mai: refused: odd lists"):
        invoke(runner, "approve", "week-1", "--reason", "on second thought")
    assert runner.invoke(app, ["models", "approve", "week-1"]).exit_code == 2
