import json
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from recsys.exceptions import ArtifactError, DataContractError, RetrainError, UnknownVersionError
from recsys.storage import promotion, retention
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.registry import PREVIOUS, PRODUCTION, Registry
from tests.recsys.storage.test_promotion import decide

pytestmark = pytest.mark.local


@pytest.fixture
def registry(mlflow_uri: str, store: ArtifactStore) -> Registry:
    return Registry(mlflow_uri, f"anime-{uuid.uuid4().hex[:8]}", store)


def live(
    engine: Engine, registry: Registry, store: ArtifactStore, folder: Path, lifts: list[float | None]
) -> dict[int, str]:
    """Live weeks, each with a version: promoted, kept or, with None, not decided; return their run keys."""
    run_keys = {}
    folder.mkdir()
    for number, lift in enumerate(lifts, start=1):
        run_key = f"2026-03-{number:02d}"
        (folder / "model.json").write_text(str(number))
        champion = registry.production_version()
        version = registry.register_model(registry.start_run(run_key), folder, run_key)
        store.write_bytes(f"retrain/{run_key}/train_ranker/manifest.json", b"{}")
        evaluation = json.dumps({"champion_version": champion, "challenger_version": version})
        store.write_bytes(f"retrain/{run_key}/evaluate/evaluation.json", evaluation.encode())
        if lift is not None:
            promotion.record_decision(
                engine, registry, decide(lift), run_key=run_key, challenger=version, champion=champion
            )
        run_keys[version] = run_key
    return run_keys


def test_only_what_nobody_can_need_goes(
    engine: Engine, registry: Registry, store: ArtifactStore, tmp_path: Path
) -> None:
    better, worse = 0.1, -0.1
    live(engine, registry, store, tmp_path / "m", [better, worse, better, worse, better, worse, better, worse])
    assert (registry.alias_version(PREVIOUS), registry.alias_version(PRODUCTION)) == (5, 7)
    plan = retention.plan_pruning(engine, registry, store, keep=0)
    # 3 was the champion of the last move but one; 8 is the highest number.
    assert plan.versions == (1, 2, 4, 6)
    assert plan.prefixes == tuple(f"retrain/2026-03-0{number}/" for number in (1, 2, 4, 6))
    assert plan.kept[7] == "carries the alias production"
    assert plan.kept[5] == "carries the alias previous"
    assert "last two moves" in plan.kept[3]
    assert "highest" in plan.kept[8]
    assert retention.plan_pruning(engine, registry, store, keep=4).versions == (1, 2, 4)
    assert retention.plan_pruning(engine, registry, store, keep=99).versions == ()
    assert len(registry.list_versions()) == 8  # a plan deletes nothing

    seen: list[tuple[int, int]] = []
    assert retention.prune(engine, registry, store, keep=0, on_progress=lambda *at: seen.append(at)) == plan
    assert seen == [(done, 8) for done in range(1, 9)]
    assert [found.version for found in registry.list_versions()] == [8, 7, 5, 3]
    assert {key.split("/")[1] for key in store.list_keys("retrain/")} == {f"2026-03-0{n}" for n in (3, 5, 7, 8)}
    for version in (3, 5, 7, 8):
        assert registry.download(version, tmp_path / "back").is_dir()
    with pytest.raises(UnknownVersionError):
        registry.read_version(4)
    assert len(promotion.read_ledger(engine)) == 8
    assert retention.prune(engine, registry, store, keep=0).versions == ()
    promotion.roll_back(engine, registry, run_key="manual-1", actor="user:mai", reason="still possible")
    assert registry.production_version() == 5


def test_versions_under_comparison_stay(
    engine: Engine, registry: Registry, store: ArtifactStore, tmp_path: Path
) -> None:
    live(engine, registry, store, tmp_path / "m", [0.1, None, 0.1, 0.1, 0.1, -0.1])
    plan = retention.plan_pruning(engine, registry, store, keep=0)
    assert plan.kept[2] == "its run 2026-03-02 is not decided yet"
    assert plan.kept[1] == "run 2026-03-02 compares with it"
    assert plan.versions == ()
    # Once it is decided, nothing holds its champion any more.
    with engine.begin():
        promotion.record_decision(engine, registry, decide(-0.1), run_key="2026-03-02", challenger=2, champion=5)
    assert retention.plan_pruning(engine, registry, store, keep=0).versions == (1, 2)


def test_a_number_is_never_given_out_twice(
    engine: Engine, registry: Registry, store: ArtifactStore, tmp_path: Path
) -> None:
    live(engine, registry, store, tmp_path / "m", [0.1, 0.1, 0.1, -0.1, -0.1])
    retention.prune(engine, registry, store, keep=0)
    (tmp_path / "m" / "model.json").write_text("new")
    assert registry.register_model(registry.start_run("new"), tmp_path / "m", "new") == 6


def test_a_version_with_an_alias_cannot_be_deleted(
    engine: Engine, registry: Registry, store: ArtifactStore, tmp_path: Path
) -> None:
    live(engine, registry, store, tmp_path / "m", [0.1, 0.1])
    for version in (1, 2):
        with pytest.raises(RetrainError, match="carries an alias"):
            registry.delete_version(version)
        assert registry.download(version, tmp_path / "back").is_dir()


def test_a_killed_pruning_is_completed_by_the_next(
    engine: Engine, registry: Registry, store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(engine, registry, store, tmp_path / "m", [-0.1, 0.1, 0.1, 0.1, -0.1])

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(registry._client, "delete_model_version", die)
        with pytest.raises(Killed):
            retention.prune(engine, registry, store, keep=0)
    assert registry.list_versions()[-1].version == 1
    with pytest.raises(ArtifactError):  # half gone, and not to be loaded by accident
        registry.download(1, tmp_path / "back")
    assert retention.prune(engine, registry, store, keep=0).versions == (1,)
    assert [found.version for found in registry.list_versions()] == [5, 4, 3, 2]


def test_a_negative_number_is_refused(engine: Engine, registry: Registry, store: ArtifactStore) -> None:
    with pytest.raises(DataContractError, match="-1"):
        retention.plan_pruning(engine, registry, store, keep=-1)


def test_an_empty_registry_has_nothing_to_lose(engine: Engine, registry: Registry, store: ArtifactStore) -> None:
    plan = retention.prune(engine, registry, store, keep=0)
    assert (plan.versions, plan.prefixes, plan.kept) == ((), (), {})


def test_a_dry_run_in_progress_stays(engine: Engine, registry: Registry, store: ArtifactStore) -> None:
    store.write_bytes("dry-run/2026-01-11-abc/snapshot/snapshot.json", b"{}")
    store.write_bytes("dry-run/drift/2026-01-11/report.json", b"{}")
    at = max(stored.written_at for stored in store.list_objects("dry-run/"))

    def plan(age: timedelta) -> tuple[str, ...]:
        return retention.plan_pruning(engine, registry, store, keep=0, now=at + age).prefixes

    assert plan(timedelta(hours=23)) == ()
    assert plan(timedelta(hours=25)) == ("dry-run/2026-01-11-abc/", "dry-run/drift/")
