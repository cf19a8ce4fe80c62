"""make the ledger append-only"""

from collections.abc import Sequence

from alembic import op

revision: str = "0002"
down_revision: str | Sequence[str] | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Refuse every change of what stands in `decisions`, also one that touches no row, also in a replica session."""
    op.execute("""
        CREATE FUNCTION otaku.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% on %.% is refused: it is append-only; add a new row that corrects the old one',
                TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
        END $$
    """)
    op.execute("""
        CREATE TRIGGER decisions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON otaku.decisions
        FOR EACH STATEMENT EXECUTE FUNCTION otaku.refuse_change()
    """)
    op.execute("ALTER TABLE otaku.decisions ENABLE ALWAYS TRIGGER decisions_append_only")
    op.execute("REVOKE UPDATE, DELETE, TRUNCATE ON otaku.decisions FROM PUBLIC")


def downgrade() -> None:
    """Take the change back."""
    op.execute("DROP TRIGGER decisions_append_only ON otaku.decisions")
    op.execute("DROP FUNCTION otaku.refuse_change()")
