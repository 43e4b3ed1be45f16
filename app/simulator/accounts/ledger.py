"""The account of the simulated exchange: every order and execution ever, and the cash and shares that follow from them.

What orders hold (money, shares) and which are open is kept up with every change, so that no question scans all orders.
"""

from __future__ import annotations

import heapq
import uuid
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from app.domain.order import Fill
from app.domain.portfolio import Portfolio, apply_fill
from app.simulator.accounts.sim_order import Intent, Leg, SimOrder

__all__ = ["Changes", "Entry", "Intent", "Ledger", "Leg", "OrderEvent", "SimOrder"]

_NAMESPACE = uuid.UUID("6f1d5a3e-6c0b-5d52-9d3f-0a6f5c7be401")
_ZERO = Decimal(0)


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
    entries: list[Entry]
    events: list[OrderEvent]


class Ledger:
    """One account. Changes go through `put`, `book` and `enter`; `take_changes` hands them to the store and the streams."""

    def __init__(self, *, seed: int, cash: Decimal, name: str = "") -> None:
        self.seed = seed
        self.account_name = name
        self.start_cash = cash
        self.account_id = self.name("account")
        self.orders: dict[str, SimOrder] = {}
        self.by_client_id: dict[str, str] = {}
        self.fills: list[Fill] = []
        self.entries: list[Entry] = []
        self.portfolio = Portfolio(cash=cash)
        self.closes: list[tuple[date, Decimal]] = []
        self.reserved_cash = _ZERO  # buying power that open orders hold
        self._ids: list[str] = []  # by sequence, which is also the order of submission
        self._open: dict[str, None] = {}  # by sequence: orders are entered once, when they are new
        self._open_of: dict[str, dict[str, None]] = {}  # the same by symbol
        self._held: dict[str, Decimal] = {}  # by symbol
        self._groups: dict[str, list[str]] = {}
        self.doomed: dict[str, None] = {}  # open orders to be rejected when the clock moves next
        self._due: list[tuple[datetime, int, str]] = []
        self._changed: dict[str, None] = {}
        self._events: list[OrderEvent] = []
        self._stored_fills = self._stored_closes = self._stored_entries = 0

    def name(self, *parts: object) -> str:
        """An id that depends on the seed, the account's name and `parts` alone: a replay names everything as before."""
        whose = (self.seed, self.account_name) if self.account_name else (self.seed,)
        return str(uuid.uuid5(_NAMESPACE, "|".join(str(part) for part in (*whose, *parts))))

    # -- changes -----------------------------------------------------------------------------------------------------

    def put(self, order: SimOrder) -> SimOrder:
        """Record a new order or a new state of one."""
        before = self.orders.get(order.id)
        if before is None:
            self._ids.append(order.id)
            self.by_client_id[order.client_order_id] = order.id
            if order.group_id is not None:
                self._groups.setdefault(order.group_id, []).append(order.id)
        self._hold(order, before)
        self.orders[order.id] = order
        self._changed[order.id] = None
        if order.doom is not None:
            self.doomed[order.id] = None
        else:
            self.doomed.pop(order.id, None)
        if order.is_open:
            self._open[order.id] = None
            self._open_of.setdefault(order.symbol, {})[order.id] = None
            due = order.due
            if due is not None and (before is None or due != before.due):
                heapq.heappush(self._due, (due, order.sequence, order.id))
        elif before is not None and before.is_open:
            del self._open[order.id], self._open_of[order.symbol][order.id]
        return order

    def book(
        self, order: SimOrder, *, quantity: Decimal, price: Decimal, commission: Decimal, at: datetime, whole: bool
    ) -> SimOrder:
        """One execution of `order`: the account after it, the order with it. whole: nothing is left of the order."""
        number = order.executions + 1
        fill = Fill(
            execution_id=self.name("execution", order.id, number),
            venue_order_id=order.id,
            symbol=order.symbol,
            side=order.side,
            quantity=quantity,
            price=price,
            filled_at=at,
            commission=commission,
        )
        self.fills.append(fill)
        self.portfolio = apply_fill(self.portfolio, fill)
        filled = order.filled_quantity + quantity
        cost = order.filled_quantity * (order.filled_average_price or _ZERO) + quantity * price
        unfinished = order.status if order.status == "pending_cancel" else "partially_filled"
        done = self.put(
            replace(
                order,
                status="filled" if whole else unfinished,
                executions=number,
                filled_quantity=filled,
                filled_average_price=cost / filled,
                filled_at=at,
                updated_at=at,
            )
        )
        self.tell("fill" if whole else "partial_fill", done, at, fill)
        return done

    def enter(self, entry: Entry) -> None:
        """Record a non-trade activity and fold it into cash and positions."""
        self.entries.append(entry)
        self._fold_entry(entry)

    def restore(self, fills: Iterable[Fill], entries: Iterable[Entry]) -> None:
        """Put back executions and activities in the order in which they happened: of one instant, executions first."""
        self.fills.extend(fills)
        self.entries.extend(entries)
        rows: list[tuple[datetime, Fill | Entry]] = [(fill.filled_at, fill) for fill in self.fills]
        rows += [(entry.at, entry) for entry in self.entries]
        for _, row in sorted(rows, key=lambda pair: pair[0]):
            if isinstance(row, Fill):
                self.portfolio = apply_fill(self.portfolio, row)
            else:
                self._fold_entry(row)

    def tell(self, event: str, order: SimOrder, at: datetime, fill: Fill | None = None) -> None:
        """Note a step in an order's life for the trade-updates stream."""
        held = None if fill is None else self.position_quantity(order.symbol)
        self._events.append(OrderEvent(event=event, order=order, at=at, fill=fill, position_quantity=held))

    def take_changes(self) -> Changes:
        """Orders, executions, closes, activities and events that are new since the last call."""
        changes = Changes(
            [self.orders[order_id] for order_id in self._changed],
            self.fills[self._stored_fills :],
            self.closes[self._stored_closes :],
            self.entries[self._stored_entries :],
            self._events,
        )
        self._changed.clear()
        self._events = []
        self._stored_fills, self._stored_closes = len(self.fills), len(self.closes)
        self._stored_entries = len(self.entries)
        return changes

    # -- questions ---------------------------------------------------------------------------------------------------

    def open_orders(self, *, descending: bool = False) -> Iterator[SimOrder]:
        """Orders that may still fill, oldest first or the reverse; not to be changed while they are iterated."""
        return (self.orders[order_id] for order_id in (reversed(self._open) if descending else self._open))

    def open_orders_of(self, symbol: str) -> list[SimOrder]:
        """Orders of one symbol that may still fill, oldest first."""
        return [self.orders[order_id] for order_id in self._open_of.get(symbol, ())]

    def submitted(self, *, after: datetime | None, until: datetime | None, descending: bool) -> Iterator[SimOrder]:
        """Orders submitted after < t < until, in the order of submission or the reverse."""
        first = 0 if after is None else bisect_right(self._ids, after, key=self._submitted_at)
        last = len(self._ids) if until is None else bisect_left(self._ids, until, key=self._submitted_at)
        span = range(last - 1, first - 1, -1) if descending else range(first, last)
        return (self.orders[self._ids[index]] for index in span)

    def legs(self, order_id: str) -> list[SimOrder]:
        """Children of a bracket, OCO or OTO order that is in force: take-profit, then stop-loss."""
        order = self.orders[order_id]
        return [] if order.leg is not None or order.status == "replaced" else self.family(order)[1:]

    def family(self, order: SimOrder) -> list[SimOrder]:
        """The group that `order` belongs to without replaced members, top order first; a simple order alone."""
        if order.group_id is None:
            return [order]
        members = [self.orders[order_id] for order_id in self._groups[order.group_id]]
        return sorted((o for o in members if o.status != "replaced"), key=_rank)

    def entered(self, order: SimOrder) -> Decimal:
        """What the top order of a group and those it replaced have filled."""
        members = (self.orders[order_id] for order_id in self._groups.get(order.group_id or "", ()))
        return sum((o.filled_quantity for o in members if o.leg is None), _ZERO)

    def next_due(self) -> datetime | None:
        """When the next open order expires or its cancel takes effect."""
        while self._due and not self._is_due(*self._due[0]):
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def take_due(self, at: datetime) -> list[SimOrder]:
        """Open orders that expire or whose cancel takes effect by `at`, in time order."""
        due = []
        while (first := self.next_due()) is not None and first <= at:
            due.append(self.orders[heapq.heappop(self._due)[2]])
        return due

    @property
    def buying_power(self) -> Decimal:
        """Cash that no open order holds: what a cash account may spend."""
        return max(self.portfolio.cash - self.reserved_cash, _ZERO)

    def held_quantity(self, symbol: str) -> Decimal:
        """Shares of the position in `symbol` that open orders hold."""
        return self._held.get(symbol, _ZERO)

    def position_quantity(self, symbol: str) -> Decimal:
        """Shares of `symbol` in the account, negative when short."""
        held = self.portfolio.positions.get(symbol)
        return held.quantity if held else _ZERO

    @property
    def previous_close_equity(self) -> Decimal:
        """Equity at the last session's close, the starting cash before the first."""
        return self.closes[-1][1] if self.closes else self.start_cash

    # -- inside ------------------------------------------------------------------------------------------------------

    def _hold(self, order: SimOrder, before: SimOrder | None) -> None:
        cash, shares = order.reserved_cash, order.reserved_quantity
        if before is not None:
            cash, shares = cash - before.reserved_cash, shares - before.reserved_quantity
        self.reserved_cash += cash
        if shares:
            held = self._held.get(order.symbol, _ZERO) + shares
            if held:
                self._held[order.symbol] = held
            else:
                del self._held[order.symbol]

    def _fold_entry(self, entry: Entry) -> None:
        positions, realized = dict(self.portfolio.positions), self.portfolio.realized
        held = positions.get(entry.symbol or "")
        if entry.activity_type == "SPLIT" and held is not None and entry.quantity is not None:
            cost, quantity = held.average_entry_price * held.quantity, held.quantity + entry.quantity
            if quantity:
                positions[held.symbol] = replace(held, quantity=quantity, average_entry_price=cost / quantity)
            else:
                del positions[held.symbol]
                realized -= cost
        self.portfolio = Portfolio(cash=self.portfolio.cash + entry.net_amount, positions=positions, realized=realized)

    def _is_due(self, at: datetime, _sequence: int, order_id: str) -> bool:
        order = self.orders[order_id]
        return order.is_open and at == order.due

    def _submitted_at(self, order_id: str) -> datetime:
        return self.orders[order_id].submitted_at


def _rank(order: SimOrder) -> int:
    return 0 if order.leg is None else 1 if order.leg is Leg.TAKE_PROFIT else 2
