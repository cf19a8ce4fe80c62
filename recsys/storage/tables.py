"""The tables of schema `otaku`, as SQLAlchemy Core; the migrations in `migrations/` create exactly these."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Sequence,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from recsys.columns import Columns, ItemColumns
from recsys.types import EntrySource, WatchStatus

SCHEMA = "otaku"
metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    },
)


def _rating() -> Column[int]:
    return Column("rating", SmallInteger, nullable=False)


def _created_at() -> Column[datetime]:
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now())


def _provenance() -> list[Any]:
    """Where a value comes from and since when it holds: a user's own later word wins, see `sourced_rows`."""
    values = ", ".join(repr(source.value) for source in EntrySource)
    return [
        Column("source", Text, nullable=False, server_default=EntrySource.File.value),
        Column(Columns.GivenAt, DateTime(timezone=True), nullable=False, server_default=func.now()),
        CheckConstraint(f"source IN ({values})", name="source"),
    ]


items = Table(
    "items",
    metadata,
    Column("item_id", BigInteger, primary_key=True, autoincrement=False),
    Column(ItemColumns.Title, Text, nullable=False),
    *(Column(name, Text) for name in ItemColumns.Texts if name != ItemColumns.Title),
    *(Column(name, ARRAY(Text), nullable=False, server_default=text("'{}'")) for name in ItemColumns.Lists),
    *(Column(name, Date) for name in ItemColumns.Dates),
    *(Column(name, Double) for name in ItemColumns.Numericals),
)

# arrived_on is null for users who were there at the first ingest.
users = Table(
    "users",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("arrived_on", Date, index=True),
    Column("batch_id", Text, nullable=False),
)

ratings = Table(
    "ratings",
    metadata,
    Column("user_id", BigInteger, ForeignKey(users.c.user_id, ondelete="CASCADE"), primary_key=True),
    Column("item_id", BigInteger, ForeignKey(items.c.item_id), primary_key=True),
    _rating(),
    *_provenance(),
    CheckConstraint("rating BETWEEN 1 AND 10", name="rating_range"),
)

# What is known besides a rating: a status for every list entry that has one, rated or not. A title with a status and no
# row in `ratings` was watched, or is planned, without a rating.
watch_statuses = Table(
    "watch_statuses",
    metadata,
    Column("user_id", BigInteger, ForeignKey(users.c.user_id, ondelete="CASCADE"), primary_key=True),
    Column("item_id", BigInteger, ForeignKey(items.c.item_id), primary_key=True),
    Column("status", Text, nullable=False),
    *_provenance(),
    CheckConstraint(f"status IN ({', '.join(repr(status.value) for status in WatchStatus)})", name="status"),
)

# Ids of users who register with the service: far above those of sources (and of generated users, from 10**12 on),
# and small enough for the numbers of JavaScript.
new_user_ids = Sequence("new_user_ids", start=2 * 10**12, metadata=metadata, schema=SCHEMA)

# genre_shares: genre -> share of the watched titles that carry it, 0..1; mean_rating over all ratings.
user_preferences = Table(
    "user_preferences",
    metadata,
    Column("user_id", BigInteger, ForeignKey(users.c.user_id, ondelete="CASCADE"), primary_key=True),
    Column("n_ratings", Integer, nullable=False),
    Column("mean_rating", Double, nullable=False),
    Column("genre_shares", JSONB, nullable=False),
)

# The list of each user as it was last made for all of them at once, by name of the model, with predictions for the
# titles of their history that a response shows. It is valid for the version and the stored data it was made from, which
# `user_digest` stands for.
scored_lists = Table(
    "scored_lists",
    metadata,
    Column("model_name", Text, primary_key=True),
    Column("user_id", BigInteger, ForeignKey(users.c.user_id, ondelete="CASCADE"), primary_key=True, index=True),
    Column("version", Integer, nullable=False),
    Column("k", Integer, nullable=False),
    Column("user_digest", Text, nullable=False),
    Column("adult", Boolean, nullable=False),
    Column("item_ids", ARRAY(BigInteger), nullable=False),
    Column("scores", ARRAY(REAL), nullable=False),
    Column("predicted_ratings", ARRAY(REAL), nullable=False),
    Column("watched_item_ids", ARRAY(BigInteger), nullable=False),
    Column("watched_predictions", ARRAY(REAL), nullable=False),
    _created_at(),
)

# Users held back at ingest. `position` is their place in the queue of arrivals, given once and never changed,
# so that the cohort of a day does not depend on the order in which days are simulated.
future_users = Table(
    "future_users",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False, unique=True),
    Column("item_ids", ARRAY(BigInteger), nullable=False),
    Column("ratings", ARRAY(SmallInteger), nullable=False),
    # Of equal length as well; what is in them may be in `item_ids` too.
    Column("status_item_ids", ARRAY(BigInteger), nullable=False, server_default=text("'{}'")),
    Column("statuses", ARRAY(Text), nullable=False, server_default=text("'{}'")),
)

# One row: the day whose cohort starts at position 0 of the queue. Without it the queue counts from the day that
# `simulate_new_users` takes for the first.
arrival_queue = Table(
    "arrival_queue",
    metadata,
    Column("singleton", Boolean, primary_key=True, server_default=text("true")),
    Column("first_day", Date, nullable=False),
    _created_at(),
    CheckConstraint("singleton", name="singleton"),
)

arrivals = Table(
    "arrivals",
    metadata,
    Column("day", Date, primary_key=True),
    Column("n_users", Integer, nullable=False),
    Column("n_ratings", Integer, nullable=False),
    Column("n_generated", Integer, nullable=False),
    Column("batch_id", Text, nullable=False, unique=True),
    _created_at(),
)

# What users did with what they were shown, append-only; a daily job takes the ratings over into `ratings`. Who shows a
# list names the rank and the propensity (the probability 0..1 that the item was shown there), so that later evaluations
# can undo the bias of showing.
FEEDBACK_KINDS = ("impression", "click", "rating", "dismissal", "seen", "plan")
OPINION_KINDS = FEEDBACK_KINDS[2:]
STATUS_OF_KIND = {"seen": WatchStatus.Completed, "plan": WatchStatus.Planned}
feedback = Table(
    "feedback",
    metadata,
    Column("feedback_id", BigInteger, Identity(), primary_key=True),
    Column("idempotency_key", Text, nullable=False),
    Column("user_id", BigInteger, ForeignKey(users.c.user_id, ondelete="CASCADE"), nullable=False, index=True),
    Column("item_id", BigInteger, ForeignKey(items.c.item_id), nullable=False),
    Column("kind", Text, nullable=False),
    Column("rating", SmallInteger),
    Column("rank", Integer),
    Column("propensity", Double),
    Column("model_version", Integer),
    Column("client", Text, nullable=False, server_default=""),
    _created_at(),
    UniqueConstraint("client", "idempotency_key"),
    CheckConstraint(f"kind IN ({', '.join(map(repr, FEEDBACK_KINDS))})", name="kind"),
    CheckConstraint("rating BETWEEN 1 AND 10", name="rating_range"),
    CheckConstraint("(kind = 'rating') = (rating IS NOT NULL)", name="rating_given"),
    CheckConstraint("rank >= 1", name="rank_range"),
    CheckConstraint("propensity > 0 AND propensity <= 1", name="propensity_range"),
    Index("ix_feedback_created_at", "created_at"),
)

# The last event of each user, title and subject among those that change lists, read with every request. A trigger on
# `feedback` keeps it (migration 0010), so that a history is as long as the titles that it is about.
OPINION_SUBJECTS = ("rating", "dismissal", "status")
latest_opinions = Table(
    "latest_opinions",
    metadata,
    Column("user_id", BigInteger, ForeignKey(users.c.user_id, ondelete="CASCADE"), primary_key=True),
    Column("item_id", BigInteger, primary_key=True, autoincrement=False),
    Column("subject", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("rating", SmallInteger),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("feedback_id", BigInteger, nullable=False),
)

# Users who registered with an idempotency key of a client; deleted with the user.
registrations = Table(
    "registrations",
    metadata,
    Column("client", Text, primary_key=True),
    Column("idempotency_key", Text, primary_key=True),
    Column("content_digest", Text, nullable=False),
    Column("user_id", BigInteger, ForeignKey(users.c.user_id, ondelete="CASCADE"), nullable=False, index=True),
    _created_at(),
)

# One row per refused row of an input file; a second ingest of the same bytes adds nothing.
quarantine = Table(
    "quarantine",
    metadata,
    Column("file_digest", Text, primary_key=True),
    Column("line", BigInteger, primary_key=True, autoincrement=False),
    Column("file_name", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("content", Text, nullable=False),
    _created_at(),
    Index("ix_quarantine_reason", "reason"),
)

# The append-only ledger of the gate and of users who promote or roll back by hand.
decisions = Table(
    "decisions",
    metadata,
    Column("decision_id", BigInteger, Identity(), primary_key=True),
    Column("run_key", Text, nullable=False, unique=True),
    Column("action", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("challenger_version", Integer),
    Column("champion_version", Integer),
    Column("evidence", JSONB, nullable=False),
    _created_at(),
    # Null in rows from before the ledger named it; those are taken for rows of any model.
    Column("model_name", Text),
    # Of the files of what a move put into Production; null in earlier rows and in those that keep.
    Column("digest", Text),
    CheckConstraint("action IN ('promote', 'keep', 'rollback')", name="action"),
)

# Promotions that a person is asked about; one is waiting until `decisions` has its run key.
approval_requests = Table(
    "approval_requests",
    metadata,
    Column("run_key", Text, primary_key=True),
    Column("model_name", Text, nullable=False),
    Column("challenger_version", Integer, nullable=False),
    Column("champion_version", Integer),
    Column("decision", JSONB, nullable=False),
    Column("body", Text, nullable=False),
    _created_at(),
)

# Only the SHA-256 of a key is kept; a revoked one stays, so that it is known what it was.
api_keys = Table(
    "api_keys",
    metadata,
    Column("key_digest", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    _created_at(),
    Column("rate_limit", Text),
    Column("revoked_at", DateTime(timezone=True)),
)

# How far feedback has been folded into `ratings`: everything up to the greatest `last_feedback_id`, and nothing later.
feedback_folds = Table(
    "feedback_folds",
    metadata,
    Column("last_feedback_id", BigInteger, primary_key=True, autoincrement=False),
    Column("day", Date, nullable=False, index=True),
    Column("n_feedback", Integer, nullable=False),
    Column("n_ratings", Integer, nullable=False),
    _created_at(),
)

# One row per day on which the production model was compared with the users of the last days.
drift_reports = Table(
    "drift_reports",
    metadata,
    Column("day", Date, primary_key=True),
    Column("model_version", Integer, nullable=False),
    Column("breached", Boolean, nullable=False),
    Column("retraining_wanted", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("report", JSONB, nullable=False),
    Column("report_uri", Text, nullable=False),
    _created_at(),
)

# One row per run of a job that has ended, dry runs left out; what the metrics of the jobs are computed from.
JOB_OUTCOMES = ("succeeded", "failed", "skipped")
job_runs = Table(
    "job_runs",
    metadata,
    Column("job_run_id", BigInteger, Identity(), primary_key=True),
    Column("job", Text, nullable=False),
    Column("day", Date),
    Column("outcome", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("trace_id", Text),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True), nullable=False),
    CheckConstraint(f"outcome IN ({', '.join(map(repr, JOB_OUTCOMES))})", name="outcome"),
    Index("ix_job_runs_job", "job", "ended_at"),
)

# One row: the newest migration that the oldest code knows which can work with these tables; see `schema_state`.
schema_compatibility = Table("schema_compatibility", metadata, Column("oldest_code", Text, primary_key=True))
