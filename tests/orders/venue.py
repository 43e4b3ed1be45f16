"""A venue with a ledger of its own that answers badly on purpose, and judges what it accepts by its own truth."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal

from app.domain.activity import Activities
from app.domain.errors import OutcomeUnknown, Refused, TryAgain
from app.domain.order import Fill, Order, OrderType, Purpose, Side, ValidatedOrder, VenueOrder
from app.domain.portfolio import Position
from app.domain.ports import Account
from app.risk.limits import RiskLimits

ENDED = frozenset({"filled", "canceled", "expired", "rejected"})
# How the answer to an order goes wrong, and how often in a thousand.
ANSWERS = {
    "good": 700, "lost": 60, "late": 30, "dropped": 60, "html": 20, "refused": 30, "unprocessable": 20, "repeated": 20,
    "busy": 30, "locked": 30,
}  # fmt: skip


class Broken(AssertionError):
    """A law was broken at the venue."""


@dataclass
class Resting:
    """An order on the venue's own book."""

    order: VenueOrder
    purpose: Purpose
    visible_at: datetime
    parent: str | None = None

    @property
    def left(self) -> Decimal:
        return self.order.quantity - self.order.filled_quantity

    @property
    def is_open(self) -> bool:
        return self.order.status not in ENDED


class Venue:
    """Implements what executor and reconciler ask of a broker. Time stands still but for `pass_time`."""

    def __init__(
        self, dice: random.Random, now: datetime, cash: Decimal, prices: dict[str, Decimal], limits: RiskLimits
    ) -> None:
        self.dice, self.now, self.cash, self.prices, self.limits = dice, now, cash, prices, limits
        self.held: dict[str, Decimal] = {}
        self.book: dict[str, Resting] = {}
        self.executions: list[tuple[datetime, Fill]] = []
        self.posts: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        self.reports: list[VenueOrder] = []
        self.arrivals: list[tuple[datetime, Order]] = []
        self.answers = dict(ANSWERS)
        self.lag_seconds = 20.0
        self.lock: Callable[[], None] = lambda: None
        self.may_be_posted: Callable[[Order], bool] = lambda _: True
        self._number = 0

    # --- what the product may ask

    def account(self) -> Account:
        equity = self.equity()
        reserved = sum((one.left * (one.order.limit_price or 0) for one in self._open(Side.BUY)), Decimal(0))
        return Account(
            account_id="a", cash=self.cash, equity=equity, previous_close_equity=equity,
            buying_power=self.cash - reserved, trading_blocked=False,
        )  # fmt: skip

    def positions(self) -> dict[str, Position]:
        return {
            symbol: Position(symbol=symbol, quantity=units, average_entry_price=Decimal(1))
            for symbol, units in self.held.items()
        }

    def open_orders(self) -> list[VenueOrder]:
        return [one.order for one in self._seen() if one.is_open]

    def closed_orders(self, *, since: datetime, symbols: Collection[str], wanted: Collection[str]) -> list[VenueOrder]:
        ended = [one.order for one in self._seen() if not one.is_open and one.order.submitted_at > since]
        return [order for order in ended if order.symbol in symbols]

    def order_history(self, *, since: datetime) -> list[VenueOrder]:
        return [one.order for one in self._seen() if one.order.submitted_at > since]

    def activities(self, *, since: datetime) -> Activities:
        return Activities(fills=tuple(self.fills(since=since)))

    def fills(self, *, since: datetime) -> list[Fill]:
        """Late, repeated and in any order."""
        told = [fill for visible_at, fill in self.executions if visible_at <= self.now and fill.filled_at >= since]
        told += self.dice.sample(told, len(told) // 2)
        self.dice.shuffle(told)
        return told

    def order_by_client_id(self, client_order_id: str) -> VenueOrder | None:
        if self.dice.random() < 0.05:
            raise TryAgain("no answer")
        found = [one.order for one in self._seen() if one.order.client_order_id == client_order_id]
        if not found:
            return None
        legs = tuple(one.order for one in self._seen() if one.parent == found[0].venue_order_id)
        return replace(found[0], legs=legs)

    def submit(self, validated: ValidatedOrder) -> VenueOrder:
        order = validated.order
        self.posts[order.client_order_id] += 1
        if self.posts[order.client_order_id] > 1:
            raise Broken(f"{order.client_order_id} was posted twice")
        if not self.may_be_posted(order):
            raise Broken(f"{order.client_order_id} was posted when its time was over")
        how = self.dice.choices(list(self.answers), list(self.answers.values()))[0]
        if how in {"dropped", "busy"}:
            raise (TryAgain if how == "busy" else OutcomeUnknown)(how)
        if how in {"refused", "unprocessable"}:
            raise Refused(how, status=403 if how == "refused" else 422)
        if how == "late":
            self.arrivals.append((self.now + timedelta(seconds=self.dice.uniform(0, 25)), order))
            raise OutcomeUnknown("timed out")
        answer = self.accept(order)
        if how == "locked":
            self.lock()
        if how == "repeated":  # something on the way sent it again, and this is the answer to the second one
            raise Refused("not unique", status=422)
        if how in {"lost", "html"}:
            raise OutcomeUnknown(how)
        return answer

    def cancel(self, venue_order_id: str) -> None:
        one = self.book[venue_order_id]
        if not one.is_open:
            raise Refused("it has ended", status=422)
        how = self.dice.choices(["done", "stuck", "filled", "lost", "busy"], [70, 10, 10, 5, 5])[0]
        if how == "busy":
            raise TryAgain("busy")
        if how == "filled" and self._is_active(one):
            self._execute(one, one.left)
        elif how == "stuck":
            self._change(one, status="pending_cancel")
        else:
            self._end(one, "canceled")
        if how == "lost":
            raise OutcomeUnknown("lost")

    # --- what happens there by itself

    def pass_time(self, seconds: float) -> None:
        until = self.now + timedelta(seconds=seconds)
        for due, order in sorted((one for one in self.arrivals if one[0] <= until), key=lambda one: one[0]):
            self.arrivals.remove((due, order))
            self.now = max(self.now, due)
            self.accept(order, late=True)
        self.now = until

    def trade(self, likely: float = 0.5) -> None:
        """Some orders fill, in part or whole; some stuck ones let go."""
        for one in list(self.book.values()):
            if not one.is_open or not self._is_active(one) or self.dice.random() > likely:
                continue
            if one.order.status == "pending_cancel" and self.dice.random() < 0.5:
                self._end(one, "canceled")
                continue
            share = self.dice.choice([Decimal("0.3"), Decimal("0.5"), Decimal(1), Decimal(1)])
            units = (one.left * share).quantize(Decimal(1), rounding=ROUND_DOWN) or one.left
            self._execute(one, min(units, one.left))

    def finish(self) -> None:
        """Every order ends, and everything becomes visible."""
        self.pass_time(120)
        for one in list(self.book.values()):
            if one.is_open:
                self._end(one, "canceled")
        self.pass_time(120)

    def equity(self) -> Decimal:
        return self.cash + self._held_value()

    def accept(self, order: Order, *, late: bool = False) -> VenueOrder:
        if self.accepted[order.client_order_id]:
            raise Broken(f"{order.client_order_id} was accepted twice")
        if order.side is Side.SELL and order.quantity > self._free(order.symbol):
            if late:
                return self._change(self._new(order), status="rejected")
            raise Refused("insufficient quantity", status=403)
        self.accepted[order.client_order_id] += 1
        one = self._new(order)
        if order.side is Side.BUY:
            self._judge(one, late)
            for kind, price in ((OrderType.LIMIT, order.take_profit_price), (OrderType.STOP, order.stop_loss_price)):
                self._new_leg(one, kind, price)
        if self.dice.random() < 0.03:
            self._change(one, status="pending_new")
        legs = tuple(leg.order for leg in self.book.values() if leg.parent == one.order.venue_order_id)
        return replace(one.order, legs=legs)

    # --- the venue's own arithmetic

    def _judge(self, new: Resting, late: bool) -> None:
        """Every limit, by the venue's own figures, at the moment an entry is taken."""
        buying = {one.order.symbol for one in self._open(Side.BUY)}
        if len(set(self.held) | buying) > self.limits.max_positions:
            raise Broken(f"{new.order.symbol}: {sorted(set(self.held) | buying)} are too many")
        if late:  # prices have moved since it was sent; nobody can answer for that
            return
        equity, value = self.equity(), new.order.quantity * (new.order.limit_price or Decimal("NaN"))
        on_order = sum((one.left * (one.order.limit_price or Decimal("NaN")) for one in self._open(Side.BUY)), Decimal(0))
        if not value <= Decimal(str(self.limits.max_position_fraction)) * equity:
            raise Broken(f"{new.order.symbol}: {value} is too much of {equity}")
        if not self._held_value() + on_order <= Decimal(str(self.limits.max_exposure_fraction)) * equity:
            raise Broken(f"{self._held_value()} held and {on_order} on order are too much of {equity}")
        if not on_order <= self.cash:
            raise Broken(f"{on_order} on order, {self.cash} in cash")

    def _held_value(self) -> Decimal:
        return sum((units * self.prices[symbol] for symbol, units in self.held.items()), Decimal(0))

    def _free(self, symbol: str) -> Decimal:
        """Units no open sell holds; a bracket's two legs hold the same ones."""
        holding: dict[str, Decimal] = {}
        for one in self._open(Side.SELL):
            if one.order.symbol == symbol and self._is_active(one):
                key = one.parent or one.order.venue_order_id
                holding[key] = max(holding.get(key, Decimal(0)), one.left)
        return self.held.get(symbol, Decimal(0)) - sum(holding.values(), Decimal(0))

    def _open(self, side: Side) -> list[Resting]:
        return [one for one in self.book.values() if one.is_open and one.order.side is side]

    def _seen(self) -> list[Resting]:
        return [one for one in self.book.values() if one.visible_at <= self.now]

    def _new(self, order: Order) -> Resting:
        return self._rest(
            VenueOrder(
                venue_order_id=self._next("v"), client_order_id=order.client_order_id, symbol=order.symbol, side=order.side,
                type=order.type, quantity=order.quantity, filled_quantity=Decimal(0), filled_average_price=None, status="new",
                submitted_at=self.now, limit_price=order.limit_price, stop_price=order.stop_price,
            ),
            order.purpose,
        )  # fmt: skip

    def _new_leg(self, entry: Resting, kind: OrderType, price: Decimal | None) -> None:
        name = self._next("v")
        leg = VenueOrder(
            venue_order_id=name, client_order_id=f"leg-{name}", symbol=entry.order.symbol, side=Side.SELL, type=kind,
            quantity=entry.order.quantity, filled_quantity=Decimal(0), filled_average_price=None, status="held",
            submitted_at=self.now, limit_price=price if kind is OrderType.LIMIT else None,
            stop_price=price if kind is OrderType.STOP else None, parent_order_id=entry.order.venue_order_id,
        )  # fmt: skip
        self._rest(leg, Purpose.EXIT).visible_at = entry.visible_at

    def _rest(self, order: VenueOrder, purpose: Purpose) -> Resting:
        visible_at = self.now + timedelta(seconds=self.dice.uniform(0, self.lag_seconds) if self.dice.random() < 0.3 else 0)
        one = Resting(order=order, purpose=purpose, visible_at=visible_at, parent=order.parent_order_id)
        self.book[order.venue_order_id] = one
        self.reports.append(order)
        return one

    def _change(self, one: Resting, **values: object) -> VenueOrder:
        one.order = replace(one.order, **values)
        self.reports.append(one.order)
        return one.order

    def _end(self, one: Resting, status: str) -> None:
        self._change(one, status=status)
        if one.purpose is Purpose.ENTRY:
            bought = one.order.filled_quantity
            for leg in self._legs(one.order.venue_order_id):
                self._change(leg, **({"status": "new", "quantity": bought} if bought else {"status": "canceled"}))
        elif one.parent:
            for other in self._legs(one.parent):
                if other.is_open:
                    self._change(other, status="canceled")

    def _is_active(self, one: Resting) -> bool:
        """Whether it can fill: a leg waits until its entry has ended, even while it is itself being cancelled."""
        return one.parent is None or not self.book[one.parent].is_open

    def _legs(self, entry: str) -> list[Resting]:
        return [leg for leg in self.book.values() if leg.parent == entry and leg.is_open]

    def _execute(self, one: Resting, units: Decimal) -> None:
        order, price = one.order, self.prices[one.order.symbol]
        if order.side is Side.SELL and units > self.held.get(order.symbol, Decimal(0)):
            raise Broken(f"{order.symbol}: {units} sold, {self.held.get(order.symbol)} held")
        fill = Fill(
            execution_id=self._next("e"), venue_order_id=order.venue_order_id, symbol=order.symbol, side=order.side,
            quantity=units, price=price, filled_at=self.now,
        )  # fmt: skip
        late = self.dice.uniform(0, 60) if self.dice.random() < 0.3 else 0.0
        self.executions.append((self.now + timedelta(seconds=late), fill))
        self.cash -= order.side.sign * units * price
        self.held[order.symbol] = self.held.get(order.symbol, Decimal(0)) + order.side.sign * units
        if not self.held[order.symbol]:
            del self.held[order.symbol]
        filled = order.filled_quantity + units
        done = filled == order.quantity
        status = order.status if order.status == "pending_cancel" and not done else "partially_filled"
        self._change(one, filled_quantity=filled, filled_average_price=price, status="filled" if done else status)
        if one.purpose is Purpose.ENTRY and done:
            for leg in self._legs(order.venue_order_id):
                self._change(leg, status="new")
        elif one.parent:
            for other in self._legs(one.parent):
                if other is not one:
                    self._change(other, **({"status": "canceled"} if done else {"quantity": other.order.quantity - units}))

    def _next(self, prefix: str) -> str:
        self._number += 1
        return f"{prefix}{self._number}"
