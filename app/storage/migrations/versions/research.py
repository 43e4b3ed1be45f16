"""Runs of research, their chunks, and what searches found.

Revision: research
"""

import sqlalchemy as sa
from alembic import op

from app.domain.research import ChunkState, RunState
from app.storage.columns import Instant, Json, Word, Words

revision = "research"
down_revision = "trials"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the three tables."""
    op.create_table(
        "research_runs",
        sa.Column("run_id", Words(), nullable=False),
        sa.Column("kind", Words(), nullable=False),
        sa.Column("state", Word(RunState), nullable=False),
        sa.Column("request", Json(), nullable=False),
        sa.Column("dataset", Words(), nullable=False),
        sa.Column("chunks", sa.Integer(), nullable=False),
        sa.Column("result", Json()),
        sa.Column("error", Words()),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("finished_at", Instant()),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_research_runs")),
    )
    op.create_index(op.f("ix_research_runs_created_at"), "research_runs", ["created_at"])
    op.create_table(
        "research_chunks",
        sa.Column("run_id", Words(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", Word(ChunkState), nullable=False),
        sa.Column("params", Json(), nullable=False),
        sa.Column("owner", Words(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("renewed_at", Instant()),
        sa.Column("result", Json()),
        sa.ForeignKeyConstraint(["run_id"], ["research_runs.run_id"], name=op.f("fk_research_chunks_run_id")),
        sa.PrimaryKeyConstraint("run_id", "number", name=op.f("pk_research_chunks")),
    )
    op.create_table(
        "optimizer_results",
        sa.Column("run_id", Words(), nullable=False),
        sa.Column("rank", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("strategy", Words(), nullable=False),
        sa.Column("parameters", Json(), nullable=False),
        sa.Column("total_return", sa.Double()),
        sa.Column("max_drawdown", sa.Double()),
        sa.Column("sharpe", sa.Double()),
        sa.Column("win_rate", sa.Double()),
        sa.Column("is_best", sa.Boolean(), nullable=False),
        sa.Column("figures", Json(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "rank", name=op.f("pk_optimizer_results")),
    )
    op.create_index(op.f("ix_optimizer_results_created_at"), "optimizer_results", ["created_at"])


def downgrade() -> None:
    """Takes them away."""
    op.drop_table("optimizer_results")
    op.drop_table("research_chunks")
    op.drop_table("research_runs")
