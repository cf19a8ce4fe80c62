"""Compare the users of the last days with those the production model was trained on, once a day."""

import datetime as dt
import json
import logging
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, select
from sqlalchemy.dialects.postgresql import insert

from recsys.columns import Columns
from recsys.data.interactions import Interactions
from recsys.evaluation.drift import DriftReport, build_profile, compute_drift
from recsys.evaluation.drift_plots import describe_drift, plot_drift
from recsys.exceptions import NoProductionModelError
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.database import read_catalog, read_frame
from recsys.storage.ledger import about_model
from recsys.storage.lineage import References, name_tables, name_uri, name_version
from recsys.storage.locks import hold_lock
from recsys.storage.promotion import read_production_version
from recsys.storage.registry import Registry
from recsys.storage.snapshots import read_snapshot
from recsys.storage.tables import decisions, drift_reports, ratings, users
from recsys.storage.version_notes import GATE
from retrain_model.context import DRY_RUNS
from retrain_model.days import now_utc, require_finished_day
from retrain_model.drift.options import DriftRules
from retrain_model.evidence import read_recipe

log = logging.getLogger(__name__)

PREFIX: Final = "drift"
PLOT: Final = "drift.png"
PAGE: Final = "report.md"
COLUMNS: Final = tuple(column.name for column in drift_reports.c)


@dataclass(frozen=True)
class DriftRow:
    """A row of `drift_reports`; `reason` states why a retraining is requested or not.

    Parameters
    ----------
    created_at
        When it was written; None for one that was not.
    is_new
        Whether this call measured it.
    """

    day: dt.date
    model_version: int
    breached: bool
    retraining_wanted: bool
    reason: str
    report: dict[str, Any]
    report_uri: str
    created_at: dt.datetime | None = None
    is_new: bool = field(default=True, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        measured_at = None if self.created_at is None else self.created_at.isoformat()
        row = {**asdict(self), "day": self.day.isoformat(), "measured_at": measured_at}
        del row["created_at"]
        return row


def monitor_drift(
    engine: Engine,
    store: ArtifactStore,
    registry: Registry,
    day: dt.date,
    rules: DriftRules,
    *,
    dry_run: bool = False,
    clock: Callable[[], dt.datetime] = now_utc,
) -> DriftRow:
    """Measure drift as of a day; write report and plot to S3 and a row to `drift_reports`.

    A day that has its row is left as it is. Killed half-way there is no row, and the day is measured again; of two
    runs at the same time, the second waits and returns the row of the first.

    Parameters
    ----------
    dry_run
        Write no row, and the report below `dry-run/`; any day may be measured.

    Raises
    ------
    UnfinishedDayError
        If users may still be added to the day.
    NoProductionModelError
        If nothing was promoted yet.
    RetrainError
        If the version in Production has no recipe that names its training data.
    """
    with hold_lock(engine, f"{PREFIX}/{day}"):
        known = _read_row(engine, day)
        if known is not None:
            log.info("drift of %s was measured before: %s", day, known.reason)
            return known
        if not dry_run:
            with engine.connect() as connection:
                require_finished_day(connection, day, clock())
        version = read_production_version(engine, registry)
        if version is None:
            raise NoProductionModelError("nothing was promoted yet, so that there is no model to compare users with")
        place = f"{DRY_RUNS}/{PREFIX}" if dry_run else PREFIX
        row = _measure(engine, store, registry, version, day, rules, place)
        return row if dry_run else _write_row(engine, row)


def _measure(
    engine: Engine,
    store: ArtifactStore,
    registry: Registry,
    version: int,
    day: dt.date,
    rules: DriftRules,
    place: str,
) -> DriftRow:
    """Compare, decide, and write report and plot to S3."""
    recipe = read_recipe(registry, version)
    trained_until = dt.date.fromisoformat(recipe["as_of"])
    reference = read_snapshot(store, recipe["snapshot"])
    first = day - dt.timedelta(days=rules.window_days - 1)
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        catalog = read_catalog(connection)
        current = _read_cold_start_users(connection, first, day)
        last_evaluated = _find_last_evaluated(connection, registry.model_name, day)
    before, now = build_profile(reference.interactions, catalog), build_profile(current, catalog)
    is_known = reference.catalog.contains(current.table[Columns.Item].to_numpy())
    report = compute_drift(
        before,
        now,
        unknown_share=float((~is_known).mean()) if len(is_known) else 0.0,
        age_days=max(0, (day - trained_until).days),
        limits=rules.limits,
    )
    wanted, reason = decide(report, day, last_evaluated, rules)
    facts = {"day": day, "users arrived since": first, "model": f"version {version}, trained on {trained_until}"}
    content = {**facts, **report.to_dict(), "rules": asdict(rules), "retraining wanted": wanted, "reason": reason}
    with tempfile.TemporaryDirectory(prefix="otaku-") as folder:
        (Path(folder) / "report.json").write_text(json.dumps(content, indent=1, default=str))
        (Path(folder) / PAGE).write_text(describe_drift(report, facts, picture=PLOT))
        plot_drift(before, now, report).savefig(Path(folder) / PLOT, dpi=110)
        uri = store.write_directory(f"{place}/{day}", Path(folder))
    return DriftRow(day, version, bool(report.breaches), wanted, reason, report.to_dict(), uri)


def decide(report: DriftReport, day: dt.date, last_evaluated: dt.date | None, rules: DriftRules) -> tuple[bool, str]:
    """Return whether a retraining is requested, and the reason."""
    if not report.breaches:
        return False, "the model still fits the users"
    found = "; ".join(report.breaches)
    if last_evaluated is not None and (day - last_evaluated).days < rules.rest_days:
        return False, f"{found}; but a challenger trained until {last_evaluated} was evaluated already"
    return True, found


def _read_cold_start_users(connection: Connection, first: dt.date, last: dt.date) -> Interactions:
    """Read the ratings of all users who arrived on these days, both included."""
    rated = select(*(ratings.c[name] for name in Columns.Interactions)).join(users)
    return Interactions(read_frame(connection, rated.where(users.c.arrived_on.between(first, last))))


def _find_last_evaluated(connection: Connection, model_name: str, day: dt.date) -> dt.date | None:
    """Find the newest day up to this one as of which an evaluated challenger was trained."""
    evaluated = (decisions.c.actor == GATE) | decisions.c.evidence.has_key("outcome")
    keys = connection.scalars(select(decisions.c.run_key).where(evaluated, about_model(model_name)))
    days = (dt.date.fromisoformat(key[:10]) for key in keys)  # a run key begins with its day
    return max((found for found in days if found <= day), default=None)


def _read_row(engine: Engine, day: dt.date) -> DriftRow | None:
    with engine.connect() as connection:
        columns = [drift_reports.c[name] for name in COLUMNS]
        row = connection.execute(select(*columns).where(drift_reports.c.day == day)).one_or_none()
    return None if row is None else replace(DriftRow(*row), is_new=False)


def _write_row(engine: Engine, row: DriftRow) -> DriftRow:
    """Write the row if missing, and return the stored one."""
    with engine.begin() as connection:
        values = {name: value for name, value in asdict(row).items() if name in COLUMNS and name != "created_at"}
        connection.execute(insert(drift_reports).values(values).on_conflict_do_nothing())
    log.info("drift of %s: %s", row.day, row.reason)
    return replace(_read_row(engine, row.day) or row, is_new=True)


def build_references(engine: Engine, store: ArtifactStore, registry: Registry, row: DriftRow) -> References:
    """Name what a day's measurement read and wrote, and where a person can read it."""
    page = f"{store.key(row.report_uri).rstrip('/')}/{PAGE}"
    version = name_version(registry.tracking_uri, registry.model_name, row.model_version)
    return References(
        links={"Drift report": store.presign(page), "Model version": registry.version_url(row.model_version)},
        inputs=(*name_tables(engine, (users, ratings)), version),
        outputs=(name_uri(row.report_uri), *name_tables(engine, (drift_reports,))),
    )
