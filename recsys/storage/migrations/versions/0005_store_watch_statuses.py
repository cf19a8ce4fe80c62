"""store watch statuses, and let feedback name a title as seen or planned"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | Sequence[str] | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_KINDS = "'impression', 'click', 'rating', 'dismissal'"
_OPINIONS = "'rating', 'dismissal'"


def upgrade() -> None:
    """Apply the change; everything that was allowed stays allowed, so that earlier code goes on working."""
    op.create_table(
        "watch_statuses",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "status IN ('completed', 'watching', 'on_hold', 'dropped', 'planned')",
            name=op.f("ck_watch_statuses_status"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["otaku.users.user_id"], name=op.f("fk_watch_statuses_user_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["item_id"], ["otaku.items.item_id"], name=op.f("fk_watch_statuses_item_id")),
        sa.PrimaryKeyConstraint("user_id", "item_id", name=op.f("pk_watch_statuses")),
        schema="otaku",
    )
    op.add_column(
        "future_users",
        sa.Column("status_item_ids", sa.ARRAY(sa.BigInteger()), server_default=sa.text("'{}'"), nullable=False),
        schema="otaku",
    )
    op.add_column(
        "future_users",
        sa.Column("statuses", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        schema="otaku",
    )
    _replace_kinds(f"{_KINDS}, 'seen', 'plan'", f"{_OPINIONS}, 'seen', 'plan'")


def downgrade() -> None:
    """Take the change back, with what was stored through it."""
    op.execute("DELETE FROM otaku.feedback WHERE kind IN ('seen', 'plan')")
    _replace_kinds(_KINDS, _OPINIONS)
    for name in ("statuses", "status_item_ids"):
        op.drop_column("future_users", name, schema="otaku")
    op.drop_table("watch_statuses", schema="otaku")


def _replace_kinds(kinds: str, opinions: str) -> None:
    op.drop_constraint(op.f("ck_feedback_kind"), "feedback", schema="otaku", type_="check")
    op.create_check_constraint(op.f("ck_feedback_kind"), "feedback", f"kind IN ({kinds})", schema="otaku")
    op.drop_index("ix_feedback_opinions", table_name="feedback", schema="otaku")
    op.create_index(
        "ix_feedback_opinions",
        "feedback",
        ["user_id"],
        schema="otaku",
        postgresql_where=sa.text(f"kind IN ({opinions})"),
    )
