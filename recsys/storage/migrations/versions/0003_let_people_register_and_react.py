"""let people register and react, and limit keys"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | Sequence[str] | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_CHECKS = {
    "rating_given": "(kind = 'rating') = (rating IS NOT NULL)",
    "rank_range": "rank >= 1",
    "propensity_range": "propensity > 0 AND propensity <= 1",
}


def upgrade() -> None:
    """Apply the change; feedback of people or titles that are not there was never shown to anybody and goes."""
    op.execute(sa.schema.CreateSequence(sa.Sequence("new_user_ids", start=2 * 10**12, schema="otaku")))
    op.execute("DELETE FROM otaku.feedback WHERE user_id NOT IN (SELECT user_id FROM otaku.users)")
    op.execute("DELETE FROM otaku.feedback WHERE item_id NOT IN (SELECT item_id FROM otaku.items)")
    for column, parent, ondelete in (("user_id", "users", "CASCADE"), ("item_id", "items", None)):
        op.create_foreign_key(
            op.f(f"fk_feedback_{column}"),
            "feedback",
            parent,
            [column],
            [column],
            source_schema="otaku",
            referent_schema="otaku",
            ondelete=ondelete,
        )
    for name, condition in _CHECKS.items():
        op.create_check_constraint(op.f(f"ck_feedback_{name}"), "feedback", condition, schema="otaku")
    op.create_index("ix_feedback_created_at", "feedback", ["created_at"], schema="otaku")
    op.create_index(
        "ix_feedback_opinions",
        "feedback",
        ["user_id"],
        schema="otaku",
        postgresql_where=sa.text("kind IN ('rating', 'dismissal')"),
    )
    op.add_column("api_keys", sa.Column("rate_limit", sa.Text(), nullable=True), schema="otaku")
    op.add_column("api_keys", sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True), schema="otaku")


def downgrade() -> None:
    """Take the change back."""
    op.drop_column("api_keys", "revoked_at", schema="otaku")
    op.drop_column("api_keys", "rate_limit", schema="otaku")
    op.drop_index("ix_feedback_opinions", table_name="feedback", schema="otaku")
    op.drop_index("ix_feedback_created_at", table_name="feedback", schema="otaku")
    for name in reversed(_CHECKS):
        op.drop_constraint(op.f(f"ck_feedback_{name}"), "feedback", schema="otaku", type_="check")
    for column in ("item_id", "user_id"):
        op.drop_constraint(op.f(f"fk_feedback_{column}"), "feedback", schema="otaku", type_="foreignkey")
    op.execute("DROP SEQUENCE otaku.new_user_ids")
