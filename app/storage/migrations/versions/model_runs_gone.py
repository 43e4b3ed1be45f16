"""Trainings and tunings are told by their task records; the table that repeated them was never written.

Revision: model_runs_gone
"""

import sqlalchemy as sa
from alembic import op

from app.storage.columns import Instant, Json, Words

revision = "model_runs_gone"
down_revision = "order_safety"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drops the table."""
    op.drop_table("model_runs")


def downgrade() -> None:
    """Creates it again, empty as it was."""
    op.create_table(
        "model_runs",
        sa.Column("run_id", Words(), nullable=False),
        sa.Column("kind", Words(), nullable=False),
        sa.Column("symbol", Words(), nullable=False),
        sa.Column("outcome", Words(), nullable=False),
        sa.Column("finished_at", Instant(), nullable=False),
        sa.Column("duration_seconds", sa.Double(), nullable=False),
        sa.Column("data_until", Instant(), nullable=True),
        sa.Column("model", Words(), nullable=True),
        sa.Column("task_id", Words(), nullable=True),
        sa.Column("scores", Json(), nullable=False),
        sa.Column("params", Json(), nullable=False),
        sa.Column("detail", Words(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_model_runs")),
    )
    op.create_index(op.f("ix_model_runs_finished_at"), "model_runs", ["finished_at"])
    op.create_index(op.f("ix_model_runs_symbol_finished_at"), "model_runs", ["symbol", "finished_at"])
