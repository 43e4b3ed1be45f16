"""Which process alone does a piece of work; messages that killed whoever took them.

Revision: leases
"""

import sqlalchemy as sa
from alembic import op

from app.storage.columns import Instant, Json, Words

revision = "leases"
down_revision = "exits"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds both tables."""
    op.create_table(
        "leases",
        sa.Column("name", Words(), nullable=False),
        sa.Column("owner", Words(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("taken_at", Instant(), nullable=False),
        sa.Column("renewed_at", Instant(), nullable=False),
        sa.Column("status", Json(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "redeliveries",
        sa.Column("message_id", Words(), nullable=False),
        sa.Column("task", Words(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("last_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_redeliveries")),
    )


def downgrade() -> None:
    """Takes them away."""
    op.drop_table("redeliveries")
    op.drop_table("leases")
