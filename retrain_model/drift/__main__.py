"""`python -m retrain_model.drift --day 2026-01-12`: compare recent users with those the model was trained on."""

import json
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from recsys.jobs import call_job, run_main
from retrain_model.drift.options import (
    DEFAULTS,
    AgeDays,
    Day,
    DryRun,
    Psi,
    RestDays,
    UnknownShare,
    WindowDays,
    build_rules,
)

PROG = "retrain_model.drift"


def measure_drift(
    day: Day,
    window_days: WindowDays = DEFAULTS.window_days,
    rest_days: RestDays = DEFAULTS.rest_days,
    psi: Psi = DEFAULTS.limits.psi_drifted,
    unknown_share: UnknownShare = DEFAULTS.limits.unknown_share,
    age_days: AgeDays = DEFAULTS.limits.age_days,
    dry_run: DryRun = False,
) -> dict[str, Any]:
    """Compare recent users with those the model in Production was trained on; write a report and a row of the day."""
    from recsys.connections import open_engine, open_registry, open_store
    from recsys.progress import log_progress, track_stage
    from recsys.settings import load_settings
    from recsys.storage.migration import migrate
    from recsys.storage.schema_state import require_schema
    from retrain_model.drift.job import build_references, monitor_drift

    rules = build_rules(window_days, rest_days, psi, unknown_share, age_days)
    settings = load_settings()
    registry, store = open_registry(settings), open_store(settings)
    with (
        open_engine(settings) as engine,
        log_progress() as on_progress,
        track_stage(on_progress, f"drift of {day:%Y-%m-%d}"),
    ):
        (require_schema if dry_run else migrate)(engine)
        store.ensure_bucket()
        row = monitor_drift(engine, store, registry, day.date(), rules, dry_run=dry_run)
        references = build_references(engine, store, registry, row)
    return {**row.to_dict(), "references": references.to_dict()}


def run(arguments: Sequence[str] | None = None) -> Any:
    """Run the job and return the row of the day, JSON-ready; wrong usage exits with 2."""
    return call_job(measure_drift, arguments, prog=f"python -m {PROG}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and return the exit code: 0 done, 1 failed with one sentence, 2 wrong usage, 99 nothing in Production."""
    return run_main(measure_drift, arguments, prog=PROG, show=partial(json.dumps, indent=1))


if __name__ == "__main__":
    sys.exit(main())
