"""The ledger's first schema.

Revision: initial
"""

import sqlalchemy as sa
from alembic import op

from app.storage.columns import ExactDecimal, Instant, Json, Words

revision = "initial"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates every table."""
    _create_market()
    _create_cycles()
    _create_account()
    _create_work()


def downgrade() -> None:
    """Drops every table, and with them the whole ledger."""
    for table in reversed(_TABLES):
        op.drop_table(table)


_TABLES = (
    "bars",
    "model_runs",
    "backtests",
    "cycles",
    "decisions",
    "intents",
    "fills",
    "account",
    "positions",
    "adoptions",
    "equity_curve",
    "risk_state",
    "risk_events",
    "tasks",
    "outbox",
)


def _create_market() -> None:
    """Bars, models and backtests."""
    op.create_table(
        "bars",
        sa.Column("symbol", Words(), nullable=False),
        sa.Column("timeframe", Words(), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("known_at", sa.BigInteger(), nullable=False),
        sa.Column("open", sa.Double(), nullable=True),
        sa.Column("high", sa.Double(), nullable=True),
        sa.Column("low", sa.Double(), nullable=True),
        sa.Column("close", sa.Double(), nullable=True),
        sa.Column("volume", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("symbol", "timeframe", "timestamp", name=op.f("pk_bars")),
        sqlite_with_rowid=False,
    )
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
    op.create_table(
        "backtests",
        sa.Column("backtest_id", Words(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("params", Json(), nullable=False),
        sa.Column("performance", Json(), nullable=False),
        sa.Column("result", Json(), nullable=False),
        sa.PrimaryKeyConstraint("backtest_id", name=op.f("pk_backtests")),
    )
    op.create_index(op.f("ix_backtests_created_at"), "backtests", ["created_at"])


def _create_cycles() -> None:
    """What was decided and ordered, and what came of it."""
    op.create_table(
        "cycles",
        sa.Column("cycle_id", Words(), nullable=False),
        sa.Column("slot", Instant(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("trigger", Words(), nullable=False),
        sa.Column("owner", Words(), nullable=False),
        sa.Column("started_at", Instant(), nullable=False),
        sa.Column("finished_at", Instant(), nullable=True),
        sa.Column("decided_at", Instant(), nullable=True),
        sa.Column("outcome", Words(), nullable=True),
        sa.Column("detail", Words(), nullable=False),
        sa.Column("timings", Json(), nullable=False),
        sa.Column("inputs", Json(), nullable=True),
        sa.PrimaryKeyConstraint("cycle_id", name=op.f("pk_cycles")),
    )
    op.create_index(op.f("ix_cycles_slot"), "cycles", ["slot"])
    op.create_index(op.f("ix_cycles_started_at"), "cycles", ["started_at"])
    op.create_index(op.f("ix_cycles_state"), "cycles", ["state"])
    op.create_table(
        "decisions",
        sa.Column("cycle_id", Words(), nullable=False),
        sa.Column("symbol", Words(), nullable=False),
        sa.Column("decided_at", Instant(), nullable=False),
        sa.Column("reason", Words(), nullable=False),
        sa.Column("side", sa.String(32), nullable=True),
        sa.Column("quantity", ExactDecimal(), nullable=True),
        sa.Column("held_quantity", ExactDecimal(), nullable=False),
        sa.Column("price", sa.Double(), nullable=True),
        sa.Column("expected_return", sa.Double(), nullable=True),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("volatility", sa.Double(), nullable=True),
        sa.Column("members", Json(), nullable=False),
        sa.Column("sizing", Json(), nullable=False),
        sa.Column("sizing_bound", Words(), nullable=True),
        sa.Column("detail", Words(), nullable=False),
        sa.ForeignKeyConstraint(["cycle_id"], ["cycles.cycle_id"], name=op.f("fk_decisions_cycle_id")),
        sa.PrimaryKeyConstraint("cycle_id", "symbol", name=op.f("pk_decisions")),
    )
    op.create_index(op.f("ix_decisions_decided_at"), "decisions", ["decided_at"])
    op.create_index(op.f("ix_decisions_symbol_decided_at"), "decisions", ["symbol", "decided_at"])
    op.create_table(
        "intents",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("client_order_id", Words(), nullable=False),
        sa.Column("cycle_id", Words(), nullable=True),
        sa.Column("origin", sa.String(32), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("symbol", Words(), nullable=False),
        sa.Column("side", sa.String(32), nullable=False),
        sa.Column("quantity", ExactDecimal(), nullable=False),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("reason", Words(), nullable=False),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("time_in_force", sa.String(32), nullable=False),
        sa.Column("limit_price", ExactDecimal(), nullable=True),
        sa.Column("stop_price", ExactDecimal(), nullable=True),
        sa.Column("take_profit_price", ExactDecimal(), nullable=True),
        sa.Column("stop_loss_price", ExactDecimal(), nullable=True),
        sa.Column("expires_at", Instant(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("venue_order_id", Words(), nullable=True),
        sa.Column("parent_id", Words(), nullable=True),
        sa.Column("filled_quantity", ExactDecimal(), nullable=False),
        sa.Column("filled_average_price", ExactDecimal(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("sent_at", Instant(), nullable=True),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.Column("error", Words(), nullable=True),
        sa.ForeignKeyConstraint(["cycle_id"], ["cycles.cycle_id"], name=op.f("fk_intents_cycle_id")),
        sa.ForeignKeyConstraint(["parent_id"], ["intents.client_order_id"], name=op.f("fk_intents_parent_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_intents")),
        sa.UniqueConstraint("client_order_id", name=op.f("uq_intents_client_order_id")),
        sa.UniqueConstraint("venue_order_id", name=op.f("uq_intents_venue_order_id")),
    )
    op.create_index(op.f("ix_intents_cycle_id"), "intents", ["cycle_id"])
    op.create_index(op.f("ix_intents_parent_id"), "intents", ["parent_id"])
    op.create_index(op.f("ix_intents_state"), "intents", ["state"])
    op.create_index(op.f("ix_intents_symbol"), "intents", ["symbol"])
    op.create_table(
        "fills",
        sa.Column("execution_id", Words(), nullable=False),
        sa.Column("venue_order_id", Words(), nullable=False),
        sa.Column("symbol", Words(), nullable=False),
        sa.Column("side", sa.String(32), nullable=False),
        sa.Column("quantity", ExactDecimal(), nullable=False),
        sa.Column("price", ExactDecimal(), nullable=False),
        sa.Column("commission", ExactDecimal(), nullable=False),
        sa.Column("filled_at", Instant(), nullable=False),
        sa.Column("booked_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("execution_id", name=op.f("pk_fills")),
    )
    op.create_index(op.f("ix_fills_filled_at_execution_id"), "fills", ["filled_at", "execution_id"])
    op.create_index(op.f("ix_fills_symbol_filled_at"), "fills", ["symbol", "filled_at"])
    op.create_index(op.f("ix_fills_venue_order_id"), "fills", ["venue_order_id"])


def _create_account() -> None:
    """Money, holdings and risk."""
    op.create_table(
        "account",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("account_id", Words(), nullable=False),
        sa.Column("opened_at", Instant(), nullable=False),
        sa.Column("opening_cash", ExactDecimal(), nullable=False),
        sa.Column("cash", ExactDecimal(), nullable=False),
        sa.Column("realized", ExactDecimal(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
    )
    op.create_table(
        "positions",
        sa.Column("symbol", Words(), nullable=False),
        sa.Column("quantity", ExactDecimal(), nullable=False),
        sa.Column("average_entry_price", ExactDecimal(), nullable=False),
        sa.Column("opened_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("symbol", name=op.f("pk_positions")),
    )
    op.create_table(
        "adoptions",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("symbol", Words(), nullable=False),
        sa.Column("quantity", ExactDecimal(), nullable=False),
        sa.Column("average_entry_price", ExactDecimal(), nullable=False),
        sa.Column("opened_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_adoptions")),
    )
    op.create_table(
        "equity_curve",
        sa.Column("cycle_id", Words(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("cash", ExactDecimal(), nullable=False),
        sa.Column("positions_value", ExactDecimal(), nullable=False),
        sa.Column("equity", ExactDecimal(), nullable=False),
        sa.Column("venue_equity", ExactDecimal(), nullable=True),
        sa.ForeignKeyConstraint(["cycle_id"], ["cycles.cycle_id"], name=op.f("fk_equity_curve_cycle_id")),
        sa.PrimaryKeyConstraint("cycle_id", name=op.f("pk_equity_curve")),
    )
    op.create_index(op.f("ix_equity_curve_at"), "equity_curve", ["at"])
    op.create_table(
        "risk_state",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("trading_state", Words(), nullable=False),
        sa.Column("cause", Words(), nullable=False),
        sa.Column("actor", Words(), nullable=False),
        sa.Column("since", Instant(), nullable=False),
        sa.Column("until", Instant(), nullable=True),
        sa.Column("baseline_equity", ExactDecimal(), nullable=False),
        sa.Column("baseline_session", Words(), nullable=False),
        sa.Column("high_water_equity", ExactDecimal(), nullable=False),
        sa.Column("suspected_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_risk_state")),
    )
    op.create_table(
        "risk_events",
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("trading_state", Words(), nullable=False),
        sa.Column("previous_state", Words(), nullable=True),
        sa.Column("cause", Words(), nullable=False),
        sa.Column("actor", Words(), nullable=False),
        sa.Column("detail", Words(), nullable=False),
        sa.Column("state", Json(), nullable=False),
        sa.PrimaryKeyConstraint("epoch", name=op.f("pk_risk_events")),
    )
    op.create_index(op.f("ix_risk_events_at"), "risk_events", ["at"])


def _create_work() -> None:
    """Long-running tasks and messages to people."""
    op.create_table(
        "tasks",
        sa.Column("task_id", Words(), nullable=False),
        sa.Column("kind", Words(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("params", Json(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("message", Words(), nullable=False),
        sa.Column("result", Json(), nullable=True),
        sa.Column("error", Words(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("started_at", Instant(), nullable=True),
        sa.Column("finished_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_tasks")),
    )
    op.create_index(op.f("ix_tasks_created_at"), "tasks", ["created_at"])
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("kind", Words(), nullable=False),
        sa.Column("message", Words(), nullable=False),
        sa.Column("payload", Json(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("sent_at", Instant(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", Words(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_index(op.f("ix_outbox_sent_at"), "outbox", ["sent_at"])
