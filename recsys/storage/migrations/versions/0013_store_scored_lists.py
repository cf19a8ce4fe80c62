"""store the list of every user that was made beforehand"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0013"
down_revision: str | Sequence[str] | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None
# Only adds: earlier code computes each list.
oldest_code: str = "0010"


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "scored_lists",
        sa.Column("model_name", sa.Text(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("k", sa.Integer(), nullable=False),
        sa.Column("user_digest", sa.Text(), nullable=False),
        sa.Column("adult", sa.Boolean(), nullable=False),
        sa.Column("item_ids", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("scores", postgresql.ARRAY(sa.REAL()), nullable=False),
        sa.Column("predicted_ratings", postgresql.ARRAY(sa.REAL()), nullable=False),
        sa.Column("watched_item_ids", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("watched_predictions", postgresql.ARRAY(sa.REAL()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["otaku.users.user_id"], name=op.f("fk_scored_lists_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("model_name", "user_id", name=op.f("pk_scored_lists")),
        schema="otaku",
    )
    op.create_index(op.f("ix_scored_lists_user_id"), "scored_lists", ["user_id"], schema="otaku")


def downgrade() -> None:
    """Take the change back; lists are computed again."""
    op.drop_table("scored_lists", schema="otaku")
