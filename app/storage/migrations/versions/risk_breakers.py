"""What the breakers remember between readings.

Revision: risk_breakers
"""

import sqlalchemy as sa
from alembic import op

from app.storage.columns import ExactDecimal, Words

revision = "risk_breakers"
down_revision = "initial"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Existing states were believed and had nothing disabled."""
    op.add_column("risk_state", sa.Column("steady_readings", sa.Integer(), nullable=False, server_default="3"))
    op.add_column("risk_state", sa.Column("doubted_equity", ExactDecimal(), nullable=True))
    op.add_column("risk_state", sa.Column("disabled_symbols", Words(), nullable=False, server_default=""))


def downgrade() -> None:
    """Forgets them."""
    with op.batch_alter_table("risk_state") as table:
        for column in ("disabled_symbols", "doubted_equity", "steady_readings"):
            table.drop_column(column)
