"""What the exits of each holding remember, and their levels.

Revision: exits
"""

import sqlalchemy as sa
from alembic import op

from app.storage.columns import ExactDecimal, Instant, Words

revision = "exits"
down_revision = "model_runs_gone"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the table; the first decision fills it."""
    op.create_table(
        "position_plans",
        sa.Column("symbol", Words(), nullable=False),
        sa.Column("opened_at", Instant(), nullable=True),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.Column("initial_stop", sa.Double(), nullable=False),
        sa.Column("best", sa.Double(), nullable=False),
        sa.Column("stop", sa.Double(), nullable=False),
        sa.Column("partial_taken", sa.Double(), nullable=False),
        sa.Column("stop_price", ExactDecimal(), nullable=True),
        sa.Column("target_price", ExactDecimal(), nullable=True),
        sa.Column("partial_price", ExactDecimal(), nullable=True),
        sa.PrimaryKeyConstraint("symbol", name=op.f("pk_position_plans")),
    )


def downgrade() -> None:
    """Takes it away again; stops then forget what they had reached."""
    op.drop_table("position_plans")
