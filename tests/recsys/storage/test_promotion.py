import itertools
import json
import signal
import textwrap
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from recsys.exceptions import (
    MissingProductionVersionError,
    NoProductionModelError,
    RetrainError,
    StaleChampionError,
    UnknownVersionError,
    compute_exit_code,
)
from recsys.gate.decision import Decision
from recsys.gate.gate import PromotionGate
from recsys.gate.scorecard import Scorecard
from recsys.storage import promotion
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.registry import CHALLENGER, PREVIOUS, PRODUCTION, Registry
from tests.fork_server import run_program

pytestmark = pytest.mark.local


@pytest.fixture
def registry(mlflow_uri: str, store: ArtifactStore, tmp_path: Path) -> Registry:
    """A registry with the versions 1, 2 and 3."""
    registry = Registry(mlflow_uri, f"anime-{uuid.uuid4().hex[:8]}", store)
    (tmp_path / "saved").mkdir()
    for number in range(1, 4):
        (tmp_path / "saved" / "model.json").write_text(f'{{"number": {number}}}')
        registry.register_model(registry.start_run(f"week-{number}"), tmp_path / "saved", f"week-{number}")
    return registry


def decide(lift: float) -> Decision:
    rng = np.random.default_rng(0)
    champion = rng.uniform(0.1, 0.5, 200)
    challenger = champion + lift + rng.normal(0, 0.01, 200)
    return PromotionGate().decide(Scorecard(np.arange(200), challenger), Scorecard(np.arange(200), champion))


def record(
    engine: Engine, registry: Registry, lift: float, challenger: int, champion: int | None
) -> promotion.LedgerEntry:
    return promotion.record_decision(
        engine, registry, decide(lift), run_key=f"week-{challenger}", challenger=challenger, champion=champion
    )


def aliases(registry: Registry) -> tuple[int | None, int | None]:
    return registry.alias_version(PREVIOUS), registry.alias_version(PRODUCTION)


def test_promotions_and_keeps_are_written_down_and_followed(engine: Engine, registry: Registry) -> None:
    record(engine, registry, 0.1, 1, None)
    assert aliases(registry) == (None, 1)
    record(engine, registry, -0.1, 2, 1)
    assert aliases(registry) == (None, 1)
    entry = record(engine, registry, 0.1, 3, 1)
    assert aliases(registry) == (1, 3)
    ledger = promotion.read_ledger(engine)
    assert [(line.action, line.challenger_version, line.champion_version) for line in ledger] == [
        ("promote", 1, None),
        ("keep", 2, 1),
        ("promote", 3, 1),
    ]
    assert ledger[-1] == entry
    assert Decision.from_dict(entry.evidence) == decide(0.1)


def test_a_version_says_what_was_decided_about_it(engine: Engine, registry: Registry) -> None:
    record(engine, registry, 0.1, 1, None)
    found = registry.read_version(1)
    assert found.description == decide(0.1).reason
    assert found.tags["decision.action"] == "promote"
    assert found.tags["decision.outcome"] == "better"
    assert float(found.tags["decision.gate_ndcg_at_10_lift"]) == pytest.approx(0.1, abs=0.01)


def test_the_same_decision_again_changes_nothing(engine: Engine, registry: Registry) -> None:
    first = record(engine, registry, 0.1, 1, None)
    assert record(engine, registry, 0.1, 1, None) == first
    # A rerun that came to another verdict finds the first one.
    assert record(engine, registry, -0.1, 1, None) == first
    assert len(promotion.read_ledger(engine)) == 1
    assert aliases(registry) == (None, 1)


def test_a_decision_against_a_former_champion_is_refused(engine: Engine, registry: Registry) -> None:
    record(engine, registry, 0.1, 1, None)
    record(engine, registry, 0.1, 2, 1)
    with pytest.raises(StaleChampionError, match="version 2 is in Production"):
        record(engine, registry, 0.1, 3, 1)
    assert len(promotion.read_ledger(engine)) == 2


def test_a_user_promotes_and_rolls_back_with_a_reason(engine: Engine, registry: Registry) -> None:
    record(engine, registry, 0.1, 1, None)
    promotion.promote(
        engine, registry, 2, run_key="manual-1", champion=1, actor="user:mai", reason="wanted", evidence={"ticket": 7}
    )
    assert aliases(registry) == (1, 2)
    for _ in range(2):  # the same rollback twice is one rollback
        back = promotion.roll_back(engine, registry, run_key="manual-2", actor="user:mai", reason="bad lists")
        assert (back.challenger_version, back.champion_version) == (1, 2)
        assert aliases(registry) == (2, 1)
    promotion.roll_back(engine, registry, run_key="manual-3", actor="user:mai", reason="it was not the model")
    assert aliases(registry) == (1, 2)
    actions = [(line.action, line.actor, line.reason) for line in promotion.read_ledger(engine)]
    assert actions[1:3] == [("promote", "user:mai", "wanted"), ("rollback", "user:mai", "bad lists")]
    assert registry.read_version(2).description == (
        "promote by user:mai: wanted\n\nrollback by user:mai: it was not the model"
    )


def test_a_decision_by_hand_adds_to_the_evidence_of_the_gate(engine: Engine, registry: Registry) -> None:
    record(engine, registry, 0.1, 1, None)
    record(engine, registry, 0.1, 2, 1)
    promotion.roll_back(engine, registry, run_key="manual-1", actor="user:mai", reason="bad lists")
    found = registry.read_version(1)
    assert found.description == f"{decide(0.1).reason}\n\nrollback by user:mai: bad lists"
    assert (found.tags["decision.action"], found.tags["decision.outcome"]) == ("rollback", "better")


def test_a_repeated_old_decision_leaves_newer_notes_alone(engine: Engine, registry: Registry) -> None:
    record(engine, registry, 0.1, 1, None)
    record(engine, registry, 0.1, 2, 1)
    promotion.roll_back(engine, registry, run_key="manual-1", actor="user:mai", reason="bad lists")
    before = registry.read_version(1)
    record(engine, registry, 0.1, 1, None)
    assert registry.read_version(1) == before


def delete(registry: Registry, version: int) -> None:
    """Delete a version as a user of MLflow's page does: its aliases go with it."""
    MlflowClient(registry.tracking_uri, registry.tracking_uri).delete_model_version(registry.model_name, str(version))


def test_a_deleted_previous_version_blocks_nothing(
    engine: Engine, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    record(engine, registry, 0.1, 1, None)
    record(engine, registry, 0.1, 2, 1)
    delete(registry, 1)
    assert promotion.reconcile(engine, registry) == 2
    assert "version 1 was in Production before, but was deleted" in caplog.text
    assert aliases(registry) == (None, 2)
    with pytest.raises(UnknownVersionError, match=r"version 1.* was deleted .*otaku models promote VERSION") as caught:
        promotion.roll_back(engine, registry, run_key="m", actor="user:mai", reason="bad lists")
    assert compute_exit_code(caught.value) == 1
    assert len(promotion.read_ledger(engine)) == 2
    record(engine, registry, 0.1, 3, 2)
    assert aliases(registry) == (2, 3)
    # The old decision again: it stays in the ledger alone.
    record(engine, registry, 0.1, 1, None)
    assert aliases(registry) == (2, 3)


@pytest.mark.parametrize("way_out", ["promote", "rollback"])
def test_a_deleted_production_version_is_a_permanent_error_with_two_ways_out(
    way_out: str, engine: Engine, registry: Registry
) -> None:
    record(engine, registry, 0.1, 1, None)
    record(engine, registry, 0.1, 2, 1)
    delete(registry, 2)
    with pytest.raises(MissingProductionVersionError, match="version 2 is in Production by the ledger, but was"):
        promotion.reconcile(engine, registry)
    by_hand = {"run_key": "manual-1", "actor": "user:mai", "reason": "it is gone"}
    if way_out == "promote":
        champion = promotion.read_production_version(engine, registry)
        promotion.promote(engine, registry, 3, champion=champion, **by_hand)  # type: ignore[arg-type]
    else:
        promotion.roll_back(engine, registry, **by_hand)
    assert aliases(registry) == (None, 3 if way_out == "promote" else 1)


def test_a_deleted_challenger_is_not_promoted(engine: Engine, registry: Registry) -> None:
    delete(registry, 1)
    with pytest.raises(UnknownVersionError, match="no version 1"):
        record(engine, registry, 0.1, 1, None)
    assert promotion.read_ledger(engine) == []


def test_a_version_is_not_promoted_over_itself(engine: Engine, registry: Registry) -> None:
    record(engine, registry, 0.1, 1, None)
    promotion.promote(engine, registry, 2, run_key="m", champion=1, actor="user:mai", reason="after a dry run")
    with pytest.raises(RetrainError, match="version 2 is in Production already"):
        record(engine, registry, 0.1, 2, 2)
    assert aliases(registry) == (1, 2)


def test_the_alias_challenger_ends_with_the_next_promotion(engine: Engine, registry: Registry) -> None:
    record(engine, registry, 0.1, 1, None)
    registry.point_alias(CHALLENGER, 2)
    promotion.reconcile(engine, registry)
    assert registry.alias_version(CHALLENGER) == 2
    record(engine, registry, 0.1, 3, 1)
    assert registry.alias_version(CHALLENGER) is None


def test_senseless_moves_are_refused(engine: Engine, registry: Registry) -> None:
    with pytest.raises(NoProductionModelError, match="nothing to roll back to"):
        promotion.roll_back(engine, registry, run_key="m", actor="user:mai", reason="why not")
    record(engine, registry, 0.1, 1, None)
    with pytest.raises(NoProductionModelError, match="nothing to roll back to"):
        promotion.roll_back(engine, registry, run_key="m", actor="user:mai", reason="why not")
    with pytest.raises(UnknownVersionError, match="no version 9"):
        promotion.promote(engine, registry, 9, run_key="m", champion=1, actor="user:mai", reason="typo")
    with pytest.raises(RetrainError, match="already"):
        promotion.promote(engine, registry, 1, run_key="m", champion=1, actor="user:mai", reason="again")
    assert len(promotion.read_ledger(engine)) == 1


def test_an_alias_from_before_the_ledger_is_respected(engine: Engine, registry: Registry) -> None:
    registry.point_alias(PRODUCTION, 1)
    assert promotion.reconcile(engine, registry) == 1
    with pytest.raises(StaleChampionError, match="version 1 is in Production"):
        record(engine, registry, 0.1, 2, None)
    record(engine, registry, 0.1, 2, 1)
    assert aliases(registry) == (1, 2)


def test_an_alias_moved_by_hand_is_put_back(engine: Engine, registry: Registry) -> None:
    record(engine, registry, 0.1, 1, None)
    registry.point_alias(PRODUCTION, 3)
    registry.point_alias(PREVIOUS, 2)
    assert promotion.reconcile(engine, registry) == 1
    assert aliases(registry) == (None, 1)


CRASH = """
import json, os, signal, sys
import numpy as np
from recsys.gate.decision import Decision
from recsys.storage import promotion
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.database import create_database_engine
from recsys.storage.registry import Registry

url, tracking, name, point, decision = sys.argv[1:]
registry = Registry(tracking, name, ArtifactStore("nowhere", "http://127.0.0.1:9"))

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def dying(original, at):
    calls = iter(range(99))
    return lambda *a, **k: die() if next(calls) == at else original(*a, **k)

if point == "before the aliases":
    Registry.point_alias = die
elif point == "between the aliases":
    Registry.point_alias = dying(Registry.point_alias, 1)
elif point == "before the notes":
    Registry.annotate = die
elif point == "before the commit":
    add_entry = promotion.add_entry
    promotion.add_entry = lambda *a: (add_entry(*a), die())
promotion.record_decision(
    create_database_engine(url), registry, Decision.from_dict(json.loads(decision)),
    run_key="week-2", challenger=2, champion=1,
)
"""


@pytest.mark.parametrize(
    ("point", "repair"),
    [
        ("before the commit", "rerun"),
        ("before the aliases", "rerun"),
        ("before the aliases", "reconcile"),
        ("between the aliases", "reconcile"),
        ("before the notes", "rerun"),
    ],
)
def test_a_kill_between_ledger_and_alias_is_completed(
    point: str, repair: str, engine: Engine, registry: Registry, database_url: str
) -> None:
    record(engine, registry, 0.1, 1, None)
    decision = json.dumps(decide(0.1).to_dict())
    arguments = [database_url, registry.tracking_uri, registry.model_name, point, decision]
    killed = run_program(["-c", textwrap.dedent(CRASH), *arguments])
    assert killed.returncode == -signal.SIGKILL
    committed = point != "before the commit"
    assert len(promotion.read_ledger(engine)) == (2 if committed else 1)
    if repair == "reconcile":
        assert promotion.reconcile(engine, registry) == (2 if committed else 1)
        assert aliases(registry) == ((1, 2) if committed else (None, 1))
    record(engine, registry, 0.1, 2, 1)
    assert aliases(registry) == (1, 2)
    assert len(promotion.read_ledger(engine)) == 2
    assert registry.read_version(2).tags["decision.action"] == "promote"


@pytest.mark.slow
def test_many_promoters_at_once_leave_one_linear_history(engine: Engine, registry: Registry) -> None:
    n_promoters = 20

    def insist(number: int) -> None:
        """Promote a version that is not in Production until nobody is faster."""
        while True:
            champion = promotion.reconcile(engine, registry)
            version = 1 + (champion or 0) % 3
            try:
                promotion.promote(
                    engine,
                    registry,
                    version,
                    run_key=f"p-{number}",
                    champion=champion,
                    actor="user:mai",
                    reason="race",
                )
            except StaleChampionError:
                continue
            return

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(insist, range(n_promoters)))
    ledger = promotion.read_ledger(engine)
    assert len(ledger) == n_promoters
    assert ledger[0].champion_version is None
    for before, after in itertools.pairwise(ledger):
        assert after.champion_version == before.challenger_version
    assert aliases(registry) == (ledger[-1].champion_version, ledger[-1].challenger_version)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE otaku.decisions SET reason = 'never said'",
        "DELETE FROM otaku.decisions",
        "TRUNCATE otaku.decisions",
        "INSERT INTO otaku.decisions SELECT * FROM otaku.decisions ON CONFLICT (run_key) DO UPDATE SET actor = 'me'",
        "SET LOCAL session_replication_role = replica; DELETE FROM otaku.decisions",
    ],
)
def test_the_ledger_takes_nothing_back(statement: str, engine: Engine) -> None:
    line = (
        "INSERT INTO otaku.decisions (run_key, action, actor, reason, evidence) VALUES ('a', 'keep', 'gate', 'r', '{}')"
    )
    with engine.begin() as connection:
        connection.execute(text(line))
    with pytest.raises(ProgrammingError, match="append-only"), engine.begin() as connection:
        connection.execute(text(statement))
    assert [(line.run_key, line.reason, line.actor) for line in promotion.read_ledger(engine)] == [("a", "r", "gate")]


def test_a_verdict_is_about_its_version_and_no_other(engine: Engine, registry: Registry) -> None:
    record(engine, registry, 0.1, 1, None)
    with pytest.raises(RetrainError, match="'week-1' was decided about version 1, not about version 2"):
        promotion.record_decision(engine, registry, decide(0.1), run_key="week-1", challenger=2, champion=1)
    assert aliases(registry) == (None, 1)


def test_two_models_of_one_database_have_ledgers_of_their_own(
    engine: Engine, registry: Registry, mlflow_uri: str, store: ArtifactStore, tmp_path: Path
) -> None:
    record(engine, registry, 0.1, 1, None)
    other = Registry(mlflow_uri, f"manga-{uuid.uuid4().hex[:8]}", store)
    version = other.register_model(other.start_run("manga-week"), tmp_path / "saved", "manga-week")
    promotion.record_decision(engine, other, decide(0.1), run_key="manga-week", challenger=version, champion=None)
    assert promotion.read_production_version(engine, other) == promotion.read_production_version(engine, registry) == 1
    with pytest.raises(NoProductionModelError):
        promotion.roll_back(engine, other, run_key="m", actor="user:mai", reason="nothing before")
    assert [line.run_key for line in promotion.read_ledger(engine, registry.model_name)] == ["week-1"]
    assert [line.model_name for line in promotion.read_ledger(engine)] == [registry.model_name, other.model_name]
