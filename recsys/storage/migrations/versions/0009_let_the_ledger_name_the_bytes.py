"""let the ledger name the bytes of what it promotes"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | Sequence[str] | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply the change; rows of the ledger are never changed, so that earlier ones name no digest."""
    op.add_column("decisions", sa.Column("digest", sa.Text(), nullable=True), schema="otaku")


def downgrade() -> None:
    """Take the change back, with the digests that were recorded."""
    op.drop_column("decisions", "digest", schema="otaku")
