"""Runs of the jobs: one row for each that has ended, and what the metrics of the jobs are computed from."""

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, and_, func, insert, select, text

from recsys.storage.approvals import read_waiting
from recsys.storage.history import count_quarantine
from recsys.storage.ledger import MOVES, about_model, last_move
from recsys.storage.tables import SCHEMA, arrivals, decisions, drift_reports, job_runs
from recsys.storage.version_notes import GATE

SUCCEEDED: Final = "succeeded"
MAX_MESSAGE: Final = 500
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
COUNTED_TABLES: Final = ("items", "users", "ratings", "future_users", "feedback")


@dataclass(frozen=True)
class JobRun:
    """A run of a job that has ended; times in UTC, `day` is the one that it was about."""

    job: str
    outcome: str
    message: str
    started_at: dt.datetime
    ended_at: dt.datetime
    day: dt.date | None = None
    trace_id: str | None = None


def record_run(engine: Engine, run: JobRun) -> None:
    """Add a run to `job_runs`."""
    row = {name: getattr(run, name) for name in JobRun.__dataclass_fields__}
    with engine.begin() as connection:
        connection.execute(insert(job_runs).values({**row, "message": run.message[:MAX_MESSAGE]}))


@dataclass(frozen=True)
class JobHistory:
    """The runs of one job: how many ended how, when the last of each outcome did, and seconds of the last success."""

    n_runs: Mapping[str, int]
    last_ended: Mapping[str, float]
    last_seconds: float | None


@dataclass(frozen=True)
class PipelineState:
    """What the tables say about the pipeline now; times in seconds since 1970, UTC.

    Parameters
    ----------
    jobs
        By name, such as `simulate_new_users` and `retrain_model.train_ranker`.
    n_rows
        Estimates of PostgreSQL by table.
    n_decisions
        By action.
    refusals_in_a_row
        Decisions of the gate to keep since the last move of Production.
    production_version, promoted_at, trained_as_of
        What is in Production, since when, and the day of its training data; None while nothing was promoted.
    psi
        Of the last measured day, by feature.
    """

    jobs: Mapping[str, JobHistory]
    n_rows: Mapping[str, int]
    n_quarantined: Mapping[str, int]
    arrived_users: int
    arrived_ratings: int
    last_arrival: float | None
    n_decisions: Mapping[str, int]
    refusals_in_a_row: int
    production_version: int | None
    promoted_at: float | None
    trained_as_of: float | None
    drift_day: float | None
    is_drifted: bool
    psi: Mapping[str, float]
    n_waiting: int


def read_pipeline_state(connection: Connection, model_name: str) -> PipelineState:
    """Read the state of the pipeline around one registered model."""
    sums = (func.coalesce(func.sum(arrivals.c[name]), 0) for name in ("n_users", "n_ratings"))
    arrived = connection.execute(select(*sums, func.max(arrivals.c.day))).one()
    production = last_move(connection, model_name)
    version = production.challenger_version if production else None
    drift = connection.execute(select(drift_reports).order_by(drift_reports.c.day.desc()).limit(1)).one_or_none()
    actions = select(decisions.c.action, func.count()).where(about_model(model_name)).group_by(decisions.c.action)
    return PipelineState(
        jobs=_read_jobs(connection),
        n_rows=_read_estimates(connection),
        n_quarantined=count_quarantine(connection),
        arrived_users=int(arrived[0]),
        arrived_ratings=int(arrived[1]),
        last_arrival=_to_seconds(arrived[2]),
        n_decisions={str(action): int(n) for action, n in connection.execute(actions)},
        refusals_in_a_row=_count_refusals(connection, model_name, production.decision_id if production else 0),
        production_version=version,
        promoted_at=production.created_at.timestamp() if production else None,
        trained_as_of=_find_training_day(connection, model_name, version),
        drift_day=_to_seconds(drift.day) if drift else None,
        is_drifted=bool(drift and drift.breached),
        psi=_read_psi(drift.report) if drift else {},
        n_waiting=len(read_waiting(connection, model_name)),
    )


def _to_seconds(day: dt.date | None) -> float | None:
    return None if day is None else dt.datetime.combine(day, dt.time(), dt.UTC).timestamp()


def _read_jobs(connection: Connection) -> dict[str, JobHistory]:
    columns = job_runs.c
    grouped = select(columns.job, columns.outcome, func.count(), func.max(columns.ended_at))
    ended = connection.execute(grouped.group_by(columns.job, columns.outcome)).all()
    newest = (
        select(columns.job, columns.started_at, columns.ended_at)
        .where(columns.outcome == SUCCEEDED)
        .distinct(columns.job)
        .order_by(columns.job, columns.ended_at.desc())
    )
    seconds = {row.job: (row.ended_at - row.started_at).total_seconds() for row in connection.execute(newest)}
    return {
        job: JobHistory(
            n_runs={outcome: int(n) for name, outcome, n, _ in ended if name == job},
            last_ended={outcome: last.timestamp() for name, outcome, _, last in ended if name == job},
            last_seconds=seconds.get(job),
        )
        for job in sorted({row[0] for row in ended})
    }


def _read_estimates(connection: Connection) -> dict[str, int]:
    """Read the planner's estimates; counting would read every row. A table that was never analysed has none."""
    query = text(
        "SELECT relname, reltuples FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
        "WHERE nspname = :schema AND relname = ANY(:names) AND reltuples >= 0"
    )
    rows = connection.execute(query, {"schema": SCHEMA, "names": list(COUNTED_TABLES)})
    return {str(name): int(n) for name, n in rows}


def _count_refusals(connection: Connection, model_name: str, last_move_id: int) -> int:
    refused = and_(decisions.c.action == "keep", decisions.c.actor == GATE, decisions.c.decision_id > last_move_id)
    return int(connection.scalar(select(func.count()).where(refused, about_model(model_name))) or 0)


def _find_training_day(connection: Connection, model_name: str, version: int | None) -> float | None:
    """Find the day in the key of the retraining that made a version; of one without, the day of its first move."""
    if version is None:
        return None
    mine = and_(about_model(model_name), decisions.c.challenger_version == version, decisions.c.action.in_(MOVES))
    query = select(decisions.c.run_key, decisions.c.created_at).where(mine).order_by(decisions.c.decision_id)
    rows = connection.execute(query).all()
    for row in rows:
        if (found := _DAY.match(row.run_key)) is not None:
            return _to_seconds(dt.date.fromisoformat(found[0]))
    return rows[0].created_at.timestamp() if rows else None


def _read_psi(report: Mapping[str, Any]) -> dict[str, float]:
    found = {str(entry["name"]): entry.get("psi") for entry in report.get("features", ()) if "name" in entry}
    return {name: float(value) for name, value in found.items() if value is not None}
