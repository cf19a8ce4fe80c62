"""Compare the users of the last days with those the production model was trained on, once a day."""

import datetime as dt
import json
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, select
from sqlalchemy.dialects.postgresql import insert

from recsys.columns import Columns
from recsys.data.interactions import Interactions
from recsys.evaluation.drift import DriftLimits, DriftReport, build_profile, compute_drift
from recsys.evaluation.drift_plots import describe_drift, plot_drift
from recsys.exceptions import NoProductionModelError
from recsys.storage.artifacts import ArtifactStore
from recsys.storage.database import read_catalog, read_frame
from recsys.storage.locks import hold_lock
from recsys.storage.promotion import GATE
from recsys.storage.registry import Registry
from recsys.storage.snapshots import read_snapshot
from recsys.storage.tables import decisions, drift_reports, ratings, users
from retrain_model.evidence import read_recipe

log = logging.getLogger(__name__)

PREFIX: Final = "drift"
PICTURE: Final = "drift.png"


@dataclass(frozen=True)
class DriftRules:
    """Which users are looked at, how far they may move, and how often a model may be asked for.

    Parameters
    ----------
    window_days
        Users who arrived on this many days up to the day are compared.
    rest_days
        A breach asks for a retraining unless one has learned from these last days already: judged and refused today, a
        challenger of tomorrow would be refused too.
    """

    window_days: int = 28
    rest_days: int = 3
    limits: DriftLimits = field(default_factory=DriftLimits)


@dataclass(frozen=True)
class DriftRow:
    """A row of `drift_reports`; `reason` says why a retraining is wanted or why not."""

    day: dt.date
    model_version: int
    breached: bool
    retraining_wanted: bool
    reason: str
    report: dict[str, Any]
    report_uri: str

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {**asdict(self), "day": self.day.isoformat()}


def monitor_drift(
    engine: Engine, store: ArtifactStore, registry: Registry, day: dt.date, rules: DriftRules
) -> DriftRow:
    """Measure drift as of a day, keep page, numbers and picture in S3 and a row in `drift_reports`.

    A day that has its row is left as it is. Killed half-way there is no row, and the day is measured again; run twice
    at the same time, the first row stands.

    Raises
    ------
    NoProductionModelError
        If nothing was promoted yet.
    RetrainError
        If the version in Production does not say what it was trained on.
    """
    with hold_lock(engine, f"{PREFIX}/{day}"):
        known = _read_row(engine, day)
        if known is not None:
            log.info("drift of %s was measured before: %s", day, known.reason)
            return known
        version = registry.production_version()
        if version is None:
            raise NoProductionModelError("nothing was promoted yet, so that there is no model to compare users with")
        return _write_row(engine, _measure(engine, store, read_recipe(registry, version), version, day, rules))


def _measure(
    engine: Engine, store: ArtifactStore, recipe: Mapping[str, Any], version: int, day: dt.date, rules: DriftRules
) -> DriftRow:
    """Compare, decide, and leave page, numbers and picture in S3."""
    learnt_until = dt.date.fromisoformat(recipe["as_of"])
    reference = read_snapshot(store, recipe["snapshot"])
    first = day - dt.timedelta(days=rules.window_days - 1)
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        catalog = read_catalog(connection)
        current = _read_cold_start_users(connection, first, day)
        last_judged = _find_last_evaluated(connection, day)
    before, now = build_profile(reference.interactions, catalog), build_profile(current, catalog)
    is_known = reference.catalog.contains(current.table[Columns.Item].to_numpy())
    report = compute_drift(
        before,
        now,
        unknown_share=float((~is_known).mean()) if len(is_known) else 0.0,
        age_days=max(0, (day - learnt_until).days),
        limits=rules.limits,
    )
    wanted, reason = decide(report, day, last_judged, rules)
    facts = {"day": day, "users arrived since": first, "model": f"version {version}, trained on {learnt_until}"}
    content = {**facts, **report.to_dict(), "rules": asdict(rules), "retraining wanted": wanted, "reason": reason}
    with tempfile.TemporaryDirectory(prefix="otaku-") as folder:
        (Path(folder) / "report.json").write_text(json.dumps(content, indent=1, default=str))
        (Path(folder) / "report.md").write_text(describe_drift(report, facts, picture=PICTURE))
        plot_drift(before, now, report).savefig(Path(folder) / PICTURE, dpi=110)
        uri = store.write_directory(f"{PREFIX}/{day}", Path(folder))
    return DriftRow(day, version, bool(report.breaches), wanted, reason, report.to_dict(), uri)


def decide(report: DriftReport, day: dt.date, last_judged: dt.date | None, rules: DriftRules) -> tuple[bool, str]:
    """Tell whether a retraining is wanted, and why or why not."""
    if not report.breaches:
        return False, "the model still fits the users"
    found = "; ".join(report.breaches)
    if last_judged is not None and (day - last_judged).days < rules.rest_days:
        return False, f"{found}; but a challenger that learned until {last_judged} was judged already"
    return True, found


def _read_cold_start_users(connection: Connection, first: dt.date, last: dt.date) -> Interactions:
    """Read the ratings of everyone who arrived on these days, both included."""
    rated = select(*(ratings.c[name] for name in Columns.Interactions)).join(users)
    return Interactions(read_frame(connection, rated.where(users.c.arrived_on.between(first, last))))


def _find_last_evaluated(connection: Connection, day: dt.date) -> dt.date | None:
    """Find the newest day up to this one that a judged challenger has learned from."""
    keys = connection.scalars(select(decisions.c.run_key).where(decisions.c.actor == GATE))
    days = (dt.date.fromisoformat(key[:10]) for key in keys)  # a run key begins with its day
    return max((found for found in days if found <= day), default=None)


def _read_row(engine: Engine, day: dt.date) -> DriftRow | None:
    with engine.connect() as connection:
        columns = [drift_reports.c[name] for name in DriftRow.__dataclass_fields__]
        row = connection.execute(select(*columns).where(drift_reports.c.day == day)).one_or_none()
    return None if row is None else DriftRow(*row)


def _write_row(engine: Engine, row: DriftRow) -> DriftRow:
    """Write the row unless the day has one, and return the one that stands."""
    with engine.begin() as connection:
        connection.execute(insert(drift_reports).values(asdict(row)).on_conflict_do_nothing())
    log.info("drift of %s: %s", row.day, row.reason)
    return _read_row(engine, row.day) or row
