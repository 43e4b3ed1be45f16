"""Packed copies of bars.

Revision: bar_blocks
"""

import sqlalchemy as sa
from alembic import op

from app.storage.columns import Words

revision = "bar_blocks"
down_revision = "research"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds its table."""
    op.create_table(
        "bar_blocks",
        sa.Column("symbol", Words(), nullable=False),
        sa.Column("timeframe", Words(), nullable=False),
        sa.Column("first", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("symbol", "timeframe", "first", name=op.f("pk_bar_blocks")),
    )


def downgrade() -> None:
    """Takes it away again."""
    op.drop_table("bar_blocks")
