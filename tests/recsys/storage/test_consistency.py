from sqlalchemy import Engine

from recsys.storage import promotion
from recsys.storage.consistency import find_inconsistencies
from recsys.storage.registry import PREVIOUS, PRODUCTION, Registry
from tests.recsys.storage.test_promotion import pytestmark, record, registry  # noqa: F401


def test_what_mlflow_shows_is_compared_with_the_ledger(engine: Engine, registry: Registry) -> None:  # noqa: F811
    assert find_inconsistencies(engine, registry) == []
    record(engine, registry, 0.1, 1, None)
    record(engine, registry, -0.1, 2, 1)
    record(engine, registry, 0.1, 3, 1)
    promotion.roll_back(engine, registry, run_key="manual-1", actor="user:mai", reason="bad lists")
    assert find_inconsistencies(engine, registry) == []

    registry.point_alias(PREVIOUS, 2)
    registry.annotate(3, {"decision.action": "keep"}, "promoted by nobody")
    registry.log(registry.read_version(2).run_id, metrics={"gate_promote": 1.0})
    assert find_inconsistencies(engine, registry) == [
        "alias previous is at version 2, by the ledger at 3",
        "the run of version 2 shows gate_promote = 1, by the ledger 0",
        "version 3 has decision.action = 'keep', by the ledger 'promote'",
        "the description of version 3 is not that of the ledger",
    ]
    registry.point_alias(PRODUCTION, 3)
    assert "alias production is at version 3, by the ledger at 1" in find_inconsistencies(engine, registry)
