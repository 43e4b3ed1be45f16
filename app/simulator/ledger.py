"""The account of the simulated exchange: every order and execution ever, and the cash and shares that follow from them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import ROUND_CEILING, Decimal
from enum import StrEnum
from typing import NamedTuple

from app.domain.order import OPEN_STATUSES, Fill, OrderClass, OrderType, Side, TimeInForce
from app.domain.portfolio import Portfolio, apply_fill

_NAMESPACE = uuid.UUID("6f1d5a3e-6c0b-5d52-9d3f-0a6f5c7be401")
_ZERO = Decimal(0)
# An open market or stop buy holds a little more than its last price, so that its fill cannot overdraw the account.
_UNPRICED_MARGIN = Decimal("1.01")
_CENT = Decimal("0.01")


class Leg(StrEnum):
    """What a child of a bracket is."""

    TAKE_PROFIT = "take_profit"
    STOP_LOSS = "stop_loss"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimOrder:
    """An order as the exchange keeps it; status in Alpaca's words, instants aware UTC, prices in dollars.

    quantity: None on a notional order. estimate: price that reserves buying power for orders without a limit.
    active_from: matching looks at minutes that start at or after it. triggered: a stop-limit whose stop was reached.
    """

    id: str
    client_order_id: str
    sequence: int
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    order_class: OrderClass
    status: str
    submitted_at: datetime
    updated_at: datetime
    active_from: datetime
    quantity: Decimal | None = None
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    estimate: Decimal = _ZERO
    parent_id: str | None = None
    leg: Leg | None = None
    triggered: bool = False
    filled_quantity: Decimal = _ZERO
    filled_average_price: Decimal | None = None
    filled_at: datetime | None = None
    canceled_at: datetime | None = None
    expired_at: datetime | None = None
    failed_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether it may still fill."""
        return self.status in OPEN_STATUSES

    @property
    def reserved_cash(self) -> Decimal:
        """Buying power an open buy holds, rounded up to the cent."""
        if not self.is_open or self.side is Side.SELL:
            return _ZERO
        if self.notional is not None:
            return self.notional
        left = (self.quantity or _ZERO) - self.filled_quantity
        price = self.limit_price or self.estimate * _UNPRICED_MARGIN
        return (left * price).quantize(_CENT, rounding=ROUND_CEILING)

    @property
    def reserved_quantity(self) -> Decimal:
        """Shares an open sell holds. Legs of one bracket hold them once; legs of an unfilled entry hold nothing."""
        if self.side is Side.BUY or not self.is_open or self.status == "held":
            return _ZERO
        return (self.quantity or _ZERO) - self.filled_quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderEvent:
    """One step in the life of an order, as the trade-updates stream tells it.

    event: Alpaca's word. order: as it stands after the step. fill, position_quantity: of fill and partial_fill only.
    """

    event: str
    order: SimOrder
    at: datetime
    fill: Fill | None = None
    position_quantity: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A non-trade activity: dividend, split, fee. net_amount: dollars that came (negative: went).

    quantity: shares concerned; of a SPLIT the change of the position.
    """

    entry_id: str
    activity_type: str
    at: datetime
    day: date
    net_amount: Decimal
    symbol: str | None = None
    quantity: Decimal | None = None
    per_share_amount: Decimal | None = None
    description: str = ""


class Changes(NamedTuple):
    """What happened to a ledger since it was last asked."""

    orders: list[SimOrder]
    fills: list[Fill]
    closes: list[tuple[date, Decimal]]
    events: list[OrderEvent]


class Ledger:
    """One account. Changes go through `put` and `book`; `take_changes` hands them to the store and the streams."""

    def __init__(self, *, seed: int, cash: Decimal, name: str = "") -> None:
        self.seed = seed
        self.account_name = name
        self.start_cash = cash
        self.account_id = self.name("account")
        self.orders: dict[str, SimOrder] = {}
        self.by_client_id: dict[str, str] = {}
        self.legs_of: dict[str, list[str]] = {}
        self.fills: list[Fill] = []
        self.entries: list[Entry] = []
        self.portfolio = Portfolio(cash=cash)
        self.closes: list[tuple[date, Decimal]] = []
        self._open: dict[str, None] = {}
        self._changed: dict[str, None] = {}
        self._events: list[OrderEvent] = []
        self._stored_fills = self._stored_closes = 0

    def name(self, *parts: object) -> str:
        """An id that depends on the seed, the account's name and `parts` alone: a replay names everything as before."""
        whose = (self.seed, self.account_name) if self.account_name else (self.seed,)
        return str(uuid.uuid5(_NAMESPACE, "|".join(str(part) for part in (*whose, *parts))))

    def put(self, order: SimOrder) -> SimOrder:
        """Record a new order or a new state of one."""
        if order.id not in self.orders:
            self.by_client_id[order.client_order_id] = order.id
            if order.parent_id is not None:
                self.legs_of.setdefault(order.parent_id, []).append(order.id)
        self.orders[order.id] = order
        self._changed[order.id] = None
        if order.is_open:
            self._open[order.id] = None
        else:
            self._open.pop(order.id, None)
        return order

    def book(self, order: SimOrder, *, quantity: Decimal, price: Decimal, commission: Decimal, at: datetime) -> SimOrder:
        """Fill `order` whole: one execution, the account after it, the order `filled`."""
        fill = Fill(
            execution_id=self.name("execution", order.id, 1),
            venue_order_id=order.id,
            symbol=order.symbol,
            side=order.side,
            quantity=quantity,
            price=price,
            filled_at=at,
            commission=commission,
        )
        self.restore_fill(fill)
        return self.put(
            replace(order, status="filled", filled_quantity=quantity, filled_average_price=price, filled_at=at, updated_at=at)
        )

    def restore_fill(self, fill: Fill) -> None:
        """Append an execution and fold it into cash and positions."""
        self.fills.append(fill)
        self.portfolio = apply_fill(self.portfolio, fill)

    def open_orders(self) -> Iterator[SimOrder]:
        """Orders that may still fill, oldest first."""
        return (self.orders[order_id] for order_id in sorted(self._open, key=lambda i: self.orders[i].sequence))

    def legs(self, order_id: str) -> list[SimOrder]:
        """Children of a bracket: take-profit, then stop-loss."""
        return [self.orders[leg] for leg in self.legs_of.get(order_id, ())]

    def family(self, order: SimOrder) -> list[SimOrder]:
        """The bracket that `order` belongs to, parent first; a simple order alone."""
        parent = self.orders[order.parent_id or order.id]
        return [parent, *self.legs(parent.id)]

    @property
    def reserved_cash(self) -> Decimal:
        """Buying power held by open buys."""
        return sum((self.orders[i].reserved_cash for i in self._open), _ZERO)

    @property
    def buying_power(self) -> Decimal:
        """Cash that no open order holds."""
        return max(self.portfolio.cash - self.reserved_cash, _ZERO)

    def held_quantity(self, symbol: str) -> Decimal:
        """Shares of `symbol` that open sells hold."""
        return sum((self.orders[i].reserved_quantity for i in self._open if self.orders[i].symbol == symbol), _ZERO)

    def position_quantity(self, symbol: str) -> Decimal:
        """Shares of `symbol` in the account."""
        held = self.portfolio.positions.get(symbol)
        return held.quantity if held else _ZERO

    @property
    def previous_close_equity(self) -> Decimal:
        """Equity at the last session's close, the starting cash before the first."""
        return self.closes[-1][1] if self.closes else self.start_cash

    def tell(self, event: str, order: SimOrder, at: datetime, fill: Fill | None = None) -> None:
        """Note a step in an order's life for the trade-updates stream."""
        held = None if fill is None else self.position_quantity(order.symbol)
        self._events.append(OrderEvent(event=event, order=order, at=at, fill=fill, position_quantity=held))

    def take_changes(self) -> Changes:
        """Orders, executions, closes and events that are new since the last call."""
        orders = [self.orders[order_id] for order_id in self._changed]
        changes = Changes(orders, self.fills[self._stored_fills :], self.closes[self._stored_closes :], self._events)
        self._changed.clear()
        self._events = []
        self._stored_fills, self._stored_closes = len(self.fills), len(self.closes)
        return changes
