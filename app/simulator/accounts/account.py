"""An account at the exchange: accepts, replaces and cancels its orders, and fills them as the clock moves over the tape.

Nothing fills at acceptance. When the clock moves, complete minutes are matched in time order by `app.engine.matching`; an
execution is stamped with the end of its minute, the instant it became known. On the way, at their own instants and in this
order, cancels take effect and orders expire, a close is recorded, the first hours of a day let corporate actions take effect,
and an opening releases what waited for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal

from app.domain.errors import Conflict, InvalidInput
from app.domain.order import OrderClass, OrderType, Side, TimeInForce
from app.simulator.accounts import session_rules
from app.simulator.accounts.acceptance import accept
from app.simulator.accounts.account_state import AccountState
from app.simulator.accounts.corporate import apply_actions
from app.simulator.accounts.crossing import Crossing
from app.simulator.accounts.ledger import SimOrder
from app.simulator.accounts.order_request import NewOrder
from app.simulator.accounts.replacement import Replacement, replace_order
from app.simulator.accounts.sim_order import NINE_PLACES
from app.simulator.errors import invalid, not_found, unprocessable


class Account(AccountState):
    """What clients and the clock do to an account."""

    def order(self, order_id: str) -> SimOrder:
        """The order of that id; 404 when there is none."""
        try:
            return self.ledger.orders[order_id.lower()]
        except KeyError:
            raise not_found(f"order not found for {order_id[:64]}") from None

    def submit(self, new: NewOrder) -> SimOrder:
        """Accept an order, or raise ApiError and change nothing."""
        self.check_blocks()
        order, *legs = accept(self, new)
        self.ledger.put(order)
        self.ledger.tell(order.status, order, self.now)
        for leg in legs:
            self.ledger.put(leg)
        return order

    def replace(self, order_id: str, wanted: Replacement) -> SimOrder:
        """A new order in place of an open one, or ApiError and nothing changed."""
        self.check_blocks()
        return replace_order(self, self.order(order_id), wanted)

    def cancel(self, order_id: str, *, stuck: bool = False) -> None:
        """Cancel an order, and with it the rest of its group, now or after `cancel_seconds`.

        stuck: it stays pending_cancel until `release_cancels`.
        """
        order = self.order(order_id)
        if not order.is_open or order.status == "pending_cancel":
            raise unprocessable(f'order is already in "{order.status}" state')
        if not stuck and not self.cancel_seconds:
            self.end_family(order, "canceled", self.now)
            return
        effect = None if stuck else self.now + timedelta(seconds=self.cancel_seconds)
        pending = self.ledger.put(replace(order, status="pending_cancel", cancel_at=effect, updated_at=self.now))
        self.ledger.tell("pending_cancel", pending, self.now)

    def release_cancels(self) -> None:
        """Let cancels that are stuck take effect."""
        for order in list(self.ledger.open_orders()):
            if order.status == "pending_cancel" and order.cancel_at is None:
                self.end_family(order, "canceled", self.now)

    def cancel_all(self, orders: Iterable[SimOrder]) -> list[SimOrder]:
        """Cancel every order given that is still open; returns those that were."""
        chosen = [order for order in orders if order.is_open and order.status != "pending_cancel"]
        for order in chosen:
            present = self.ledger.orders[order.id]
            if present.is_open and present.status != "pending_cancel":
                self.cancel(order.id)
        return chosen

    def cancel_at_once(self, orders: Iterable[SimOrder]) -> None:
        """Cancel open orders without delay, as the exchange does before it closes positions."""
        for order in orders:
            self.end(self.ledger.orders[order.id], "canceled", self.now)

    def doom(self, order_id: str, reason: str) -> None:
        """Let an accepted order be rejected when the clock moves next."""
        order = self.order(order_id)
        if order.is_open:
            self.ledger.put(replace(order, doom=reason))

    def close_position(self, symbol: str, *, quantity: Decimal | None = None, fraction: Decimal | None = None) -> SimOrder:
        """A market order that closes a position, or part of it: a sell of what is owned, a buy of what was sold short."""
        owned = self.ledger.position_quantity(symbol)
        if not owned:
            raise not_found("position does not exist")
        if fraction is not None:
            quantity = (abs(owned) * fraction).quantize(NINE_PLACES, rounding=ROUND_DOWN)
        wanted = abs(owned) if quantity is None else quantity
        if wanted <= 0:
            raise invalid("qty must be > 0")
        return self.submit(
            NewOrder(
                symbol=symbol,
                side=Side.SELL if owned > 0 else Side.BUY,
                type=OrderType.MARKET,
                time_in_force=TimeInForce.DAY,
                order_class=OrderClass.SIMPLE,
                client_order_id=None,
                quantity=wanted,
                notional=None,
                limit_price=None,
                stop_price=None,
            )
        )

    def advance(self, to: datetime) -> None:
        """Move the clock forward to `to`, with all that happens on the way. Backwards raises Conflict."""
        if to < self.now:
            raise Conflict(f"the clock shows {self.now.isoformat()} and never goes back to {to.isoformat()}")
        market = self.market
        if int(to.timestamp()) > market.closes(len(market.sessions) - 1):
            raise InvalidInput(f"the calendar ends on {market.sessions[-1].day}; the clock cannot go past it")
        if to > self.now:
            for order_id in list(self.ledger.doomed):
                self.end_family(self.ledger.orders[order_id], "rejected", self.now)
        while self.now < to:
            at = self._next_instant(to)
            self._match(at)
            self.now = at
            self._keep_house()

    def _next_instant(self, to: datetime) -> datetime:
        """The first instant after the clock, `to` at the latest, at which more than matching happens."""
        market, number = self.market, self.market.started(self.second)
        candidates = [to]
        if number >= 0:
            candidates.append(market.sessions[number].closes_at)
        if number + 1 < len(market.sessions):
            candidates += [window.opens_at for window in session_rules.windows(market, number + 1) if window.kind != "post"]
        due = self.ledger.next_due()
        if due is not None:
            candidates.append(due)
        return min(at for at in candidates if at > self.now)

    def _match(self, to: datetime) -> None:
        number = self.market.started(self.second)
        for session in range(max(0, number), min(number + 2, len(self.market.sessions))):
            for window in session_rules.windows(self.market, session):
                first, last = window.complete(self.now), window.complete(to)
                if first < last:
                    Crossing(self, window, first, last).run()

    def _keep_house(self) -> None:
        now, ledger, market = self.now, self.ledger, self.market
        for order in ledger.take_due(now):
            if order.cancel_at is not None and order.cancel_at <= now:
                self.end_family(ledger.orders[order.id], "canceled", now)
            else:
                self.end(ledger.orders[order.id], "expired" if order.time_in_force is TimeInForce.DAY else "canceled", now)
        number, begun = market.started(self.second), market.begun(self.second)
        if number >= 0 and now == market.sessions[number].closes_at:
            ledger.closes.append((market.sessions[number].day, self.equity()))
        opening = [window.opens_at for window in session_rules.windows(market, begun)] if begun >= 0 else []
        if opening and now == opening[0]:
            apply_actions(self, begun, now)
        if now in opening:
            self._release(now)

    def _release(self, now: datetime) -> None:
        """Send what waited for the opening of a window."""
        for order in list(self.ledger.open_orders()):
            if order.status == "accepted" and session_rules.is_open(self.market, now, extended=order.extended_hours):
                released = self.ledger.put(replace(order, status="new", updated_at=now))
                self.ledger.tell("new", released, now)
