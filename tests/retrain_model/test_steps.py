"""A retraining once, again, with the original's preset, and in the week after."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from sqlalchemy import text

from recsys.connections import open_engine, open_registry
from recsys.data.splits import TEST, assign_groups
from recsys.exceptions import ConfigurationError, RetrainError, StaleChampionError
from recsys.recommender import Recommender
from recsys.recommender.profile import UserProfile
from recsys.settings import Settings
from recsys.storage import promotion
from retrain_model import steps
from retrain_model.context import RetrainContext, fetch
from retrain_model.job import RetrainReport, open_context, retrain
from simulate_new_users.job import add_new_users
from tests.retrain_model.conftest import SUNDAY
from tests.retrain_model.worlds import Traces, copy_text_vectors, find_runs, finished_steps, name_day, read_traces

pytestmark = [pytest.mark.local, pytest.mark.slow]
WEEK = timedelta(days=7)
OpenContext = Callable[..., AbstractContextManager[RetrainContext]]


def shrink(context: RetrainContext, n_estimators: int) -> RetrainContext:
    heads = {
        name: replace(getattr(context.preset, name), n_estimators=n_estimators) for name in ("relevance", "rating")
    }
    return replace(context, preset=replace(context.preset, **heads))


@dataclass(frozen=True)
class Chapter:
    report: RetrainReport
    traces: Traces


@dataclass(frozen=True)
class Story:
    """Chapters by name, in the order in which they happened."""

    settings: Settings
    chapters: dict[str, Chapter]

    def __getitem__(self, name: str) -> Chapter:
        return self.chapters[name]


@pytest.fixture(scope="module")
def story(open_world: Callable[[], Settings], undisturbed: Settings) -> Story:
    settings = open_world()
    copy_text_vectors(undisturbed, settings)
    chapters: dict[str, Chapter] = {}

    def tell(name: str, day: date = SUNDAY, preset: str = "default") -> None:
        with open_context(day, preset, settings=settings) as context:
            small = shrink(context, 3 if preset == "original" else 60)
            report = retrain(small)
        chapters[name] = Chapter(report, read_traces(settings))

    tell("first")
    with open_engine(settings) as engine:
        with engine.begin() as connection:
            connection.execute(text("UPDATE otaku.ratings SET rating = 1 WHERE user_id % 3 = 0"))
        tell("again")
        with engine.begin() as connection:
            connection.execute(text("UPDATE otaku.ratings SET rating = 8 WHERE rating = 1"))
        tell("original", preset="original")
        for day in range(1, 8):
            add_new_users(engine, SUNDAY + timedelta(days=day), cohort_size=(3, 6))
    tell("second", SUNDAY + WEEK)
    return Story(settings, chapters)


@pytest.fixture
def context_of(story: Story) -> OpenContext:
    @contextmanager
    def open_one(day: date = SUNDAY, preset: str = "default") -> Iterator[RetrainContext]:
        with open_context(day, preset, settings=story.settings) as context:
            yield context

    return open_one


def test_the_first_model_is_promoted_over_popularity(story: Story) -> None:
    first = story["first"]
    decision = first.report.decision
    assert (name_day(first.report.run_key), first.report.action) == (SUNDAY.isoformat(), "promote")
    assert (decision["outcome"], decision["reference"]) == ("beats_popularity", "popularity")
    assert decision["criteria"][0]["difference"]["low"] > 0
    assert first.traces.ledger == [(SUNDAY.isoformat(), "promote", decision["reason"], 1, None)]
    assert first.traces.aliases == {"production": 1, "previous": None}
    ((_, run_key, _, description),) = first.traces.versions
    assert (run_key, description.splitlines()[0]) == (SUNDAY.isoformat(), decision["reason"])


def test_the_evaluation_tells_of_every_model(story: Story) -> None:
    evaluation = story["first"].report.evaluation
    assert set(evaluation["models"]) == {"challenger", "ease", "als", "item_knn", "lightfm", "popular"}
    assert evaluation["champion_version"] is None
    assert evaluation["n_test_users"] >= 30
    for facts in evaluation["models"].values():
        assert 0 < facts["ndcg_at_10"] <= 1
        assert facts["empty_list_share"] == 0
    assert 0 < evaluation["models"]["challenger"]["mae"] < 3
    assert "mae" not in evaluation["models"]["popular"]


def test_per_user_values_are_of_test_users_and_average_to_the_evaluation(
    story: Story, context_of: OpenContext, tmp_path: Any
) -> None:
    with context_of() as context:
        table = pd.read_parquet(fetch(shrink(context, 60), "evaluate", tmp_path) / "per_user.parquet")
    assert set(assign_groups(table["user_id"])) == {TEST}
    assert table["arrived"].any()
    assert not table["arrived"].all()
    means = table.groupby("model")["ndcg_at_10"].mean()
    for name, facts in story["first"].report.evaluation["models"].items():
        assert means[name] == pytest.approx(facts["ndcg_at_10"])


def test_mlflow_has_one_run_with_params_metrics_and_figure(story: Story) -> None:
    settings, first = story.settings, story["first"]
    (run,) = [run for run in find_runs(settings) if name_day(run.info.run_name) == SUNDAY.isoformat()]
    assert run.info.status == "FINISHED"
    assert run.data.params["as_of"] == SUNDAY.isoformat()
    assert run.data.params["relevance.n_estimators"] == "60"
    challenger = first.report.evaluation["models"]["challenger"]
    assert run.data.metrics["challenger.ndcg_at_10"] == pytest.approx(challenger["ndcg_at_10"])
    assert run.data.metrics["gate_promote"] == 1.0
    for step in steps.STEPS[:-1]:
        used = {name: run.data.metrics[f"step.{step}.{name}"] for name in ("seconds", "cpu_seconds", "peak_mib")}
        assert used == first.report.usage[step]
        assert used["peak_mib"] > 50
    assert run.data.tags["gate.reason"] == first.report.decision["reason"]
    (dataset,) = run.inputs.dataset_inputs
    assert json.loads(dataset.dataset.source)["sha256"] == first.report.evaluation["snapshot"]
    registry = open_registry(settings)
    assert registry.read_artifact(run.info.run_id, "gate/differences.png").startswith(b"\x89PNG")
    stored = json.loads(registry.read_artifact(run.info.run_id, "gate/decision.json"))
    assert stored == first.report.decision
    (version,) = MlflowClient(tracking_uri=settings.mlflow_tracking_uri).search_model_versions(
        f"name = '{settings.model_name}' and run_id = '{run.info.run_id}'"
    )
    assert version.tags["decision.outcome"] == "beats_popularity"


def test_the_version_answers(story: Story, tmp_path: Any) -> None:
    model = Recommender.load(open_registry(story.settings).download(1, tmp_path))
    watched = model.catalog.item_ids[:3]
    answer = model.recommend(UserProfile(watched, np.array([9.0, 8.0, 3.0], dtype=np.float32), {}))
    assert len(set(answer.item_ids)) == 10
    assert not set(answer.item_ids) & set(watched)


def test_again_changes_nothing_even_if_the_tables_have_changed(story: Story) -> None:
    assert story["again"].traces == story["first"].traces
    assert story["again"].report == story["first"].report


def test_another_preset_has_a_key_of_its_own(story: Story) -> None:
    original, before = story["original"], story["again"].traces
    run_key = f"{SUNDAY.isoformat()}-original"
    assert name_day(original.report.run_key) == run_key
    assert original.report.evaluation["champion_version"] == 1
    assert original.report.evaluation["challenger_version"] == 2
    assert original.report.decision["reference"] == "champion"
    assert finished_steps(original.traces, run_key) == set(steps.STEPS)
    assert original.traces.aliases == before.aliases
    assert original.traces.ledger[:-1] == before.ledger
    assert original.traces.ledger[-1][:2] == (run_key, "keep")
    assert before.manifests.items() <= original.traces.manifests.items()


def test_the_next_week_is_evaluated_against_the_champion_on_the_same_users(
    story: Story, context_of: OpenContext, tmp_path: Any
) -> None:
    second = story["second"].report
    first = story["first"].report
    assert (second.evaluation["champion_version"], second.evaluation["challenger_version"]) == (1, 3)
    assert second.evaluation["n_training_users"] > first.evaluation["n_training_users"]
    assert second.evaluation["n_test_users"] >= first.evaluation["n_test_users"]
    with context_of(SUNDAY + WEEK) as context:
        table = pd.read_parquet(fetch(shrink(context, 60), "evaluate", tmp_path) / "per_user.parquet")
    users = table.groupby("model")["user_id"].apply(tuple)
    assert users["challenger"] == users["champion"]
    assert len(users["champion"]) == second.evaluation["n_test_users"]
    pair = table.pivot(index="user_id", columns="model", values="ndcg_at_10")
    difference = second.decision["criteria"][0]["difference"]
    assert difference["mean"] == pytest.approx((pair["challenger"] - pair["champion"]).mean())
    assert difference["n"] == pair["challenger"].notna().sum()


def test_ledger_and_alias_follow_the_verdict_of_the_next_week(story: Story) -> None:
    before, after = story["original"].traces, story["second"].traces
    action = story["second"].report.action
    assert [(key, act) for key, act, *_ in after.ledger] == [
        (SUNDAY.isoformat(), "promote"),
        (f"{SUNDAY.isoformat()}-original", "keep"),
        ((SUNDAY + WEEK).isoformat(), action),
    ]
    moved = {"production": 3, "previous": 1}
    assert after.aliases == (moved if action == "promote" else before.aliases)


def test_what_the_gate_did_not_say_is_refused(story: Story, context_of: OpenContext) -> None:
    before = read_traces(story.settings)
    with context_of(preset="original") as found:
        context = shrink(found, 3)
        said = story["original"].report.decision["action"]
        assert said == "keep", "three trees do not beat sixty"
        with pytest.raises(RetrainError, match=r"the gate of .*-original-.* says keep, not promote: "):
            steps.promote(context)
    with context_of() as found, pytest.raises(RetrainError, match=r"says promote, not keep: "):
        steps.keep(shrink(found, 60))
    assert read_traces(story.settings) == before


def test_a_decision_against_a_champion_of_yesterday_is_made_again(
    open_world: Callable[[], Settings], undisturbed: Settings
) -> None:
    settings = open_world()
    copy_text_vectors(undisturbed, settings)
    with open_context(SUNDAY, settings=settings) as context:
        small = shrink(context, 20)
        for step in steps.STEPS:
            getattr(steps, step)(small)
        by_hand = {"run_key": "by hand", "champion": None, "actor": "user:me", "reason": "I like it"}
        promotion.promote(context.engine, context.registry, 1, **by_hand)  # type: ignore[arg-type]
        with pytest.raises(StaleChampionError, match="version 1 is in Production by now"):
            steps.promote(small)
        report = retrain(small)
        # Against itself: no difference at all, and no second version of the same bytes.
        assert (report.evaluation["champion_version"], report.evaluation["challenger_version"]) == (1, 1)
        assert report.decision["criteria"][0]["difference"]["mean"] == 0
        assert (report.action, report.decision["outcome"]) == ("keep", "already_in_production")
        assert report.decision["reason"] == "version 1 is already in Production"
        assert read_traces(settings).aliases == {"production": 1, "previous": None}
        assert [version for version, *_ in read_traces(settings).versions] == [1]
        # A version put back by hand stays, however often the week is run again.
        known = promotion.read_ledger(context.engine)
        assert retrain(small).decision == report.decision
        assert promotion.read_ledger(context.engine) == known


@pytest.mark.parametrize(
    ("step", "missing"),
    [
        ("embed_text", "snapshot"),
        ("fit_retrieval", "snapshot"),
        ("train_ranker", "embed_text"),
        ("evaluate", "train_ranker"),
        ("gate", "evaluate"),
        ("promote", "evaluate"),
        ("keep", "evaluate"),
    ],
)
def test_a_step_out_of_order_says_what_to_run_first(step: str, missing: str, context_of: OpenContext) -> None:
    day = date(2026, 3, 1)
    command = f"`python -m retrain_model {missing} --as-of 2026-03-01 --preset original`"
    with context_of(day, "original") as context, pytest.raises(RetrainError) as caught:
        getattr(steps, step)(context)
    assert command in str(caught.value)


def test_threads_of_the_run_come_before_those_of_the_settings(settings: Settings) -> None:
    many = settings.model_copy(update={"train_threads": 3})
    with open_context(SUNDAY, settings=many) as context:
        assert context.n_threads == context.inputs["n_threads"] == 3
    with open_context(SUNDAY, settings=many, n_threads=1) as context:
        assert context.n_threads == 1


def test_a_preset_that_does_not_exist_is_named(settings: Settings) -> None:
    with (
        pytest.raises(ConfigurationError, match="'fast' is unknown; choose one of default, original"),
        open_context(SUNDAY, "fast", settings=settings),
    ):
        pass
