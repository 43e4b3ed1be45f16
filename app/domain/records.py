"""What the ledger remembers, as values: rows leave the database in these shapes and no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from app.domain.order import Fill, Order, OrderType, Purpose, Side, TimeInForce
from app.domain.order_state import TERMINAL, OrderState


class ClaimOutcome(StrEnum):
    """Answer to a worker that wants to run a cycle; only `claimed` may go on."""

    CLAIMED = "claimed"
    ALREADY_DONE = "already_done"
    ALREADY_RUNNING = "already_running"
    OVERLAP = "overlap"


class CycleState(StrEnum):
    """running until finished; abandoned when its worker died or stalled and another cycle took over."""

    RUNNING = "running"
    DONE = "done"
    ABANDONED = "abandoned"


class IntentOrigin(StrEnum):
    """decision: ours. leg: a bracket's protective order made by the venue. external: placed by a person at the venue."""

    DECISION = "decision"
    LEG = "leg"
    EXTERNAL = "external"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryOrder:
    """An entry that a cycle decided. filled_at: its last execution, None where it only may fill."""

    client_order_id: str
    cycle_id: str
    symbol: str
    filled_at: datetime | None = None


class TaskState(StrEnum):
    """Where a long-running task stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityPoint:
    """Account value at the end of a cycle, account currency. equity = cash + positions_value;
    venue_equity: what the venue says it is."""

    at: datetime
    cash: Decimal
    positions_value: Decimal
    equity: Decimal
    venue_equity: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleRecord:
    """One run of the trading pipeline. slot, decided_at: venue time; started_at, finished_at: wall time.
    timings: seconds per stage. inputs: what the decision saw, for replay; only filled where one cycle is asked for."""

    cycle_id: str
    slot: datetime
    state: CycleState
    trigger: str
    owner: str
    started_at: datetime
    finished_at: datetime | None
    decided_at: datetime | None
    outcome: str | None
    detail: str
    timings: Mapping[str, float]
    inputs: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """Why one symbol was or was not traded in one cycle. reason: the code of `Reason`. Unknown numbers are None."""

    cycle_id: str
    symbol: str
    decided_at: datetime
    reason: str
    side: Side | None
    quantity: Decimal | None
    held_quantity: Decimal
    price: float | None
    expected_return: float | None
    confidence: float | None
    volatility: float | None
    members: Sequence[float | None]
    sizing: Mapping[str, float | None]
    sizing_bound: str | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentRecord:
    """An order as the ledger knows it. cycle_id: None for orders that no cycle made; source: who asked for those that are
    ours all the same (exit, manual, ...). parent_id: the client order id of the bracket entry a leg belongs to. attempt: how
    often it was claimed for sending; the number of the last claim is its fence. booked_quantity: units of the executions
    booked, which may lag behind filled_quantity, what reports tell. missed_at: venue time of the first look-up that did
    not find it. pending_since: since when the venue has been asked for something it has not carried out."""

    client_order_id: str
    cycle_id: str | None
    origin: IntentOrigin
    state: OrderState
    symbol: str
    side: Side
    quantity: Decimal
    purpose: Purpose
    reason: str
    type: OrderType
    time_in_force: TimeInForce
    limit_price: Decimal | None
    stop_price: Decimal | None
    take_profit_price: Decimal | None
    stop_loss_price: Decimal | None
    expires_at: datetime | None
    attempt: int
    venue_order_id: str | None
    parent_id: str | None
    filled_quantity: Decimal
    filled_average_price: Decimal | None
    created_at: datetime
    sent_at: datetime | None
    updated_at: datetime
    error: str | None
    source: str | None = None
    booked_quantity: Decimal = Decimal(0)
    missed_at: datetime | None = None
    pending_since: datetime | None = None
    told_at: datetime | None = None

    @property
    def is_settled(self) -> bool:
        """Whether the order can no longer change but by a late execution."""
        return self.state in TERMINAL

    @property
    def is_protective(self) -> bool:
        """Whether it rests at the venue to protect a holding: a leg, or the OCO it is one of."""
        return self.origin is IntentOrigin.LEG or (self.purpose is Purpose.EXIT and self.take_profit_price is not None)

    def order(self) -> Order:
        """The order as decided. Raises InvalidInput for a venue's order without a quantity."""
        return Order(
            client_order_id=self.client_order_id,
            symbol=self.symbol,
            side=self.side,
            quantity=self.quantity,
            purpose=self.purpose,
            reason=self.reason,
            type=self.type,
            time_in_force=self.time_in_force,
            limit_price=self.limit_price,
            stop_price=self.stop_price,
            take_profit_price=self.take_profit_price,
            stop_loss_price=self.stop_loss_price,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """What a commit made of its orders. refusals: the rule that left no room, by client order id; those are kept as
    rejected and can never be sent."""

    refusals: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FillRecord:
    """A booked execution with the order it belongs to; the order's columns are None where we know no such order."""

    fill: Fill
    client_order_id: str | None
    purpose: Purpose | None
    reason: str | None
    origin: IntentOrigin | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRecord:
    """The one account this database keeps. opened_at: venue time from which fills move cash and positions. had_past: it had
    holdings, orders, or a history of ours that these books did not know."""

    account_id: str
    opened_at: datetime
    opening_cash: Decimal
    had_past: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciliationRecord:
    """How a comparison of the books ended. at: venue time. adopted, explained: what was taken over, as sentences by what it
    is about. unexplained: rows of subject, ours, theirs, difference."""

    id: int
    at: datetime
    recorded_at: datetime
    trigger: str
    fills: int
    adopted: Sequence[Mapping[str, str]]
    explained: Sequence[Mapping[str, str]]
    unexplained: Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskEvent:
    """A change of the risk state. state: the whole state after it, as plain JSON values."""

    epoch: int
    at: datetime
    trading_state: str
    previous_state: str | None
    cause: str
    actor: str
    detail: str
    state: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """A long-running task. done of total: its progress, in units of the task's own; wall times."""

    task_id: str
    kind: str
    state: TaskState
    params: Mapping[str, Any]
    done: int
    total: int
    message: str
    result: Mapping[str, Any] | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right of one process to do a piece of work alone. owner: empty when it was given back. fence: grows with every
    new owner. status: what the owner told when it last renewed it. Wall times."""

    name: str
    owner: str
    fence: int
    taken_at: datetime
    renewed_at: datetime
    status: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxMessage:
    """Something to tell people, committed together with what it tells. attempts: failed deliveries so far."""

    id: int
    kind: str
    message: str
    payload: Mapping[str, Any]
    created_at: datetime
    attempts: int
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestRecord:
    """A finished backtest. params: what was asked. performance: its headline figures. result: curves and trades, only
    filled where one backtest is asked for."""

    backtest_id: str
    created_at: datetime
    params: Mapping[str, Any]
    performance: Mapping[str, Any]
    result: Mapping[str, Any] | None = None
