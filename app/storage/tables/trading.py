"""Cycles, what they decided, the orders that came of it and their executions."""

from __future__ import annotations

from sqlalchemy import Column, Double, ForeignKey, Index, Integer, Table

from app.domain.order import OrderType, Purpose, Side, TimeInForce
from app.domain.order_state import OrderState
from app.domain.records import CycleState, IntentOrigin
from app.storage.columns import ExactDecimal, Instant, Json, Word, Words
from app.storage.tables.metadata import METADATA

CYCLES = Table(
    "cycles",
    METADATA,
    Column("cycle_id", Words, primary_key=True),
    Column("slot", Instant, nullable=False, index=True),
    Column("state", Word(CycleState), nullable=False, index=True),
    Column("trigger", Words, nullable=False),
    Column("owner", Words, nullable=False),
    Column("started_at", Instant, nullable=False, index=True),
    Column("finished_at", Instant),
    Column("decided_at", Instant),
    Column("outcome", Words),
    Column("detail", Words, nullable=False),
    Column("timings", Json, nullable=False),
    Column("inputs", Json),
)

DECISIONS = Table(
    "decisions",
    METADATA,
    Column("cycle_id", Words, ForeignKey("cycles.cycle_id"), primary_key=True),
    Column("symbol", Words, primary_key=True),
    Column("decided_at", Instant, nullable=False, index=True),
    Column("reason", Words, nullable=False),
    Column("side", Word(Side)),
    Column("quantity", ExactDecimal),
    Column("held_quantity", ExactDecimal, nullable=False),
    Column("price", Double),
    Column("expected_return", Double),
    Column("confidence", Double),
    Column("volatility", Double),
    Column("members", Json, nullable=False),
    Column("sizing", Json, nullable=False),
    Column("sizing_bound", Words),
    Column("detail", Words, nullable=False),
    Index(None, "symbol", "decided_at"),
)

INTENTS = Table(
    "intents",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("client_order_id", Words, nullable=False, unique=True),
    Column("cycle_id", Words, ForeignKey("cycles.cycle_id"), index=True),
    Column("origin", Word(IntentOrigin), nullable=False),
    Column("state", Word(OrderState), nullable=False, index=True),
    Column("symbol", Words, nullable=False, index=True),
    Column("side", Word(Side), nullable=False),
    Column("quantity", ExactDecimal, nullable=False),
    Column("purpose", Word(Purpose), nullable=False),
    Column("reason", Words, nullable=False),
    Column("type", Word(OrderType), nullable=False),
    Column("time_in_force", Word(TimeInForce), nullable=False),
    Column("limit_price", ExactDecimal),
    Column("stop_price", ExactDecimal),
    Column("take_profit_price", ExactDecimal),
    Column("stop_loss_price", ExactDecimal),
    Column("expires_at", Instant),
    Column("attempt", Integer, nullable=False),
    Column("venue_order_id", Words, unique=True),
    Column("parent_id", Words, ForeignKey("intents.client_order_id"), index=True),
    Column("filled_quantity", ExactDecimal, nullable=False),
    Column("filled_average_price", ExactDecimal),
    Column("created_at", Instant, nullable=False),
    Column("sent_at", Instant),
    Column("updated_at", Instant, nullable=False),
    Column("error", Words),
    Column("source", Words),
    Column("booked_quantity", ExactDecimal, nullable=False),
    Column("missed_at", Instant),
    Column("pending_since", Instant),
    Column("told_at", Instant),
)

# Every id the venue ever knew an order by: one whose terms were changed there gets a new one.
VENUE_ORDER_IDS = Table(
    "venue_order_ids",
    METADATA,
    Column("venue_order_id", Words, primary_key=True),
    Column("client_order_id", Words, ForeignKey("intents.client_order_id"), nullable=False, index=True),
)

FILLS = Table(
    "fills",
    METADATA,
    Column("execution_id", Words, primary_key=True),
    Column("venue_order_id", Words, nullable=False, index=True),
    Column("symbol", Words, nullable=False),
    Column("side", Word(Side), nullable=False),
    Column("quantity", ExactDecimal, nullable=False),
    Column("price", ExactDecimal, nullable=False),
    Column("commission", ExactDecimal, nullable=False),
    Column("filled_at", Instant, nullable=False),
    Column("booked_at", Instant, nullable=False),
    Column("reverses", Words, index=True, unique=True),
    Index(None, "filled_at", "execution_id"),
    Index(None, "symbol", "filled_at"),
)
