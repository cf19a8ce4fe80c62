"""add feedback folds and drift reports"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0004"
down_revision: str | Sequence[str] | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "feedback_folds",
        sa.Column("last_feedback_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("n_feedback", sa.Integer(), nullable=False),
        sa.Column("n_ratings", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("last_feedback_id", name=op.f("pk_feedback_folds")),
        schema="otaku",
    )
    op.create_index(op.f("ix_feedback_folds_day"), "feedback_folds", ["day"], schema="otaku")
    op.create_table(
        "drift_reports",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("model_version", sa.Integer(), nullable=False),
        sa.Column("breached", sa.Boolean(), nullable=False),
        sa.Column("retraining_wanted", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("report", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("report_uri", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_drift_reports")),
        schema="otaku",
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("drift_reports", schema="otaku")
    op.drop_index(op.f("ix_feedback_folds_day"), "feedback_folds", schema="otaku")
    op.drop_table("feedback_folds", schema="otaku")
