"""create the tables of schema otaku"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | Sequence[str] | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "api_keys",
        sa.Column("key_digest", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("key_digest", name=op.f("pk_api_keys")),
        schema="otaku",
    )
    op.create_table(
        "arrivals",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("n_users", sa.Integer(), nullable=False),
        sa.Column("n_ratings", sa.Integer(), nullable=False),
        sa.Column("n_generated", sa.Integer(), nullable=False),
        sa.Column("batch_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_arrivals")),
        sa.UniqueConstraint("batch_id", name=op.f("uq_arrivals_batch_id")),
        schema="otaku",
    )
    op.create_table(
        "decisions",
        sa.Column("decision_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("run_key", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("challenger_version", sa.Integer(), nullable=True),
        sa.Column("champion_version", sa.Integer(), nullable=True),
        sa.Column("evidence", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("action IN ('promote', 'keep', 'rollback')", name=op.f("ck_decisions_action")),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_decisions")),
        sa.UniqueConstraint("run_key", name=op.f("uq_decisions_run_key")),
        schema="otaku",
    )
    op.create_table(
        "feedback",
        sa.Column("feedback_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("rating", sa.SmallInteger(), nullable=True),
        sa.Column("rank", sa.Integer(), nullable=True),
        sa.Column("propensity", sa.Double(), nullable=True),
        sa.Column("model_version", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('impression', 'click', 'rating', 'dismissal')", name=op.f("ck_feedback_kind")),
        sa.CheckConstraint("rating BETWEEN 1 AND 10", name=op.f("ck_feedback_rating_range")),
        sa.PrimaryKeyConstraint("feedback_id", name=op.f("pk_feedback")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_feedback_idempotency_key")),
        schema="otaku",
    )
    op.create_index(op.f("ix_feedback_user_id"), "feedback", ["user_id"], unique=False, schema="otaku")
    op.create_table(
        "future_users",
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("item_ids", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("ratings", sa.ARRAY(sa.SmallInteger()), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_future_users")),
        sa.UniqueConstraint("position", name=op.f("uq_future_users_position")),
        schema="otaku",
    )
    op.create_table(
        "items",
        sa.Column("item_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("title_english", sa.Text(), nullable=True),
        sa.Column("title_japanese", sa.Text(), nullable=True),
        sa.Column("type", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("age_rating", sa.Text(), nullable=True),
        sa.Column("synopsis", sa.Text(), nullable=True),
        sa.Column("synonyms", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("genres", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("studios", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("aired_from", sa.Date(), nullable=True),
        sa.Column("aired_to", sa.Date(), nullable=True),
        sa.Column("mean_score", sa.Double(), nullable=True),
        sa.Column("episodes", sa.Double(), nullable=True),
        sa.Column("duration_minutes", sa.Double(), nullable=True),
        sa.Column("ranked", sa.Double(), nullable=True),
        sa.Column("popularity", sa.Double(), nullable=True),
        sa.Column("members", sa.Double(), nullable=True),
        sa.Column("favorites", sa.Double(), nullable=True),
        sa.Column("watching", sa.Double(), nullable=True),
        sa.Column("completed", sa.Double(), nullable=True),
        sa.Column("on_hold", sa.Double(), nullable=True),
        sa.Column("dropped", sa.Double(), nullable=True),
        sa.Column("plan_to_watch", sa.Double(), nullable=True),
        sa.Column("score_1", sa.Double(), nullable=True),
        sa.Column("score_2", sa.Double(), nullable=True),
        sa.Column("score_3", sa.Double(), nullable=True),
        sa.Column("score_4", sa.Double(), nullable=True),
        sa.Column("score_5", sa.Double(), nullable=True),
        sa.Column("score_6", sa.Double(), nullable=True),
        sa.Column("score_7", sa.Double(), nullable=True),
        sa.Column("score_8", sa.Double(), nullable=True),
        sa.Column("score_9", sa.Double(), nullable=True),
        sa.Column("score_10", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_items")),
        schema="otaku",
    )
    op.create_table(
        "quarantine",
        sa.Column("file_digest", sa.Text(), nullable=False),
        sa.Column("line", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("file_digest", "line", name=op.f("pk_quarantine")),
        schema="otaku",
    )
    op.create_index("ix_quarantine_reason", "quarantine", ["reason"], unique=False, schema="otaku")
    op.create_table(
        "users",
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("arrived_on", sa.Date(), nullable=True),
        sa.Column("batch_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_users")),
        schema="otaku",
    )
    op.create_index(op.f("ix_users_arrived_on"), "users", ["arrived_on"], unique=False, schema="otaku")
    op.create_table(
        "ratings",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column("rating", sa.SmallInteger(), nullable=False),
        sa.CheckConstraint("rating BETWEEN 1 AND 10", name=op.f("ck_ratings_rating_range")),
        sa.ForeignKeyConstraint(["item_id"], ["otaku.items.item_id"], name=op.f("fk_ratings_item_id")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["otaku.users.user_id"], name=op.f("fk_ratings_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "item_id", name=op.f("pk_ratings")),
        schema="otaku",
    )
    op.create_table(
        "user_preferences",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("n_ratings", sa.Integer(), nullable=False),
        sa.Column("mean_rating", sa.Double(), nullable=False),
        sa.Column("genre_shares", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["otaku.users.user_id"], name=op.f("fk_user_preferences_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_user_preferences")),
        schema="otaku",
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("user_preferences", schema="otaku")
    op.drop_table("ratings", schema="otaku")
    op.drop_index(op.f("ix_users_arrived_on"), table_name="users", schema="otaku")
    op.drop_table("users", schema="otaku")
    op.drop_index("ix_quarantine_reason", table_name="quarantine", schema="otaku")
    op.drop_table("quarantine", schema="otaku")
    op.drop_table("items", schema="otaku")
    op.drop_table("future_users", schema="otaku")
    op.drop_index(op.f("ix_feedback_user_id"), table_name="feedback", schema="otaku")
    op.drop_table("feedback", schema="otaku")
    op.drop_table("decisions", schema="otaku")
    op.drop_table("arrivals", schema="otaku")
    op.drop_table("api_keys", schema="otaku")
