"""record the runs of jobs, and name the oldest code that can work with the tables"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0011"
down_revision: str | Sequence[str] | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None
# Only adds: code that knows the migrations up to this one works with the tables still.
oldest_code: str = "0010"


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "job_runs",
        sa.Column("job_run_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("trace_id", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("outcome IN ('succeeded', 'failed', 'skipped')", name=op.f("ck_job_runs_outcome")),
        sa.PrimaryKeyConstraint("job_run_id", name=op.f("pk_job_runs")),
        schema="otaku",
    )
    op.create_index("ix_job_runs_job", "job_runs", ["job", "ended_at"], unique=False, schema="otaku")
    op.create_table(
        "schema_compatibility",
        sa.Column("oldest_code", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("oldest_code", name=op.f("pk_schema_compatibility")),
        schema="otaku",
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("schema_compatibility", schema="otaku")
    op.drop_index("ix_job_runs_job", table_name="job_runs", schema="otaku")
    op.drop_table("job_runs", schema="otaku")
