"""What was looked at for what it knows of the future, and what people decided against it.

Revision: lookahead_checks
"""

import sqlalchemy as sa
from alembic import op

from app.storage.columns import Instant, Words

revision = "lookahead_checks"
down_revision = "bar_blocks"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds its table."""
    op.create_table(
        "lookahead_checks",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("subject", Words(), nullable=False),
        sa.Column("content", Words(), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("leak", Words(), nullable=True),
        sa.Column("actor", Words(), nullable=False),
        sa.Column("reason", Words(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lookahead_checks")),
    )
    op.create_index(op.f("ix_lookahead_checks_content"), "lookahead_checks", ["content"])


def downgrade() -> None:
    """Takes it away again."""
    op.drop_table("lookahead_checks")
