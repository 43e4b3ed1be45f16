"""The version of the product that works on the database.

Revision: build
"""

import sqlalchemy as sa
from alembic import op

from app.storage.columns import Instant, Words

revision = "build"
down_revision = "books"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds its table."""
    op.create_table(
        "build",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", Words(), nullable=False),
        sa.Column("since", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_build")),
    )


def downgrade() -> None:
    """Takes it away again."""
    op.drop_table("build")
