"""store the first day of the queue of arrivals"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0012"
down_revision: str | Sequence[str] | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None
# Only adds: earlier code counts from 2026-01-05, as it did.
oldest_code: str = "0010"


def upgrade() -> None:
    """Apply the change; where users wait or have arrived, the queue has counted from 2026-01-05 and goes on so."""
    op.create_table(
        "arrival_queue",
        sa.Column("singleton", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("singleton", name=op.f("ck_arrival_queue_singleton")),
        sa.PrimaryKeyConstraint("singleton", name=op.f("pk_arrival_queue")),
        schema="otaku",
    )
    op.execute("""
        INSERT INTO otaku.arrival_queue (first_day) SELECT DATE '2026-01-05'
        WHERE EXISTS (SELECT FROM otaku.arrivals) OR EXISTS (SELECT FROM otaku.future_users)
    """)


def downgrade() -> None:
    """Take the change back; earlier code counts from 2026-01-05."""
    op.drop_table("arrival_queue", schema="otaku")
