"""Every configuration ever evaluated, the verdicts, and what people decided against them.

Revision: trials
"""

import sqlalchemy as sa
from alembic import op

from app.domain.verdict import Level
from app.storage.columns import Instant, Json, Word, Words

revision = "trials"
down_revision = "build"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds its tables."""
    op.create_table(
        "data_sets",
        sa.Column("digest", Words(), nullable=False),
        sa.Column("symbols", Words(), nullable=False),
        sa.Column("timeframe", Words(), nullable=False),
        sa.Column("start", Instant(), nullable=False),
        sa.Column("end", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_data_sets")),
    )
    op.create_index(op.f("ix_data_sets_timeframe"), "data_sets", ["timeframe"])
    op.create_table(
        "trials",
        sa.Column("trial_id", Words(), nullable=False),
        sa.Column("dataset", Words(), nullable=False),
        sa.Column("configuration", Words(), nullable=False),
        sa.Column("strategy", Words(), nullable=False),
        sa.Column("values", Json(), nullable=False),
        sa.Column("setup", Json(), nullable=False),
        sa.Column("source", Words(), nullable=False),
        sa.Column("evaluated_at", Instant(), nullable=False),
        sa.Column("observations", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Double(), nullable=False) for name in ("mean", "deviation", "skewness", "kurtosis")),
        *(sa.Column(name, sa.Double(), nullable=False) for name in ("sharpe_ratio", "t_statistic")),
        sa.Column("figures", Json(), nullable=False),
        sa.ForeignKeyConstraint(["dataset"], ["data_sets.digest"], name=op.f("fk_trials_dataset_data_sets")),
        sa.PrimaryKeyConstraint("trial_id", name=op.f("pk_trials")),
    )
    op.create_index("ix_trials_dataset_strategy", "trials", ["dataset", "strategy"])
    op.create_table(
        "verdicts",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("settings", Words(), nullable=False),
        sa.Column("strategy", Words(), nullable=False),
        sa.Column("values", Json(), nullable=False),
        sa.Column("dataset", Words(), nullable=False),
        sa.Column("backtest_id", Words(), nullable=True),
        sa.Column("trials", sa.Integer(), nullable=False),
        sa.Column("level", Word(Level), nullable=False),
        sa.Column("checks", Json(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verdicts")),
    )
    op.create_index(op.f("ix_verdicts_settings"), "verdicts", ["settings"])
    op.create_index(op.f("ix_verdicts_backtest_id"), "verdicts", ["backtest_id"])
    op.create_table(
        "verdict_overrides",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("settings", Words(), nullable=False),
        sa.Column("strategy", Words(), nullable=False),
        sa.Column("values", Json(), nullable=False),
        sa.Column("last_verdict", sa.Integer(), nullable=False),
        sa.Column("actor", Words(), nullable=False),
        sa.Column("reason", Words(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verdict_overrides")),
    )
    op.create_index(op.f("ix_verdict_overrides_settings"), "verdict_overrides", ["settings"])


def downgrade() -> None:
    """Takes them away again."""
    for table in ("verdict_overrides", "verdicts", "trials", "data_sets"):
        op.drop_table(table)
