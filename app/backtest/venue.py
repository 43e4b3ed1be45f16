"""The venue of a backtest: orders rest, fill by the one matching rule, and move cash and shares.

It keeps the simulated exchange's rules for the orders that a decision makes: bracket entries good till cancelled, whose
legs are held until the entry fills and then cancel each other, and market exits for the day. Nothing fills in a minute
that began before the order was accepted; an execution is stamped with the end of its minute.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Decimal

from app.backtest.tape import MINUTE, SessionTape
from app.domain.instrument import Instrument
from app.domain.order import Fill, Order, OrderClass, OrderType, Purpose, Side, TimeInForce
from app.domain.portfolio import Portfolio
from app.engine.costs import CostModel
from app.engine.decision import OpenOrder
from app.engine.ledger import Execution, book, opened, roll
from app.engine.matching import Terms, first_exit, first_fill

_CENT = Decimal("0.01")
_ZERO = Decimal(0)
PROFIT, STOP = "take_profit", "stop_loss"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resting(Terms):
    """An order at the venue. leg: take_profit or stop_loss of the entry `parent`; held until that has filled."""

    client_order_id: str
    sequence: int
    symbol: str
    quantity: Decimal
    purpose: Purpose
    reason: str
    accepted_at: datetime
    leg: str | None = None
    parent: str | None = None

    @property
    def reserved_cash(self) -> Decimal:
        """Buying power that it holds."""
        if self.side is Side.SELL or self.limit_price is None:
            return _ZERO
        return (self.quantity * self.limit_price).quantize(_CENT, rounding=ROUND_CEILING)


class BacktestVenue:
    """One account on one tape. Call `open_session`, then `advance`, `submit` and `cancel` in time order, `close_session`."""

    def __init__(self, *, cash: Decimal, costs: CostModel, instruments: Mapping[str, Instrument]) -> None:
        self.ledger = opened(cash)
        self.previous_close_equity = cash
        self._costs = costs
        self._instruments = instruments
        self._open: dict[str, Resting] = {}
        self._released: set[str] = set()  # entries that filled, whose legs work from then on
        self._events: list[tuple[int, int, str, Decimal]] = []
        self._sequence = 0
        self._tape: SessionTape | None = None

    @property
    def portfolio(self) -> Portfolio:
        """Cash and holdings."""
        return self.ledger.portfolio

    @property
    def buying_power(self) -> Decimal:
        """Cash that no open order holds."""
        return max(self.portfolio.cash - sum((o.reserved_cash for o in self._open.values()), _ZERO), _ZERO)

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
                stale=o.purpose is Purpose.ENTRY,  # decisions come once a slot: what is open is of an earlier one
            )
            for o in self._open.values()
        )

    def equity(self, at: datetime) -> Decimal:
        """Cash plus holdings at the newest price known at `at`; what never had a price counts at its cost."""
        tape, prices = self._require_tape(), {}
        for symbol, position in self.portfolio.positions.items():
            price = tape.snapshot(symbol, at).price
            known = math.isfinite(price)
            prices[symbol] = self._instruments[symbol].price_nearest(price) if known else position.average_entry_price
        return self.portfolio.mark(prices)

    def open_session(self, tape: SessionTape) -> None:
        """Begin a session with the orders that outlived the night."""
        self._tape, self._events = tape, []
        self.ledger = roll(self.ledger, tape.hours.day.isoformat())
        for order in list(self._open.values()):
            self._watch(order, 0)

    def submit(self, order: Order, at: datetime) -> str | None:
        """Accept `order`, or say why not (then nothing changed)."""
        resting = self._resting(order, at)
        refusal = self._refusal(order, resting)
        if refusal is not None:
            return refusal
        self._open[order.client_order_id] = resting
        for leg, kind, limit, stop in (
            (PROFIT, OrderType.LIMIT, order.take_profit_price, None),
            (STOP, OrderType.STOP, None, order.stop_loss_price),
        ):
            if order.order_class is OrderClass.BRACKET:
                self._open[leg_id(order.client_order_id, leg)] = self._leg(resting, leg, kind, limit, stop)
        self._watch(resting, self._require_tape().minute_of(at))
        return None

    def cancel(self, client_order_id: str) -> bool:
        """Cancel an open order and with it the rest of its bracket; False when it is not open any more."""
        order = self._open.get(client_order_id)
        if order is None:
            return False
        family = order.parent or order.client_order_id
        for member in [o for o in self._open.values() if family in {o.client_order_id, o.parent}]:
            del self._open[member.client_order_id]
        self._released.discard(family)
        return True

    def advance(self, to: datetime) -> list[Execution]:
        """Everything that filled in the minutes complete by `to`, in time order."""
        end, executions = self._require_tape().minute_of(to), []
        while self._events and self._events[0][0] < end:
            minute, _, client_order_id, price = heapq.heappop(self._events)
            order = self._open.get(client_order_id)
            execution = self._fill(order, price, minute) if order else None
            if execution:
                executions.append(execution)
        return executions

    def close_session(self) -> Decimal:
        """Expire day orders; the equity at the close."""
        for order in [o for o in self._open.values() if o.time_in_force is TimeInForce.DAY]:
            del self._open[order.client_order_id]
        self.previous_close_equity = self.equity(self._require_tape().hours.closes_at)
        return self.previous_close_equity

    def _fill(self, order: Resting, price: Decimal, minute: int) -> Execution | None:
        del self._open[order.client_order_id]
        if order.side is Side.BUY and order.quantity * price > self.buying_power:
            self.cancel(leg_id(order.client_order_id, PROFIT))
            return None
        tape = self._require_tape()
        at = tape.hours.opens_at + (minute + 1) * MINUTE
        fill = Fill(
            execution_id=f"{order.client_order_id}-1",
            venue_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            quantity=order.quantity,
            price=price,
            filled_at=at,
            commission=self._costs.commission(order.quantity, price),
        )
        execution = Execution(fill=fill, client_order_id=order.client_order_id, purpose=order.purpose, reason=order.reason)
        self.ledger = book(self.ledger, [execution])
        if order.parent is not None:
            for leg in (PROFIT, STOP):
                self._open.pop(leg_id(order.parent, leg), None)
            self._released.discard(order.parent)
        elif profit := self._open.get(leg_id(order.client_order_id, PROFIT)):
            self._released.add(order.client_order_id)
            self._watch(profit, minute + 1)
        return execution

    def _watch(self, order: Resting, first: int) -> None:
        """Find when `order`, or the pair of legs whose take-profit it is, fills in the rest of this session."""
        path = self._require_tape().paths.get(order.symbol)
        if path is None or first >= len(path.open):
            return
        instrument = self._instruments[order.symbol]
        if order.leg is None:
            found = first_fill(order, order.quantity, path, first, instrument=instrument, costs=self._costs)
            if found is not None:
                heapq.heappush(self._events, (found.bar_index, order.sequence, order.client_order_id, found.price))
        elif order.leg == PROFIT and order.parent in self._released:
            loss = self._open[leg_id(order.parent, STOP)]
            exit_ = first_exit(order, loss, order.quantity, path, first, instrument=instrument, costs=self._costs)
            if exit_ is not None:
                winner = loss if exit_.is_stop else order
                heapq.heappush(self._events, (exit_.bar_index, winner.sequence, winner.client_order_id, exit_.price))

    def _refusal(self, order: Order, resting: Resting) -> str | None:
        if order.side is Side.BUY:
            if resting.reserved_cash > self.buying_power:
                return "insufficient buying power"
            base, gain, loss = order.limit_price, order.take_profit_price, order.stop_loss_price
            if base is None or gain is None or loss is None or loss > base - _CENT or gain < base + _CENT:
                return "the protective prices are too close to the entry"
            return None
        position = self.portfolio.positions.get(order.symbol)
        owned = position.quantity if position else _ZERO
        promised = {
            o.parent or o.client_order_id: o.quantity for o in self._open.values() if self._holds_shares(o, order.symbol)
        }
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
        )

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
        )

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _require_tape(self) -> SessionTape:
        if self._tape is None:
            raise RuntimeError("open_session comes first")
        return self._tape


def leg_id(entry: str, leg: str) -> str:
    """The id of a protective leg; a live venue chooses its own."""
    return f"{entry}-{leg}"
