"""let idempotency keys belong to clients, for registrations too"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | Sequence[str] | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply the change; the keys of earlier feedback belong to clients without an API key."""
    op.add_column(
        "feedback", sa.Column("client", sa.Text(), server_default=sa.text("''"), nullable=False), schema="otaku"
    )
    op.drop_constraint(op.f("uq_feedback_idempotency_key"), "feedback", schema="otaku", type_="unique")
    op.create_unique_constraint(op.f("uq_feedback_client"), "feedback", ["client", "idempotency_key"], schema="otaku")
    op.create_table(
        "registrations",
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("content_digest", sa.Text(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["otaku.users.user_id"], name=op.f("fk_registrations_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("client", "idempotency_key", name=op.f("pk_registrations")),
        schema="otaku",
    )
    op.create_index(op.f("ix_registrations_user_id"), "registrations", ["user_id"], schema="otaku")


def downgrade() -> None:
    """Take the change back; of feedback of several clients with one key the first remains."""
    op.drop_table("registrations", schema="otaku")
    op.execute(
        "DELETE FROM otaku.feedback AS later USING otaku.feedback AS first "
        "WHERE later.idempotency_key = first.idempotency_key AND later.feedback_id > first.feedback_id"
    )
    op.drop_constraint(op.f("uq_feedback_client"), "feedback", schema="otaku", type_="unique")
    op.create_unique_constraint(op.f("uq_feedback_idempotency_key"), "feedback", ["idempotency_key"], schema="otaku")
    op.drop_column("feedback", "client", schema="otaku")
