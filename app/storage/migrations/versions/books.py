"""What moved money or shares besides executions, and how comparisons with the venue ended.

Revision: books
"""

import sqlalchemy as sa
from alembic import op

from app.storage.columns import ExactDecimal, Instant, Json, Words

revision = "books"
down_revision = "audit"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds two tables; books opened before were begun with what their cycles knew."""
    op.add_column("account", sa.Column("had_past", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "cash_entries",
        sa.Column("activity_id", Words(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("word", Words(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("effective_at", Instant(), nullable=True),
        sa.Column("amount", ExactDecimal(), nullable=False),
        sa.Column("symbol", Words(), nullable=True),
        sa.Column("quantity", ExactDecimal(), nullable=False),
        sa.Column("price", ExactDecimal(), nullable=True),
        sa.Column("description", Words(), nullable=False),
        sa.Column("booked_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("activity_id", name=op.f("pk_cash_entries")),
    )
    op.create_index(op.f("ix_cash_entries_at"), "cash_entries", ["at"])
    op.create_index(op.f("ix_cash_entries_effective_at"), "cash_entries", ["effective_at"])
    op.create_table(
        "reconciliations",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("recorded_at", Instant(), nullable=False),
        sa.Column("trigger", Words(), nullable=False),
        sa.Column("fills", sa.Integer(), nullable=False),
        sa.Column("adopted", Json(), nullable=False),
        sa.Column("explained", Json(), nullable=False),
        sa.Column("unexplained", Json(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliations")),
    )


def downgrade() -> None:
    """Takes them away again; what they moved stays in cash and positions until the next fold."""
    op.drop_table("reconciliations")
    op.drop_table("cash_entries")
    op.drop_column("account", "had_past")
