"""`python -m retrain_model`: exit codes and what it prints; and a step that two threads run at once."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from recsys.exceptions import ServiceUnavailableError
from recsys.settings import Settings
from retrain_model import __main__, job
from retrain_model.context import RetrainContext, fetch, publish_once
from retrain_model.job import open_context
from tests.retrain_model.conftest import SUNDAY
from tests.retrain_model.worlds import to_environment

pytestmark = pytest.mark.local


@pytest.fixture
def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Settings in the environment, far from any .env file."""
    for name, value in to_environment(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--as-of", "yesterday"], "'yesterday' does not match the formats '%Y-%m-%d'"),
        (["--as-of", "2026-01-11", "--preset", "fast"], "'fast' is not one of 'default', 'original'"),
        (["train", "--as-of", "2026-01-11"], "'train' is not one of 'snapshot', 'embed_text'"),
        ([], "Missing option '--as-of'"),
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        __main__.main(arguments)
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("variable", ["OTAKU_DATABASE_URL", "MLFLOW_TRACKING_URI"])
def test_a_missing_setting_is_one_sentence(
    variable: str, environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.delenv(variable)
    assert __main__.main(["--as-of", "2026-01-11"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"retrain_model: {variable} is not set; ")
    assert captured.err.count("\n") == 1


def test_nothing_ingested_is_one_sentence(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["snapshot", "--as-of", "2026-01-11"]) == 99  # for Airflow: skip
    assert "the catalog is empty" in capsys.readouterr().err


def test_a_step_too_early_is_one_sentence(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["promote", "--as-of", "2026-01-11"]) == 1
    assert "run `python -m retrain_model evaluate --as-of 2026-01-11` first" in capsys.readouterr().err


def test_a_finished_step_is_found_by_another_process(
    undisturbed: Settings, environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in to_environment(undisturbed).items():
        environment.setenv(name, value)
    assert __main__.main(["gate", "--as-of", SUNDAY.isoformat()]) == 0
    assert json.loads(capsys.readouterr().out)["action"] == "promote"


def run_in_threads(*targets: Callable[[], object]) -> None:
    threads = [threading.Thread(target=target) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()


def write_slowly(built: list[str], name: str) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        built.append(name)
        time.sleep(0.3)
        (folder / "out.txt").write_text(name)

    return build


@pytest.fixture
def context(settings: Settings) -> Iterator[RetrainContext]:
    with open_context(SUNDAY, settings=settings) as context:
        yield context


def test_of_two_concurrent_runs_of_a_step_one_builds(context: RetrainContext, tmp_path: Path) -> None:
    built: list[str] = []
    run_in_threads(
        *(lambda name=name: publish_once(context, "step", {"n": 1}, write_slowly(built, name)) for name in ("a", "b"))
    )
    assert len(built) == 1
    assert (fetch(context, "step", tmp_path) / "out.txt").read_text() == built[0]


def test_other_inputs_build_a_step_anew_and_leave_nothing_of_the_old(context: RetrainContext, tmp_path: Path) -> None:
    def build_two(folder: Path) -> None:
        for name in ("old", "out"):
            (folder / f"{name}.txt").write_text(name)

    built: list[str] = []
    publish_once(context, "step", {"n": 1}, build_two)
    publish_once(context, "step", {"n": 2}, write_slowly(built, "new"))
    publish_once(context, "step", {"n": 2}, write_slowly(built, "newer"))
    assert built == ["new"]
    keys = context.store.list_keys(f"{context.prefix('step')}/")
    assert [key.rpartition("/")[2] for key in keys] == ["inputs.json", "manifest.json", "out.txt"]


def test_a_step_that_fails_publishes_nothing_and_lets_the_next_one_in(context: RetrainContext) -> None:
    def fail(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish_once(context, "step", {}, fail)
    assert context.store.list_keys(f"{context.prefix('step')}/") == []
    built: list[str] = []
    publish_once(context, "step", {}, write_slowly(built, "a"))
    assert built == ["a"]


def test_a_step_that_fails_leaves_no_run_that_seems_to_go_on(
    context: RetrainContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(found: RetrainContext) -> None:
        found.registry.start_run(found.run_key)
        raise ServiceUnavailableError("S3 does not answer")

    monkeypatch.setattr(job.steps, "evaluate", fail)
    with pytest.raises(ServiceUnavailableError):
        job.run_step(context, "evaluate")
    client = MlflowClient(tracking_uri=context.registry.tracking_uri)
    (run,) = client.search_runs(
        [context.registry._experiment_id()], f"tags.`otaku.run_key` = '{context.run_key}'", max_results=9
    )
    assert run.info.status == "FAILED"
    # Run again, it goes on under the same run.
    assert context.registry.start_run(context.run_key) == run.info.run_id
    assert client.get_run(run.info.run_id).info.status == "RUNNING"
