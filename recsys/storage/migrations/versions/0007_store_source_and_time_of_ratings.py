"""store source and time of ratings and statuses"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | Sequence[str] | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_SOURCES = "'file', 'arrival', 'generated', 'registration', 'import', 'feedback'"
_TABLES = ("ratings", "watch_statuses")
# What the kind of an event says about a status.
_STATUSES = {"seen": "completed", "plan": "planned"}


def upgrade() -> None:
    """Apply the change; what came from registrations and feedback is found again, everything else counts as a file's."""
    for table in _TABLES:
        op.add_column(
            table, sa.Column("source", sa.Text(), server_default=sa.text("'file'"), nullable=False), schema="otaku"
        )
        op.add_column(
            table,
            sa.Column("given_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
            schema="otaku",
        )
        op.create_check_constraint(op.f(f"ck_{table}_source"), table, f"source IN ({_SOURCES})", schema="otaku")
    op.execute(
        "UPDATE otaku.ratings AS old SET source = 'registration', given_at = users.arrived_on "
        "FROM otaku.users AS users WHERE users.user_id = old.user_id AND users.batch_id = 'service'"
    )
    _mark_feedback("ratings", "rating", "rating", "kind = 'rating'")
    statuses = " ".join(f"WHEN '{kind}' THEN '{status}'" for kind, status in _STATUSES.items())
    _mark_feedback("watch_statuses", "status", f"CASE kind {statuses} END", "kind IN ('seen', 'plan')")


def _mark_feedback(table: str, column: str, value: str, condition: str) -> None:
    """Mark the rows that hold what the last event that was taken over says."""
    last = (
        f"SELECT DISTINCT ON (user_id, item_id) user_id, item_id, {value} AS value, created_at FROM otaku.feedback "  # noqa: S608
        f"WHERE {condition} AND feedback_id <= (SELECT coalesce(max(last_feedback_id), 0) FROM otaku.feedback_folds) "
        "ORDER BY user_id, item_id, feedback_id DESC"
    )
    op.execute(
        f"UPDATE otaku.{table} AS old SET source = 'feedback', given_at = said.created_at FROM ({last}) AS said "  # noqa: S608
        f"WHERE (old.user_id, old.item_id, old.{column}) = (said.user_id, said.item_id, said.value)"
    )


def downgrade() -> None:
    """Take the change back."""
    for table in _TABLES:
        op.drop_constraint(op.f(f"ck_{table}_source"), table, schema="otaku", type_="check")
        op.drop_column(table, "given_at", schema="otaku")
        op.drop_column(table, "source", schema="otaku")
