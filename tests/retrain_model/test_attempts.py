"""The same week with other inputs is another attempt: with a run, a version and a row of the ledger of its own."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from recsys.connections import open_registry
from recsys.exceptions import RetrainError
from recsys.settings import Settings
from recsys.storage import promotion
from recsys.storage.consistency import find_inconsistencies
from retrain_model import steps
from retrain_model.context import RetrainContext
from retrain_model.job import RetrainReport, open_context, retrain
from tests.retrain_model.conftest import SUNDAY
from tests.retrain_model.test_steps import shrink
from tests.retrain_model.worlds import copy_text_vectors, find_runs, read_traces

pytestmark = [pytest.mark.local, pytest.mark.slow, pytest.mark.usefixtures("without_figures")]


def change_trees(context: RetrainContext) -> RetrainContext:
    return shrink(context, 21)


CHANGES: dict[str, Callable[[RetrainContext], RetrainContext]] = {
    "a setting of the ranker": change_trees,
    "the rating of dropped titles": lambda found: replace(found, preset=replace(found.preset, dropped_rating=3)),
    "the text model": lambda found: replace(found, text_model="another"),
    "the seed": lambda found: replace(found, seed=1),
    "the threads": lambda found: replace(found, n_threads=3),
    "the code": lambda found: replace(found, code={**found.code, "commit": "patched"}),
    "the locked packages": lambda found: replace(found, code={**found.code, "lock": "relocked"}),
}


def test_every_input_is_part_of_the_run_key(settings: Settings) -> None:
    with open_context(SUNDAY, settings=settings) as first, open_context(SUNDAY, settings=settings) as same:
        assert first.run_key == same.run_key
        keys = {name: change(first).run_key for name, change in CHANGES.items()}
        assert len({first.run_key, *keys.values()}) == len(CHANGES) + 1
        assert {key[:11] for key in (first.run_key, *keys.values())} == {f"{SUNDAY}-"}


def test_two_models_of_one_database_have_keys_of_their_own(settings: Settings) -> None:
    other = settings.model_copy(update={"model_name": "another-recommender"})
    with open_context(SUNDAY, settings=settings) as first, open_context(SUNDAY, settings=other) as second:
        assert first.run_key != second.run_key


def test_a_week_with_other_inputs_is_another_attempt(
    open_world: Callable[[], Settings], undisturbed: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = open_world()
    copy_text_vectors(undisturbed, settings)

    def attempt(revision: str, n_estimators: int) -> RetrainReport:
        monkeypatch.setenv("OTAKU_REVISION", revision)
        with open_context(SUNDAY, settings=settings) as context:
            report = retrain(shrink(context, n_estimators))
            assert find_inconsistencies(context.engine, context.registry) == []
        return report

    first, patched = attempt("before", 20), attempt("after a fix", 20)
    tuned = attempt("after a fix", 40)
    keys = [report.run_key for report in (first, patched, tuned)]
    assert len(set(keys)) == 3
    traces = read_traces(settings, exact=True)
    # What is reported is what happened, of each attempt in a row of its own.
    assert [(key, action, version) for key, action, _, version, _ in traces.ledger] == [
        (report.run_key, report.action, report.evaluation["challenger_version"]) for report in (first, patched, tuned)
    ]
    moved = [version for _, action, _, version, _ in traces.ledger if action == "promote"]
    assert traces.aliases["production"] == moved[-1]
    assert [name for name, _ in traces.runs] == keys
    runs = {run.info.run_name: run for run in find_runs(settings)}
    assert [runs[key].data.params["relevance.n_estimators"] for key in keys] == ["20", "20", "40"]
    assert [runs[key].data.tags["code.commit"] for key in keys] == ["before", "after a fix", "after a fix"]
    assert runs[keys[0]].data.tags["otaku.attempt"] == f"first attempt of {SUNDAY}"
    assert runs[keys[1]].data.tags["otaku.attempt"] == (
        f"another attempt of {SUNDAY}: code.commit is after a fix, was before in {keys[0]}"
    )

    assert attempt("before", 20) == first
    assert read_traces(settings, exact=True) == traces


def test_an_attempt_goes_on_after_a_release_and_its_recipe_names_the_code_that_trained(
    open_world: Callable[[], Settings], undisturbed: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = open_world()
    copy_text_vectors(undisturbed, settings)
    monkeypatch.setenv("OTAKU_REVISION", "trained by")
    with open_context(SUNDAY, settings=settings) as context:
        small = shrink(context, 20)
        for step in (steps.snapshot, steps.embed_text, steps.fit_retrieval, steps.train_ranker):
            step(small)
        key = small.run_key
    monkeypatch.setenv("OTAKU_REVISION", "deployed since")
    with open_context(SUNDAY, settings=settings, run_key=key) as context:
        going_on = shrink(context, 20)
        assert going_on.run_key == key
        # Begun before a release, it ends after it; what would have to be fitted anew is another attempt.
        steps.evaluate(going_on)
        with pytest.raises(RetrainError, match=r"code\.commit is deployed since, was trained by"):
            steps.train_ranker(going_on)
        decision = steps.gate(going_on)
        getattr(steps, decision["action"])(going_on)
        registry = open_registry(settings)
        found = registry.read_version(1)
        assert found.run_key == key
        recipe: dict[str, Any] = json.loads(registry.read_artifact(found.run_id, "recipe.json"))
        assert recipe["code"]["commit"] == "trained by"
        assert recipe["preset"]["relevance"]["n_estimators"] == 20
        assert find_inconsistencies(context.engine, context.registry) == []
        # Decided, and its files pruned: other data would make another model of the same name.
        context.store.delete_prefix(f"retrain/{key}/")
    monkeypatch.setenv("OTAKU_REVISION", "trained by")
    with open_context(SUNDAY, settings=settings) as context:
        again = shrink(context, 20)
        assert again.run_key == key
        with pytest.raises(RetrainError, match=rf"was decided already \({decision['action']} of version 1\)"):
            retrain(again)
        assert len(promotion.read_ledger(context.engine)) == 1
        assert [version for version, *_ in read_traces(settings, exact=True).versions] == [1]
