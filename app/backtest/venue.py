"""The venue of a backtest: orders rest, fill by the one matching rule, and move cash and shares.

It keeps the simulated exchange's rules for the orders that a decision makes: bracket entries good till cancelled, whose
legs are held until the entry has filled whole and then cancel each other, pairs of exits that do so at once, stops moved while
they rest, and market exits for the day. What a partial fill
leaves goes on from the next bar, with legs both legs' quantity; an entry that ends partly filled takes its legs along.
Nothing fills in a bar that began before the order was accepted; an execution is stamped with the end of its bar.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from typing import TypedDict

from app.backtest.tape import MarketSession
from app.domain.instrument import Instrument
from app.domain.order import Fill, Order, OrderClass, OrderType, Purpose, Side, TimeInForce
from app.domain.portfolio import Portfolio
from app.engine.costs import UNLIMITED, CostModel, Liquidity
from app.engine.decision import OpenOrder
from app.engine.ledger import Execution, book, opened, roll
from app.engine.matching import FRESH, FirstExit, FirstFill, Progress, Terms, first_exit, first_fill, follow

_CENT = Decimal("0.01")
_ZERO = Decimal(0)
PROFIT, STOP = "take_profit", "stop_loss"
_Event = tuple[int, int, str, Decimal, Decimal]  # bar of the session, sequence of the order, its id, price, quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Resting(Terms):
    """An order at the venue. quantity: what is left of it after `executions`. progress: what matching remembers of the bars
    before those it is watched in. leg: take_profit or stop_loss of the entry or pair `parent`; those of an entry are held until
    it has filled. drawn_as: names it in the draw for partial fills."""

    client_order_id: str
    sequence: int
    symbol: str
    quantity: Decimal
    purpose: Purpose
    reason: str
    accepted_at: datetime
    leg: str | None = None
    parent: str | None = None
    executions: int = 0
    progress: Progress = FRESH
    drawn_as: str = ""

    @property
    def family(self) -> str:
        """The id of the entry whose bracket it belongs to, its own for a simple order."""
        return self.parent or self.client_order_id

    @property
    def reserved_cash(self) -> Decimal:
        """Buying power that it holds."""
        if self.side is Side.SELL or self.limit_price is None:
            return _ZERO
        return (self.quantity * self.limit_price).quantize(_CENT, rounding=ROUND_CEILING)


class _Terms(TypedDict):
    """What matching is told about every order."""

    instrument: Instrument
    costs: CostModel
    liquidity: Liquidity
    key: str


class BacktestVenue:
    """One account on one tape. Call `open_session`, then `advance`, `submit` and `cancel` in time order, `close_session`."""

    def __init__(
        self, *, cash: Decimal, costs: CostModel, instruments: Mapping[str, Instrument], liquidity: Liquidity = UNLIMITED
    ) -> None:
        self.ledger = opened(cash)
        self.previous_close_equity = cash
        self._costs = costs
        self._liquidity = liquidity
        self._instruments = instruments
        self._open: dict[str, Resting] = {}
        self._released: set[str] = set()  # entries that filled, whose legs work from then on
        self._events: list[_Event] = []
        self._since: dict[str, int] = {}  # by family, the bar of this session from which it is watched
        self._sequence = 0
        self._tape: MarketSession | None = None

    @property
    def portfolio(self) -> Portfolio:
        """Cash and holdings."""
        return self.ledger.portfolio

    @property
    def buying_power(self) -> Decimal:
        """Cash that no open order holds."""
        return max(self._free_cash(), _ZERO)

    def open_orders(self) -> tuple[OpenOrder, ...]:
        """Every order that may still fill, oldest first."""
        return tuple(
            OpenOrder(
                client_order_id=o.client_order_id,
                symbol=o.symbol,
                side=o.side,
                purpose=o.purpose,
                quantity=o.quantity,
                price=o.limit_price if o.side is Side.BUY else None,
                protective=o.leg is not None,
                stop_price=o.stop_price,
                stale=o.purpose is Purpose.ENTRY,  # decisions come once a slot: what is open is of an earlier one
            )
            for o in self._open.values()
        )

    def equity(self, at: datetime) -> Decimal:
        """Cash plus holdings at their `marks`."""
        return self.portfolio.mark(self.marks(at))

    def marks(self, at: datetime) -> dict[str, Decimal]:
        """The newest price of each holding known at `at`; what never had a price counts at its cost."""
        tape, prices = self._require_tape(), {}
        for symbol, position in self.portfolio.positions.items():
            price = tape.snapshot(symbol, at).price
            known = math.isfinite(price)
            prices[symbol] = self._instruments[symbol].price_nearest(price) if known else position.average_entry_price
        return prices

    def open_session(self, tape: MarketSession) -> None:
        """Begin a session with the orders that outlived the night."""
        self._tape, self._events, self._since = tape, [], {}
        self.ledger = roll(self.ledger, tape.hours.day.isoformat())
        for order in list(self._open.values()):
            self._watch(order, 0)

    def submit(self, order: Order, at: datetime) -> str | None:
        """Accept `order`, or say why not (then nothing changed)."""
        resting = self._resting(order, at)
        refusal = self._refusal(order, resting)
        if refusal is not None:
            return refusal
        name = order.client_order_id
        if order.order_class is not OrderClass.OCO:
            self._open[name] = resting
        if order.order_class is not OrderClass.SIMPLE:
            self._open |= {leg.client_order_id: leg for leg in self._legs(order, resting)}
        if order.order_class is OrderClass.OCO:
            self._released.add(name)
            resting = self._open[leg_id(name, PROFIT)]
        self._watch(resting, self._require_tape().steps_by(at))
        return None

    def move_stop(self, client_order_id: str, stop_price: Decimal, at: datetime) -> bool:
        """Replace the stop of a pair by one at another price, as new as if it were sent now; False when it is not open."""
        order = self._open.get(client_order_id)
        if order is None or order.leg != STOP or order.parent is None:
            return False
        sequence = self._next()
        self._open[client_order_id] = replace(
            order, stop_price=stop_price, sequence=sequence, accepted_at=at, executions=0, progress=FRESH
        )
        names = {leg_id(order.parent, leg) for leg in (PROFIT, STOP)}
        self._events = [event for event in self._events if event[2] not in names]
        heapq.heapify(self._events)
        self._watch(self._open[leg_id(order.parent, PROFIT)], self._require_tape().steps_by(at))
        return True

    def cancel(self, client_order_id: str) -> bool:
        """Cancel an open order and with it the rest of its bracket; False when it is not open any more."""
        order = self._open.get(client_order_id)
        if order is None:
            return False
        for member in [o for o in self._open.values() if o.family == order.family]:
            del self._open[member.client_order_id]
        self._released.discard(order.family)
        return True

    def advance(self, to: datetime) -> list[Execution]:
        """Everything that filled in the bars complete by `to`, in time order. At the close day orders end."""
        end, executions = self._require_tape().steps_by(to), []
        while self._events and self._events[0][0] < end:
            step, _, client_order_id, price, quantity = heapq.heappop(self._events)
            order = self._open.get(client_order_id)
            execution = self._fill(order, price, quantity, step) if order else None
            if execution:
                executions.append(execution)
        if to >= self._require_tape().hours.closes_at:
            self._expire()
        return executions

    def close_session(self) -> Decimal:
        """The equity at the close."""
        self._expire()
        for order in [o for o in self._open.values() if o.parent is None or o.parent in self._released]:
            self._remember(order, self._require_tape().steps)
        self.previous_close_equity = self.equity(self._require_tape().hours.closes_at)
        return self.previous_close_equity

    def _expire(self) -> None:
        """End the day orders; one accepted at the close is of the next session."""
        closes_at = self._require_tape().hours.closes_at
        for order in [o for o in self._open.values() if o.time_in_force is TimeInForce.DAY and o.accepted_at < closes_at]:
            del self._open[order.client_order_id]

    def _fill(self, order: Resting, price: Decimal, quantity: Decimal, step: int) -> Execution | None:
        if order.side is Side.BUY and quantity * price > self._free_cash() + order.reserved_cash:
            self.cancel(order.client_order_id)
            return None
        execution = self._execution(order, price, quantity, step)
        self.ledger = book(self.ledger, [execution])
        if quantity < order.quantity:
            self._reduce(order, order.quantity - quantity, step)
        elif order.parent is not None:
            for leg in (PROFIT, STOP):
                self._open.pop(leg_id(order.parent, leg), None)
            self._released.discard(order.parent)
        else:
            del self._open[order.client_order_id]
            if profit := self._open.get(leg_id(order.client_order_id, PROFIT)):
                self._released.add(order.client_order_id)
                self._watch(profit, step + 1)
        return execution

    def _execution(self, order: Resting, price: Decimal, quantity: Decimal, step: int) -> Execution:
        fill = Fill(
            execution_id=f"{order.client_order_id}-{order.executions + 1}",
            venue_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            quantity=quantity,
            price=price,
            filled_at=self._require_tape().ended_at(step),
            commission=self._costs.commission(quantity, price),
        )
        return Execution(fill=fill, client_order_id=order.client_order_id, purpose=order.purpose, reason=order.reason)

    def _reduce(self, order: Resting, left: Decimal, step: int) -> None:
        """After a partial fill in bar `step`: both legs of a pair, or the order, go on with what is left."""
        self._open[order.client_order_id] = replace(order, executions=order.executions + 1)
        members = [order.client_order_id] if order.parent is None else [leg_id(order.parent, leg) for leg in (PROFIT, STOP)]
        for name in members:
            self._open[name] = replace(self._open[name], quantity=left)
            self._remember(self._open[name], step + 1)
        self._watch(self._open[members[0]], step + 1)

    def _remember(self, order: Resting, end: int) -> None:
        """Keep what the bars before `end` did to `order`, of those it was watched in."""
        path, since = self._require_tape().path(order.symbol), self._since.get(order.family)
        if path is None or since is None:
            return
        progress = follow(order, path, since, end=end, progress=order.progress)
        if progress != order.progress:
            self._open[order.client_order_id] = replace(order, progress=progress)

    def _watch(self, order: Resting, first: int) -> None:
        """Find when `order`, or the pair of legs whose take-profit it is, fills in the rest of this session."""
        path = self._require_tape().path(order.symbol)
        if path is None or (order.parent is not None and (order.leg != PROFIT or order.parent not in self._released)):
            return
        self._since[order.family] = first
        if order.parent is None:
            key = "" if order.executions else order.drawn_as
            fill = first_fill(order, order.quantity, path, first, progress=order.progress, **self._terms(order, key))
            self._expect(order, fill)
            return
        loss = self._open[leg_id(order.parent, STOP)]
        key = "" if order.executions or loss.executions else order.drawn_as
        found = first_exit(order, loss, order.quantity, path, first, progress=loss.progress, **self._terms(order, key))
        self._expect(loss if found is not None and found.is_stop else order, found)

    def _expect(self, order: Resting, found: FirstFill | FirstExit | None) -> None:
        if found is not None:
            event = (found.bar_index, order.sequence, order.client_order_id, found.price, found.quantity)
            heapq.heappush(self._events, event)

    def _terms(self, order: Resting, key: str) -> _Terms:
        return _Terms(instrument=self._instruments[order.symbol], costs=self._costs, liquidity=self._liquidity, key=key)

    def _free_cash(self) -> Decimal:
        return self.portfolio.cash - sum((o.reserved_cash for o in self._open.values()), _ZERO)

    def _refusal(self, order: Order, resting: Resting) -> str | None:
        if order.side is Side.BUY:
            if resting.reserved_cash > self.buying_power:
                return "insufficient buying power"
            base, gain, loss = order.limit_price, order.take_profit_price, order.stop_loss_price
            if base is None or gain is None or loss is None or loss > base - _CENT or gain < base + _CENT:
                return "the protective prices are too close to the entry"
            return None
        if order.order_class is OrderClass.OCO and resting.quantity != resting.quantity.to_integral_value():
            return "a pair of exits is for whole shares"
        position = self.portfolio.positions.get(order.symbol)
        owned = position.quantity if position else _ZERO
        promised = {o.family: o.quantity for o in self._open.values() if self._holds_shares(o, order.symbol)}
        return "insufficient shares" if order.quantity > owned - sum(promised.values(), _ZERO) else None

    def _holds_shares(self, order: Resting, symbol: str) -> bool:
        return order.symbol == symbol and order.side is Side.SELL and (order.parent is None or order.parent in self._released)

    def _resting(self, order: Order, at: datetime) -> Resting:
        return Resting(
            client_order_id=order.client_order_id,
            sequence=self._next(),
            symbol=order.symbol,
            side=order.side,
            type=order.type,
            quantity=order.quantity,
            purpose=order.purpose,
            reason=order.reason,
            time_in_force=order.time_in_force,
            accepted_at=at,
            limit_price=order.limit_price,
            stop_price=order.stop_price,
            drawn_as=order.client_order_id,
        )

    def _legs(self, order: Order, top: Resting) -> list[Resting]:
        """Both legs of an entry, or both orders of a pair of exits, the take-profit first."""
        return [
            self._leg(top, PROFIT, OrderType.LIMIT, order.take_profit_price, None),
            self._leg(top, STOP, OrderType.STOP, None, order.stop_loss_price),
        ]

    def _leg(self, entry: Resting, leg: str, kind: OrderType, limit: Decimal | None, stop: Decimal | None) -> Resting:
        return Resting(
            client_order_id=leg_id(entry.client_order_id, leg),
            sequence=self._next(),
            symbol=entry.symbol,
            side=Side.SELL,
            type=kind,
            quantity=entry.quantity,
            purpose=Purpose.EXIT,
            reason=leg,
            time_in_force=entry.time_in_force,
            accepted_at=entry.accepted_at,
            limit_price=limit,
            stop_price=stop,
            leg=leg,
            parent=entry.client_order_id,
            drawn_as=leg_id(entry.client_order_id, "exit") if entry.purpose is Purpose.ENTRY else entry.client_order_id,
        )

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _require_tape(self) -> MarketSession:
        if self._tape is None:
            raise RuntimeError("open_session comes first")
        return self._tape


def leg_id(entry: str, leg: str) -> str:
    """The id of a protective leg; a live venue chooses its own."""
    return f"{entry}-{leg}"
