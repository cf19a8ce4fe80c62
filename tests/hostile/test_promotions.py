"""Moving an alias by MLflow's API alone changes nothing: the ledger says what is served."""

from pathlib import Path

import pytest

from app.main import create_app
from app.metrics import ServiceMetrics
from app.models.authority import PATIENCE, Champion
from app.models.local_cache import LocalModelCache
from app.models.production import ProductionModel
from recsys.connections import open_engine
from recsys.exceptions import ServiceUnavailableError
from recsys.settings import Settings
from recsys.storage.ledger import read_ledger
from recsys.storage.registry import PRODUCTION, Registry
from recsys.storage.registry.connection import DIGEST_TAG
from tests.app.harness import BASE_URL, FolderSource, TestClient, wait_for
from tests.app.live import Ledger, fill_database, register


class FolderLedger:
    """A ledger of one line, which can be away."""

    def __init__(self, champion: Champion | None) -> None:
        self.champion = champion
        self.error: Exception | None = None

    def __call__(self) -> Champion | None:
        if self.error is not None:
            raise self.error
        return self.champion


def build(source: FolderSource, ledger: FolderLedger, directory: Path) -> ProductionModel:
    return ProductionModel(source, "anime", ServiceMetrics(), LocalModelCache(directory), ledger=ledger)


def test_an_alias_that_was_moved_alone_changes_nothing_and_is_told(source: FolderSource, tmp_path: Path) -> None:
    ledger = FolderLedger(Champion(1, ""))
    production = build(source, ledger, tmp_path)
    assert production.refresh()
    source.production = 2

    assert not any(production.refresh() for _ in range(PATIENCE))
    assert production.current.version == 1
    told = "the alias production points at version 2, but by the ledger version 1 was promoted; "
    assert production.problems == [told + "`otaku models promote 2` promotes it"]

    ledger.champion = Champion(2, "")
    assert production.refresh()
    assert (production.current.version, production.problems) == (2, [])


def test_at_a_start_the_ledger_decides_too(source: FolderSource, tmp_path: Path) -> None:
    source.production = 2
    production = build(source, FolderLedger(Champion(1, "")), tmp_path)

    assert production.refresh()
    assert production.current.version == 1


def test_with_an_empty_ledger_nothing_is_served(source: FolderSource, tmp_path: Path) -> None:
    production = build(source, FolderLedger(None), tmp_path)

    assert not any(production.refresh() for _ in range(PATIENCE))
    assert production.served is None
    assert "by the ledger no version was promoted" in production.problems[0]


def test_while_the_ledger_is_away_the_last_good_version_serves_and_nothing_is_taken_over(
    source: FolderSource, tmp_path: Path
) -> None:
    ledger = FolderLedger(Champion(1, ""))
    build(source, ledger, tmp_path).refresh()
    ledger.error = ServiceUnavailableError("down")
    source.production = 2
    production = build(source, ledger, tmp_path)

    assert production.refresh()
    assert not production.refresh()
    assert production.current.version == 1
    assert production.problems == ["the ledger of promotions does not answer"]


def test_bytes_other_than_those_that_were_promoted_are_refused(source: FolderSource, tmp_path: Path) -> None:
    production = build(source, FolderLedger(Champion(1, "a" * 64)), tmp_path)

    assert not production.refresh()
    assert production.problems == ["version 1 is refused"]


@pytest.mark.local
def test_so_it_is_with_the_real_registry_and_the_real_ledger(
    settings: Settings, registry: Registry, model_folders: dict[int, Path]
) -> None:
    fill_database(settings)
    ledger = Ledger(settings, registry)
    first, second = (register(registry, model_folders[version], f"version-{version}") for version in (1, 2))
    ledger.promote(first)
    with open_engine(settings) as engine:
        assert read_ledger(engine)[-1].digest == registry.read_version(first).digest
    given = settings.model_copy(update={"model_name": registry.model_name, "trial_seconds": 0})
    with TestClient(create_app(given, watch_seconds=0.02), BASE_URL) as client:
        wait_for(lambda: client.get("/health/ready").json()["status"] == "ready")
        registry.point_alias(PRODUCTION, second)
        wait_for(lambda: client.get("/health/ready").json()["status"] == "degraded")
        assert client.get("/model").json()["version"] == first
        assert f"points at version {second}" in client.get("/health/ready").json()["problems"][0]

        registry.annotate(second, {DIGEST_TAG: "0" * 64})
        ledger.promote(second)
        registry.annotate(second, {DIGEST_TAG: registry.read_version(first).digest})
        wait_for(lambda: client.get("/health/ready").json()["problems"] == [f"version {second} is refused"])
        assert client.get("/model").json()["version"] == first
