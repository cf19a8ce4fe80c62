"""Every commit point × SIGTERM and SIGKILL × first run and during recovery: one effect, and the same digests."""

import itertools
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from recsys.connections import open_engine, open_registry
from recsys.evaluation import evaluate as evaluate_module
from recsys.exceptions import ServiceUnavailableError
from recsys.settings import Settings
from recsys.storage import promotion
from recsys.storage.approvals import list_waiting
from recsys.storage.artifacts import MANIFEST
from recsys.storage.consistency import find_inconsistencies
from recsys.storage.registry import PREVIOUS
from retrain_model import steps
from retrain_model.context import APPROVAL_POINT, COMMIT_POINTS, RetrainContext
from retrain_model.job import open_context
from retrain_model.steps import decision, evaluation
from tests.recsys.storage.test_promotion_faults import injecting_faults
from tests.retrain_model.conftest import SUNDAY, OpenWorld
from tests.retrain_model.forks import Jobs
from tests.retrain_model.worlds import Traces, find_prefix, fitted_files, read_traces

pytestmark = [pytest.mark.local, pytest.mark.slow, pytest.mark.timeout(3000)]
RUN_KEY = SUNDAY.isoformat()
SIGNALS = (signal.SIGTERM, signal.SIGKILL)


@dataclass(frozen=True)
class Reference:
    """An undisturbed retraining."""

    settings: Settings
    traces: Traces
    reached: list[str]


@pytest.fixture(scope="module")
def reference(jobs: Jobs, open_evaluated: OpenWorld) -> Reference:
    settings = open_evaluated()
    code, reached = jobs.retrain(settings, SUNDAY)
    assert code == 0
    return Reference(settings, read_traces(settings), reached)


def assert_one_effect(settings: Settings, reference: Reference) -> None:
    found, expected = read_traces(settings), reference.traces
    assert found.ledger == expected.ledger
    assert found.aliases == expected.aliases == {"production": 2, "previous": 1}
    assert found.versions == expected.versions
    assert found.runs == expected.runs
    assert found.manifests.keys() == expected.manifests.keys()
    assert fitted_files(found, RUN_KEY) == fitted_files(expected, RUN_KEY)


def test_the_named_commit_points_are_those_that_a_run_makes(reference: Reference) -> None:
    assert tuple(reference.reached) == COMMIT_POINTS
    ((_, action, _, challenger, champion),) = [line for line in reference.traces.ledger if line[0] == RUN_KEY]
    assert (action, challenger, champion) == ("promote", 2, 1)


@pytest.mark.e2e
@pytest.mark.parametrize("sign", SIGNALS, ids=["SIGTERM", "SIGKILL"])
def test_killed_after_every_commit_point_of_its_own_recovery(
    sign: int, jobs: Jobs, open_evaluated: OpenWorld, reference: Reference
) -> None:
    settings = open_evaluated()
    for point in COMMIT_POINTS:
        jobs.kill(settings, SUNDAY, point, sign)
    assert jobs.retrain(settings, SUNDAY)[0] == 0
    assert_one_effect(settings, reference)


# Every sixth point with one signal in turn in `make test`, each with both in `make e2e`.
IN_TURN = list(zip(COMMIT_POINTS[::6], itertools.cycle(SIGNALS), strict=False))
ALL = list(itertools.product(COMMIT_POINTS, SIGNALS))


@pytest.mark.parametrize(
    "cases", [pytest.param(IN_TURN, id="in turn"), pytest.param(ALL, id="all", marks=pytest.mark.e2e)]
)
def test_killed_after_any_commit_point_of_its_first_run(
    cases: list[tuple[str, int]], jobs: Jobs, open_evaluated: OpenWorld, reference: Reference
) -> None:
    def try_case(case: tuple[str, int]) -> None:
        settings = open_evaluated()
        jobs.kill(settings, SUNDAY, *case)
        assert jobs.retrain(settings, SUNDAY)[0] == 0, case
        assert_one_effect(settings, reference)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(try_case, cases))


def test_killed_after_every_commit_point_of_an_approval(
    jobs: Jobs, open_evaluated: OpenWorld, reference: Reference
) -> None:
    """Whoever dies, asking or answering: one request, one answer, and the aliases where a retraining puts them."""
    settings = open_evaluated()
    jobs.kill(settings, SUNDAY, APPROVAL_POINT, signal.SIGKILL, approval="always")
    assert jobs.retrain(settings, SUNDAY, approval="always")[0] == 0
    waiting = read_traces(settings)
    assert waiting.ledger == reference.traces.ledger[:1]
    assert waiting.aliases == {"production": 1, "previous": None}
    with open_engine(settings) as engine:
        (request,) = list_waiting(engine, settings.model_name)
    assert (request.challenger_version, request.champion_version) == (2, 1)
    for word in ("interval", "slice", "guardrail", "history of up to 20", "new arrivals", "/#/models/"):
        assert word in request.body
    for point in COMMIT_POINTS[COMMIT_POINTS.index("decision written") :]:
        jobs.kill(settings, SUNDAY, point, signal.SIGKILL, answer=True)
    assert jobs.retrain(settings, SUNDAY, answer=True)[0] == 0
    assert jobs.retrain(settings, SUNDAY, approval="always")[0] == 0
    found = read_traces(settings)
    assert [entry[:2] + entry[3:] for entry in found.ledger] == [
        entry[:2] + entry[3:] for entry in reference.traces.ledger
    ]
    assert found.ledger[-1][2].startswith("approved: as a test wants it; the gate: ")
    assert found.aliases == reference.traces.aliases
    with open_engine(settings) as engine:
        assert list_waiting(engine, settings.model_name) == []
        assert find_inconsistencies(engine, open_registry(settings)) == []


def copy_fitted(context: RetrainContext, source: str) -> None:
    """Give a run the outputs of the fitting half of another."""
    for step in ("snapshot", "embed_text", "fit_retrieval", "train_ranker"):
        for key in context.store.list_keys(f"retrain/{source}/{step}/"):
            if step in ("snapshot", "train_ranker") or key.endswith(MANIFEST):
                target = key.replace(source, context.run_key, 1)
                context.store.write_bytes(target, context.store.read_bytes(key))


def compute_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute what is pure only once: the test is about calls to services."""
    owners = {"evaluate_recommender": evaluation, "evaluate_generator": evaluation, "build_evidence": decision}
    for name, owner in owners.items():
        original, known = getattr(owner, name), dict[str, Any]()

        def compute(*args: Any, original: Any = original, known: dict[str, Any] = known, **kwargs: Any) -> Any:
            first = args[0] if isinstance(args[0], str) else getattr(args[0], "name", "evidence")
            if first not in known:
                known[first] = original(*args, **kwargs)
            return known[first]

        monkeypatch.setattr(owner, name, compute)


# Every 61st call in `make test`, each one in `make e2e`.
@pytest.mark.parametrize(
    ("for_ever", "stride"),
    [
        pytest.param(False, 61, id="a sample once"),
        pytest.param(False, 1, id="each once", marks=pytest.mark.e2e),
        pytest.param(True, 1, id="each for ever", marks=pytest.mark.e2e),
    ],
)
@pytest.mark.usefixtures("without_figures")
def test_every_call_of_the_evaluation_half_may_fail(
    for_ever: bool,
    stride: int,
    jobs: Jobs,
    open_evaluated: OpenWorld,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = open_evaluated()
    jobs.kill(settings, SUNDAY, "train_ranker published", signal.SIGKILL)
    compute_once(monkeypatch)
    monkeypatch.setattr(evaluate_module, "measure_scoring_ms", lambda *_: 1.0)
    with open_context(SUNDAY, settings=settings) as first, injecting_faults(first.engine, monkeypatch) as faults:
        n_calls, point, before = 10**6, 0, 1
        while point <= n_calls:
            # The first round fails nothing and counts the calls.
            context = replace(first, as_of=SUNDAY + timedelta(days=1 + point))
            copy_fitted(context, find_prefix(settings, SUNDAY).rpartition("/")[2])
            faults.arm(point, for_ever=for_ever)
            with suppress(ServiceUnavailableError):
                evaluate_and_promote(context)
            n_calls = n_calls if point else faults.n_calls
            faults.arm(0, for_ever=False)
            after = evaluate_and_promote(context)
            assert (context.registry.alias_version(PREVIOUS), context.registry.production_version()) == (before, after)
            assert [found.version for found in context.registry.list_versions(context.run_key)] == [after], point
            ledger = [line for line in promotion.read_ledger(context.engine) if line.run_key == context.run_key]
            assert [(line.challenger_version, line.champion_version) for line in ledger] == [(after, before)], point
            before, point = after, point + stride
        # A sample of the calls may miss a service; all of them miss none.
        assert len(+faults.injected) >= (3 if stride == 1 else 2)
    n_points, mode = len(range(stride, n_calls + 1, stride)), "and all later ones" if for_ever else "once"
    with capsys.disabled():
        sys.stdout.write(f"\n{n_points} of {n_calls} calls failed {mode}, {dict(faults.injected)} injected\n")


def evaluate_and_promote(context: RetrainContext) -> int:
    steps.evaluate(context)
    assert steps.gate(context)["outcome"] in ("better", "not_different")
    return int(steps.promote(context).rpartition("/")[2])
