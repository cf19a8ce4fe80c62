"""A version in Production that nobody trained: only what monitoring reads of one."""

import json
import tempfile
from datetime import date
from pathlib import Path

from sqlalchemy import Engine

from recsys.connections import open_registry, open_store
from recsys.settings import Settings
from recsys.storage.snapshots import write_snapshot


def put_into_production(settings: Settings, engine: Engine, learnt_until: date) -> int:
    """Register an empty model whose recipe names the users who are there now, and point the alias at it."""
    registry = open_registry(settings)
    recipe = {
        "as_of": learnt_until.isoformat(),
        "snapshot": write_snapshot(engine, open_store(settings), learnt_until),
    }
    run_id = registry.start_run(f"recipe-{learnt_until}")
    registry.log(run_id, artifacts={"recipe.json": json.dumps(recipe).encode()})
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.json").write_text("{}")
        version = registry.register_model(run_id, Path(folder), f"recipe-{learnt_until}")
    registry.point_alias("production", version)
    return version
