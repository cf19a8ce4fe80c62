"""let the ledger name the model, and store requests for approval"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0006"
down_revision: str | Sequence[str] | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply the change; rows of the ledger are never changed, so that earlier ones name no model."""
    op.add_column("decisions", sa.Column("model_name", sa.Text(), nullable=True), schema="otaku")
    op.create_table(
        "approval_requests",
        sa.Column("run_key", sa.Text(), nullable=False),
        sa.Column("model_name", sa.Text(), nullable=False),
        sa.Column("challenger_version", sa.Integer(), nullable=False),
        sa.Column("champion_version", sa.Integer(), nullable=True),
        sa.Column("decision", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("run_key", name=op.f("pk_approval_requests")),
        schema="otaku",
    )


def downgrade() -> None:
    """Take the change back, with what was stored through it."""
    op.drop_table("approval_requests", schema="otaku")
    op.drop_column("decisions", "model_name", schema="otaku")
