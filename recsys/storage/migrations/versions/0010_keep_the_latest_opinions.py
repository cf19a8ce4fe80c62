"""keep the latest opinion of each user and title"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | Sequence[str] | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_LATEST = """
    INSERT INTO otaku.latest_opinions AS kept (user_id, item_id, subject, kind, rating, created_at, feedback_id)
    SELECT DISTINCT ON (user_id, item_id, subject) user_id, item_id, subject, kind, rating, created_at, feedback_id
    FROM (
        SELECT *, CASE WHEN kind IN ('seen', 'plan') THEN 'status' ELSE kind END AS subject
        FROM {source} WHERE kind IN ('rating', 'dismissal', 'seen', 'plan')
    ) AS opinions
    ORDER BY user_id, item_id, subject, created_at DESC, feedback_id DESC
    ON CONFLICT (user_id, item_id, subject) DO UPDATE
    SET kind = EXCLUDED.kind, rating = EXCLUDED.rating,
        created_at = EXCLUDED.created_at, feedback_id = EXCLUDED.feedback_id
    WHERE (EXCLUDED.created_at, EXCLUDED.feedback_id) > (kept.created_at, kept.feedback_id);
"""


def upgrade() -> None:
    """Apply the change: fill the table, and let the database keep it, whoever adds events."""
    op.create_table(
        "latest_opinions",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("rating", sa.SmallInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("feedback_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["otaku.users.user_id"], name=op.f("fk_latest_opinions_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "item_id", "subject", name=op.f("pk_latest_opinions")),
        schema="otaku",
    )
    op.execute("LOCK TABLE otaku.feedback IN SHARE ROW EXCLUSIVE MODE")
    op.execute(_LATEST.format(source="otaku.feedback"))
    op.execute(
        "CREATE FUNCTION otaku.keep_latest_opinions() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        + _LATEST.format(source="added")
        + " RETURN NULL; END $$"
    )
    op.execute("""
        CREATE TRIGGER feedback_keeps_latest_opinions AFTER INSERT ON otaku.feedback
        REFERENCING NEW TABLE AS added
        FOR EACH STATEMENT EXECUTE FUNCTION otaku.keep_latest_opinions()
    """)
    op.drop_index(op.f("ix_feedback_opinions"), "feedback", schema="otaku")


def downgrade() -> None:
    """Take the change back; everything is in `feedback` still."""
    op.create_index(
        op.f("ix_feedback_opinions"),
        "feedback",
        ["user_id"],
        schema="otaku",
        postgresql_where=sa.text("kind IN ('rating', 'dismissal', 'seen', 'plan')"),
    )
    op.execute("DROP TRIGGER feedback_keeps_latest_opinions ON otaku.feedback")
    op.execute("DROP FUNCTION otaku.keep_latest_opinions()")
    op.drop_table("latest_opinions", schema="otaku")
