"""Values for the tests of the ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from app.domain.bar import DAILY, BarSeries
from app.domain.order import Fill, Order, OrderType, Purpose, Side, ValidatedOrder, VenueOrder
from app.domain.portfolio import Position
from app.domain.reason import Reason
from app.domain.records import Committed
from app.domain.trading_state import RiskState, TradingState
from app.engine.decision import Decision, SymbolRecord
from app.risk.limits import RiskLimits
from app.risk.reservations import Capacity
from app.services.database_service import DatabaseService

T0 = datetime(2024, 3, 1, 15, 0, tzinfo=UTC)
LATER = T0 + timedelta(minutes=5)
CASH = Decimal(10_000_000)


def after(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def order(name: str = "at-aapl-1", **changes: Any) -> Order:
    values: dict[str, Any] = {
        "client_order_id": name,
        "symbol": "AAPL",
        "side": Side.BUY,
        "quantity": Decimal(10),
        "purpose": Purpose.ENTRY,
        "reason": Reason.BUY_SIGNAL.code,
        "type": OrderType.LIMIT,
        "limit_price": Decimal("180.90"),
        "take_profit_price": Decimal(198),
        "stop_loss_price": Decimal(171),
    }
    return Order(**{**values, **changes})


def exit_order(name: str = "at-exit-1", **changes: Any) -> Order:
    market = {"type": OrderType.MARKET, "limit_price": None, "take_profit_price": None, "stop_loss_price": None}
    values = {"side": Side.SELL, "purpose": Purpose.EXIT, "reason": Reason.STOP_LOSS.code}
    return order(name, **{**market, **values, **changes})


def capacity(equity: int = 10_000_000, **limits: Any) -> Capacity:
    """What the venue says we are worth; room for everything unless limits are given."""
    wide = {"max_positions": 1000, "max_exposure_fraction": 1.0, "max_position_fraction": 1.0, "risk_per_trade_fraction": 1.0}
    return Capacity(equity=Decimal(equity), buying_power=Decimal(equity), prices={}, limits=RiskLimits(**{**wide, **limits}))


def risk(epoch: int = 0, **changes: Any) -> RiskState:
    values: dict[str, Any] = {
        "trading_state": TradingState.ACTIVE,
        "cause": "start",
        "actor": "system",
        "since": T0,
        "baseline_equity": Decimal("100000.00"),
        "baseline_session": "2024-03-01",
        "high_water_equity": Decimal("100000.00"),
        "epoch": epoch,
    }
    return RiskState(**{**values, **changes})


def record(symbol: str = "AAPL", **changes: Any) -> SymbolRecord:
    values: dict[str, Any] = {
        "symbol": symbol,
        "reason": Reason.HOLD_BELOW_THRESHOLD,
        "price": 179.5,
        "expected_return": 0.001,
        "confidence": 0.4,
        "volatility": 0.02,
        "members": (0.001, 0.002),
        "held_quantity": Decimal(0),
    }
    return SymbolRecord(**{**values, **changes})


def decision(
    *orders: Order, records: tuple[SymbolRecord, ...] = (), state: RiskState | None = None, **changes: Any
) -> Decision:
    values: dict[str, Any] = {
        "decided_at": T0,
        "cancels": (),
        "orders": tuple(ValidatedOrder(one) for one in orders),
        "records": records,
        "risk": state or risk(),
    }
    return Decision(**{**values, **changes})


def start_cycle(
    ledger: DatabaseService, cycle_id: str = "c1", *, at: datetime = T0, alive: bool = True, owner: str = "w1"
) -> str:
    return ledger.claim_cycle(
        cycle_id, slot=at, started_at=at, owner=owner, trigger="schedule", is_alive=lambda _: alive, stale_after_seconds=120
    )


def decided(ledger: DatabaseService, *orders: Order, cycle_id: str = "c1", at: datetime = T0) -> None:
    """A running cycle that has decided on these orders, with money for all of them and holdings for the sales."""
    assert start_cycle(ledger, cycle_id, at=at, alive=False) == "claimed"
    open_books(ledger, *(holding(one.symbol, one.quantity) for one in orders if one.side is Side.SELL))
    committed(ledger, decision(*orders), cycle_id=cycle_id, expires_at=at + timedelta(minutes=5))


def open_books(ledger: DatabaseService, *held: Position) -> None:
    """Money for every order, and these holdings; nothing where the books are open."""
    if ledger.open_account("a", CASH, T0) and held:
        ledger.adopt_positions(held, T0)


def holding(symbol: str, quantity: Decimal) -> Position:
    return Position(symbol=symbol, quantity=quantity, average_entry_price=Decimal(150))


def committed(
    ledger: DatabaseService, made: Decision, *, cycle_id: str = "c1", expires_at: datetime = LATER, **values: Any
) -> Committed:
    return ledger.record_decision(
        cycle_id, made, **{"inputs": {}, "capacity": capacity(), **values}, orders_expire_at=expires_at
    )


def venue_order(name: str = "at-aapl-1", venue_id: str = "v1", status: str = "new", **changes: Any) -> VenueOrder:
    values: dict[str, Any] = {
        "venue_order_id": venue_id,
        "client_order_id": name,
        "symbol": "AAPL",
        "side": Side.BUY,
        "type": OrderType.MARKET,
        "quantity": Decimal(10),
        "filled_quantity": Decimal(0),
        "filled_average_price": None,
        "status": status,
        "submitted_at": T0,
    }
    return VenueOrder(**{**values, **changes})


def fill(name: str = "e1", venue_id: str = "v1", **changes: Any) -> Fill:
    values: dict[str, Any] = {
        "execution_id": name,
        "venue_order_id": venue_id,
        "symbol": "AAPL",
        "side": Side.BUY,
        "quantity": Decimal(10),
        "price": Decimal("180.05"),
        "filled_at": after(10),
    }
    return Fill(**{**values, **changes})


def bars(
    symbol: str = "AAPL", count: int = 5, *, first: int = 1_700_000_000, step: int = 86_400, close: float = 100.0
) -> BarSeries:
    timestamp = first + step * np.arange(count, dtype=np.int64)
    prices = close + np.arange(count) / 8.0
    return BarSeries(
        symbol=symbol,
        timeframe=DAILY,
        timestamp=timestamp,
        known_at=timestamp + 57_600,
        open=prices,
        high=prices + 1,
        low=prices - 1,
        close=prices + 0.1,
        volume=np.full(count, 1e6),
    )
