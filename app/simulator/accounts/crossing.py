"""Matching one account's orders with the minutes of a window, in time order, by the rule of `app.engine.matching`."""

from __future__ import annotations

import heapq
from dataclasses import replace
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from functools import partial
from typing import NamedTuple

from app.domain.order import OrderClass, Side, TimeInForce
from app.engine.matching import FirstExit, PriceArrays, first_exit, first_fill, follow
from app.simulator.accounts.account_state import AccountState
from app.simulator.accounts.ledger import SimOrder
from app.simulator.accounts.session_rules import MINUTE, Window
from app.simulator.accounts.sim_order import NINE_PLACES

_ZERO = Decimal(0)
_ONE_MINUTE = frozenset([TimeInForce.IOC, TimeInForce.FOK, TimeInForce.OPG])
_PAIRS = frozenset([OrderClass.BRACKET, OrderClass.OCO])


class _Event(NamedTuple):
    """A fill, or with price None the end of an order that had one minute only. start: where the search began."""

    minute: int
    sequence: int
    order_id: str
    start: int
    price: Decimal | None
    quantity: Decimal


class Crossing:
    """Minutes first <= i < last of a window. `run` once."""

    def __init__(self, account: AccountState, window: Window, first: int, last: int) -> None:
        self._account = account
        self._ledger = account.ledger
        self._window = window
        self._first = first
        self._last = last
        self._events: list[_Event] = []

    def run(self) -> None:
        """Fill what these minutes fill."""
        orders = list(self._ledger.open_orders())
        if self._window.kind == "day":
            self._account.market.prepare(sorted({order.symbol for order in orders}), self._window.number)
        for order in orders:
            self._watch(order, self._first)
        while self._events:
            event = heapq.heappop(self._events)
            order = self._ledger.orders[event.order_id]
            if order.is_open:
                self._happen(order, event)

    def _watch(self, order: SimOrder, first: int) -> None:
        """Look for the first fill of an order, or of the pair of exits that it heads, from minute `first` on."""
        if not order.is_open or order.waiting or order.paired or not self._works_now(order):
            return
        start = max(first, -int((self._window.opens_at - order.active_from) // MINUTE))
        if start >= self._last:
            return
        path, stop = self._path(order), self._stop_of(order)
        event = None if path is None else self._search(order, stop, path, start)
        if event is not None:
            heapq.heappush(self._events, event)
        elif order.time_in_force in _ONE_MINUTE:
            heapq.heappush(self._events, _Event(start, order.sequence, order.id, start, None, order.left))
        elif path is not None:
            self._remember(stop or order, path, start, self._last)

    def _search(self, order: SimOrder, stop: SimOrder | None, path: PriceArrays, start: int) -> _Event | None:
        account, members = self._account, [order] if stop is None else [order, stop]
        try_fill = partial(first_fill, order) if stop is None else partial(first_exit, order, stop)
        found = try_fill(
            order.left,
            path,
            start,
            instrument=account.instrument(order.symbol),
            costs=account.costs,
            liquidity=account.liquidity,
            end=self._last,
            progress=members[-1].progress,
            key="" if any(member.executions for member in members) else self._draw_name(order),
        )
        if found is None:
            return None
        winner = members[-1] if isinstance(found, FirstExit) and found.is_stop else order
        return _Event(found.bar_index, winner.sequence, winner.id, start, found.price, found.quantity)

    def _draw_name(self, order: SimOrder) -> str:
        """The name under which the backtest draws partial fills of the same order."""
        entry = self._ledger.orders.get(order.parent_id or "")
        return order.client_order_id if entry is None else f"{entry.client_order_id}-exit"

    def _happen(self, order: SimOrder, event: _Event) -> None:
        account, at = self._account, self._window.end_of(event.minute)
        quantity, whole = _amount(order, event)
        if event.price is None or quantity <= 0:
            account.end_family(order, "canceled", at)
            return
        if order.intent.opens and quantity * event.price > account.power(int(at.timestamp())) + order.reserved_cash:
            # The market gapped away while the order waited; the account cannot pay for it any more.
            account.end_family(order, "canceled" if order.executions else "rejected", at)
            return
        commission = account.costs.commission(quantity, event.price)
        order = self._ledger.book(order, quantity=quantity, price=event.price, commission=commission, at=at, whole=whole)
        if whole:
            self._finish(order, event.minute, at)
        elif order.time_in_force in _ONE_MINUTE:
            account.end_family(order, "canceled", at)
        else:
            self._go_on(order, event, at)

    def _finish(self, order: SimOrder, minute: int, at: datetime) -> None:
        """An order has filled whole: an exit ends the other one, an entry releases its legs."""
        family = self._ledger.family(order)
        for member in family:
            if not member.waiting:
                self._account.end(member, "canceled", at)
        for leg in self._release([member for member in family if member.waiting], order, at):
            self._watch(leg, minute + 1)

    def _release(self, legs: list[SimOrder], entry: SimOrder, at: datetime) -> list[SimOrder]:
        """Put legs to work for the shares that their entry brought, as far as no other order holds or has sold them."""
        ledger = self._ledger
        free = abs(ledger.position_quantity(entry.symbol)) - ledger.held_quantity(entry.symbol)
        quantity, released = min(ledger.entered(entry), free), []
        for leg in legs:
            if quantity <= 0:
                self._account.end(leg, "canceled", at)
                continue
            status = "new" if leg.status == "held" and not leg.paired else leg.status
            working = replace(leg, status=status, quantity=quantity, waiting=False, active_from=at, updated_at=at)
            released.append(ledger.put(working))
            if status == "new":
                ledger.tell("new", working, at)
        return released

    def _go_on(self, order: SimOrder, event: _Event, at: datetime) -> None:
        """An order has filled in part: what is left goes on, and the other exit of a pair is for as much."""
        ledger, head, stop = self._ledger, order, None
        if pair := self._pair(order):
            for other in pair:
                if other.id != order.id:
                    ledger.put(replace(other, quantity=(other.quantity or _ZERO) - event.quantity, updated_at=at))
            head, stop = (ledger.orders[member.id] for member in pair)
        path = self._path(order)
        if path is not None:
            self._remember(stop or head, path, event.start, event.minute + 1)
        self._watch(ledger.orders[head.id], event.minute + 1)

    def _remember(self, order: SimOrder, path: PriceArrays, start: int, end: int) -> None:
        """Keep the trigger and the best price of a stop between steps of the clock."""
        progress = follow(order, path, start, end=end, progress=order.progress)
        if progress != order.progress:
            self._ledger.put(replace(order, triggered=progress.triggered, hwm=progress.mark))

    def _works_now(self, order: SimOrder) -> bool:
        return self._window.kind == "day" or order.extended_hours

    def _path(self, order: SimOrder) -> PriceArrays | None:
        return self._window.path(self._account.market, order.symbol)

    def _pair(self, order: SimOrder) -> list[SimOrder]:
        """The working take-profit and stop of which `order` is one; empty when it is none of a pair."""
        if order.order_class not in _PAIRS or order.waiting or (order.leg is None and order.intent.opens):
            return []
        return self._ledger.family(order)[-2:]

    def _stop_of(self, order: SimOrder) -> SimOrder | None:
        pair = self._pair(order)
        return pair[1] if pair else None


def _amount(order: SimOrder, event: _Event) -> tuple[Decimal, bool]:
    """What fills, and whether nothing is left then. A notional order trades what its money comes to at the price."""
    whole = event.quantity >= order.left
    if order.notional is None or event.price is None:
        return event.quantity, whole
    money = order.notional - order.filled_quantity * (order.filled_average_price or _ZERO)
    worth = (money / event.price).quantize(NINE_PLACES, rounding=ROUND_DOWN)
    if order.side is Side.SELL:
        worth = min(worth, order.left)
    return (worth, True) if whole or event.quantity >= worth else (event.quantity, False)
