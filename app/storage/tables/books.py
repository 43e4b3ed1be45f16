"""The account: cash, holdings, equity, how holdings are left, and the state of risk."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Double, ForeignKey, Integer, Table, false

from app.domain.activity import ActivityKind
from app.storage.columns import ExactDecimal, Instant, Json, Word, Words
from app.storage.tables.metadata import METADATA

# The one account: its opening, and the fold of cash_entries and fills since (cash, realized; `positions`).
ACCOUNT = Table(
    "account",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("account_id", Words, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("opening_cash", ExactDecimal, nullable=False),
    Column("cash", ExactDecimal, nullable=False),
    Column("realized", ExactDecimal, nullable=False),
    Column("fills_listed_at", Instant),  # venue time by which every execution was asked for
    Column("had_past", Boolean, nullable=False, server_default=false()),  # not empty when these books began
)

# What else moved money or shares, by the venue's id. effective_at: when it counts; NULL: part of the opening.
CASH_ENTRIES = Table(
    "cash_entries",
    METADATA,
    Column("activity_id", Words, primary_key=True),
    Column("kind", Word(ActivityKind), nullable=False),
    Column("word", Words, nullable=False),
    Column("at", Instant, nullable=False, index=True),
    Column("effective_at", Instant, index=True),
    Column("amount", ExactDecimal, nullable=False),
    Column("symbol", Words),
    Column("quantity", ExactDecimal, nullable=False),
    Column("price", ExactDecimal),
    Column("description", Words, nullable=False),
    Column("booked_at", Instant, nullable=False),
)

# How each comparison of our books with the venue's ended.
RECONCILIATIONS = Table(
    "reconciliations",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    Column("trigger", Words, nullable=False),
    Column("fills", Integer, nullable=False),
    Column("adopted", Json, nullable=False),
    Column("explained", Json, nullable=False),
    Column("unexplained", Json, nullable=False),
)

POSITIONS = Table(
    "positions",
    METADATA,
    Column("symbol", Words, primary_key=True),
    Column("quantity", ExactDecimal, nullable=False),
    Column("average_entry_price", ExactDecimal, nullable=False),
    Column("opened_at", Instant),
)

# Holdings taken over from the venue as they stood at `at`, without the fills that made them.
ADOPTIONS = Table(
    "adoptions",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("symbol", Words, nullable=False),
    Column("quantity", ExactDecimal, nullable=False),
    Column("average_entry_price", ExactDecimal, nullable=False),
    Column("opened_at", Instant),
)

EQUITY_CURVE = Table(
    "equity_curve",
    METADATA,
    Column("cycle_id", Words, ForeignKey("cycles.cycle_id"), primary_key=True),
    Column("at", Instant, nullable=False, index=True),
    Column("cash", ExactDecimal, nullable=False),
    Column("positions_value", ExactDecimal, nullable=False),
    Column("equity", ExactDecimal, nullable=False),
    Column("venue_equity", ExactDecimal),
)

# How each holding is going to be left. stop, best, ...: as in `Progress`; the prices are its levels, NULL for none.
POSITION_PLANS = Table(
    "position_plans",
    METADATA,
    Column("symbol", Words, primary_key=True),
    Column("opened_at", Instant),
    Column("updated_at", Instant, nullable=False),
    Column("initial_stop", Double, nullable=False),
    Column("best", Double, nullable=False),
    Column("stop", Double, nullable=False),
    Column("partial_taken", Double, nullable=False),
    Column("stop_price", ExactDecimal),
    Column("target_price", ExactDecimal),
    Column("partial_price", ExactDecimal),
)

RISK_STATE = Table(
    "risk_state",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Integer, nullable=False),
    Column("trading_state", Words, nullable=False),
    Column("cause", Words, nullable=False),
    Column("actor", Words, nullable=False),
    Column("since", Instant, nullable=False),
    Column("until", Instant),
    Column("baseline_equity", ExactDecimal, nullable=False),
    Column("baseline_session", Words, nullable=False),
    Column("high_water_equity", ExactDecimal, nullable=False),
    Column("suspected_at", Instant),
    Column("steady_readings", Integer, nullable=False, server_default="3"),
    Column("doubted_equity", ExactDecimal),
    Column("disabled_symbols", Words, nullable=False, server_default=""),  # apart by spaces
)

RISK_EVENTS = Table(
    "risk_events",
    METADATA,
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False, index=True),
    Column("trading_state", Words, nullable=False),
    Column("previous_state", Words),
    Column("cause", Words, nullable=False),
    Column("actor", Words, nullable=False),
    Column("detail", Words, nullable=False),
    Column("state", Json, nullable=False),
)
