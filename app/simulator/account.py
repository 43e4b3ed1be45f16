"""An account at the exchange: accepts and cancels its orders, and fills them as the clock moves over the tape.

Nothing fills at acceptance. When the clock moves, complete minutes are matched in time order by `app.engine.matching`; an
execution is stamped with the end of its minute, the instant it became known. At each close day orders expire and the
account's equity is recorded.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal

from app.domain.errors import Conflict, InvalidInput
from app.domain.instrument import Instrument
from app.domain.order import OrderClass, OrderType, Side, TimeInForce
from app.engine.costs import CostModel
from app.engine.matching import Progress, first_exit, first_fill, follow
from app.engine.path import MinutePath
from app.simulator.configuration import Configuration
from app.simulator.errors import forbidden, invalid, not_found, unprocessable
from app.simulator.ledger import Ledger, Leg, SimOrder
from app.simulator.margin import Margin
from app.simulator.market import Market
from app.simulator.order_request import NewOrder

_MINUTE = timedelta(minutes=1)
_CENT = Decimal("0.01")
_NINE_PLACES = Decimal("0.000000001")
_Event = tuple[int, int, str, Decimal]  # minute of the session, sequence of the order, its id, fill price


class Account:
    """One account on a market, and its own view of the clock. key_id: the key that opens it, "" until the first one comes."""

    def __init__(self, *, market: Market, ledger: Ledger, costs: CostModel, now: datetime, key_id: str = "") -> None:
        self.key_id = key_id
        self.market = market
        self.ledger = ledger
        self.costs = costs
        self.now = now
        self.opened_at = now
        self.configuration = Configuration()
        self.trading_blocked = self.account_blocked = False
        self._instruments = {s: Instrument(symbol=s, quantity_step=_NINE_PLACES) for s in market.symbols}

    @property
    def second(self) -> int:
        """The clock in whole seconds since 1970 UTC: what the tape is asked with."""
        return int(self.now.timestamp())

    def price(self, symbol: str, at: int | None = None) -> Decimal | None:
        """Newest trade price of `symbol`, None before its first."""
        trade = self.market.last_trade(symbol, self.second if at is None else at)
        return None if trade is None else self._instruments[symbol].price_nearest(trade.price)

    def equity(self, at: int | None = None) -> Decimal:
        """Cash plus positions at their newest prices."""
        positions = self.ledger.portfolio.positions
        prices = {symbol: self.price(symbol, at) or position.average_entry_price for symbol, position in positions.items()}
        return self.ledger.portfolio.mark(prices)

    def configure(self, configuration: Configuration) -> None:
        """Put other settings in force."""
        self.configuration = configuration

    def margin(self) -> Margin:
        """What the account is worth and may still buy."""
        cash, equity, power = self.ledger.portfolio.cash, self.equity(), self.ledger.buying_power
        value = equity - cash
        return Margin(equity, cash, value, Decimal(0), value, value, 1, power, power, power)

    def order(self, order_id: str) -> SimOrder:
        """The order of that id; 404 when there is none."""
        try:
            return self.ledger.orders[order_id.lower()]
        except KeyError:
            raise not_found(f"order not found for {order_id[:64]}") from None

    def submit(self, new: NewOrder) -> SimOrder:
        """Accept an order, or raise ApiError and change nothing."""
        ledger = self.ledger
        if self.trading_blocked or self.account_blocked:
            raise forbidden("trading is blocked for this account")
        if new.client_order_id is not None and new.client_order_id in ledger.by_client_id:
            raise invalid("client_order_id must be unique")
        if new.symbol not in self._instruments:
            raise unprocessable(f'asset "{new.symbol[:20]}" not found')
        price = self.price(new.symbol)
        if price is None:
            raise unprocessable(f"asset {new.symbol} is not tradable")
        if new.order_class is OrderClass.BRACKET:
            _check_bracket(new, price)
        order = self._new_order(new, price)
        if new.side is Side.BUY:
            self._check_funds(order)
        else:
            self._check_shares(new.symbol, new.quantity or Decimal(0))
        ledger.put(order)
        ledger.tell(order.status, order, self.now)
        if new.order_class is OrderClass.BRACKET:
            self._attach_legs(order, new)
        return order

    def cancel(self, order_id: str) -> None:
        """Cancel an order, and with it the rest of its bracket."""
        order = self.order(order_id)
        if not order.is_open:
            raise unprocessable(f'order is already in "{order.status}" state')
        for member in self.ledger.family(order):
            self._end(member, "canceled", self.now)

    def cancel_all(self, orders: Iterable[SimOrder]) -> list[SimOrder]:
        """Cancel every order given that is still open; returns those that were."""
        chosen = [order for order in orders if order.is_open]
        for order in chosen:
            for member in self.ledger.family(order):
                self._end(member, "canceled", self.now)
        return chosen

    def close_position(self, symbol: str, *, quantity: Decimal | None = None, fraction: Decimal | None = None) -> SimOrder:
        """A market sell of a holding, or of part of it."""
        held = self.ledger.position_quantity(symbol)
        if not held:
            raise not_found("position does not exist")
        if fraction is not None:
            quantity = (held * fraction).quantize(_NINE_PLACES, rounding=ROUND_DOWN)
        wanted = held if quantity is None else quantity
        if wanted <= 0:
            raise invalid("qty must be > 0")
        return self.submit(
            NewOrder(
                symbol=symbol,
                side=Side.SELL,
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
        """Move the clock forward to `to`: match, expire and record closes on the way. Backwards raises Conflict."""
        if to < self.now:
            raise Conflict(f"the clock shows {self.now.isoformat()} and never goes back to {to.isoformat()}")
        market, begin, end = self.market, self.second, int(to.timestamp())
        if end > market.closes(len(market.sessions) - 1):
            raise InvalidInput(f"the calendar ends on {market.sessions[-1].day}; the clock cannot go past it")
        for number in range(max(0, market.started(begin)), market.started(end) + 1):
            if market.closes(number) <= begin:
                continue
            self._release_waiting(number)
            done, complete = market.minutes_done(number, begin), market.minutes_done(number, end)
            if complete > done:
                self._match(number, done, complete)
            if market.closes(number) <= end:
                self._close_session(number)
        self.now = to

    # -- matching ----------------------------------------------------------------------------------------------------

    def _match(self, number: int, first: int, last: int) -> None:
        """Fill what minutes first <= i < last of session `number` fill, in time order."""
        events: list[_Event] = []
        waiting = list(self.ledger.open_orders())
        self.market.prepare({order.symbol for order in waiting}, number)
        for order in waiting:
            self._enqueue(events, order, number, first, last)
        while events:
            minute, _, order_id, price = heapq.heappop(events)
            order = self.ledger.orders[order_id]
            if not order.is_open:
                continue
            at = self.market.sessions[number].opens_at + (minute + 1) * _MINUTE
            self._fill(order, price, at)
            for leg in self.ledger.legs(order_id):
                self._enqueue(events, leg, number, minute + 1, last)

    def _enqueue(self, events: list[_Event], order: SimOrder, number: int, first: int, last: int) -> None:
        """Add the first fill of `order`, or of the pair of legs whose take-profit it is, to the events."""
        opens_at = self.market.sessions[number].opens_at
        first = max(first, -int((opens_at - order.active_from) // _MINUTE))
        path = self.market.path(order.symbol, number) if order.is_open and first < last else None
        if path is None:
            return
        instrument, quantity = self._instruments[order.symbol], _quantity(order)
        if order.leg is None:
            fill = first_fill(
                order,
                quantity,
                path,
                first,
                end=last,
                instrument=instrument,
                costs=self.costs,
                progress=Progress(order.triggered),
            )
            if fill is not None:
                heapq.heappush(events, (fill.bar_index, order.sequence, order.id, fill.price))
            else:
                self._note_trigger(order, path, first, last)
        elif order.leg is Leg.TAKE_PROFIT and self.ledger.orders[order.parent_id or ""].status == "filled":
            gain, loss = self.ledger.legs(order.parent_id or "")
            found = first_exit(
                gain,
                loss,
                quantity,
                path,
                first,
                end=last,
                instrument=instrument,
                costs=self.costs,
                progress=Progress(loss.triggered),
            )
            if found is not None:
                winner = loss if found.is_stop else gain
                heapq.heappush(events, (found.bar_index, winner.sequence, winner.id, found.price))
            else:
                self._note_trigger(loss, path, first, last)

    def _note_trigger(self, order: SimOrder, path: MinutePath, first: int, last: int) -> None:
        if order.type not in {OrderType.STOP, OrderType.STOP_LIMIT} or order.triggered:
            return
        if follow(order, path, first, end=last).triggered:
            self.ledger.put(replace(order, triggered=True))

    def _fill(self, order: SimOrder, price: Decimal, at: datetime) -> None:
        ledger = self.ledger
        if order.notional is not None:
            quantity = (order.notional / price).quantize(_NINE_PLACES, rounding=ROUND_DOWN)
        else:
            quantity = order.quantity or Decimal(0)
        free = ledger.portfolio.cash - ledger.reserved_cash + order.reserved_cash
        if order.side is Side.BUY and quantity * price > free:
            # The market gapped away while a market or stop order waited; a cash account cannot pay for it any more.
            for member in ledger.family(order):
                self._end(member, "rejected" if member.id == order.id else "canceled", at)
            return
        commission = self.costs.commission(quantity, price)
        filled = ledger.book(order, quantity=quantity, price=price, commission=commission, at=at)
        ledger.tell("fill", filled, at, ledger.fills[-1])
        for member in ledger.family(order):
            if order.leg is not None:
                self._end(member, "canceled", at)
            elif member.leg is Leg.TAKE_PROFIT:
                ledger.put(replace(member, status="new", active_from=at, updated_at=at))
            elif member.leg is Leg.STOP_LOSS:
                ledger.put(replace(member, active_from=at, updated_at=at))

    def _release_waiting(self, number: int) -> None:
        opened = self.market.sessions[number].opens_at
        for order in list(self.ledger.open_orders()):
            if order.status == "accepted":
                released = self.ledger.put(replace(order, status="new", updated_at=max(opened, order.updated_at)))
                self.ledger.tell("new", released, released.updated_at)

    def _close_session(self, number: int) -> None:
        at = self.market.sessions[number].closes_at
        for order in list(self.ledger.open_orders()):
            if order.time_in_force is TimeInForce.DAY:
                self._end(order, "expired", at)
        self.ledger.closes.append((self.market.sessions[number].day, self.equity(self.market.closes(number))))

    def _end(self, order: SimOrder, status: str, at: datetime) -> None:
        if not order.is_open:
            return
        stamp = {"canceled": "canceled_at", "expired": "expired_at", "rejected": "failed_at"}[status]
        ended = self.ledger.put(replace(order, status=status, updated_at=at, **{stamp: at}))  # type: ignore[arg-type]
        self.ledger.tell(status, ended, at)

    # -- acceptance --------------------------------------------------------------------------------------------------

    def _new_order(self, new: NewOrder, price: Decimal) -> SimOrder:
        ledger, sequence = self.ledger, len(self.ledger.orders)
        client_id = new.client_order_id or ledger.name("client", sequence)
        number = self.market.started(self.second)
        is_open = number >= 0 and self.second < self.market.closes(number)
        return SimOrder(
            id=ledger.name("order", client_id),
            client_order_id=client_id,
            sequence=sequence,
            symbol=new.symbol,
            side=new.side,
            type=new.type,
            time_in_force=new.time_in_force,
            order_class=new.order_class,
            status="new" if is_open else "accepted",
            submitted_at=self.now,
            updated_at=self.now,
            active_from=self.now,
            quantity=new.quantity,
            notional=new.notional,
            limit_price=new.limit_price,
            stop_price=new.stop_price,
            estimate=max(price, new.stop_price or Decimal(0)),
        )

    def _attach_legs(self, parent: SimOrder, new: NewOrder) -> None:
        stop_type = OrderType.STOP if new.stop_loss_limit_price is None else OrderType.STOP_LIMIT
        legs = (
            (Leg.TAKE_PROFIT, OrderType.LIMIT, new.take_profit_price, None),
            (Leg.STOP_LOSS, stop_type, new.stop_loss_limit_price, new.stop_loss_price),
        )
        for leg, kind, limit, stop in legs:
            client_id = self.ledger.name("client", parent.id, leg)
            self.ledger.put(
                replace(
                    parent,
                    id=self.ledger.name("order", client_id),
                    client_order_id=client_id,
                    sequence=len(self.ledger.orders),
                    side=Side.SELL,
                    type=kind,
                    status="held",
                    limit_price=limit,
                    stop_price=stop,
                    estimate=Decimal(0),
                    parent_id=parent.id,
                    leg=leg,
                )
            )

    def _check_funds(self, order: SimOrder) -> None:
        cost, power = order.reserved_cash, self.ledger.buying_power
        if cost > power:
            raise forbidden("insufficient buying power", buying_power=str(power), cost_basis=str(cost))

    def _check_shares(self, symbol: str, quantity: Decimal) -> None:
        owned = self.ledger.position_quantity(symbol)
        held = self.ledger.held_quantity(symbol)
        if not owned:
            raise forbidden("account is not allowed to short")
        if quantity > owned - held:
            related = [o.id for o in self.ledger.open_orders() if o.symbol == symbol and o.reserved_quantity]
            raise forbidden(
                f"insufficient qty available for order (requested: {_plain(quantity)}, available: {_plain(owned - held)})",
                available=_plain(owned - held),
                existing_qty=_plain(owned),
                held_for_orders=_plain(held),
                related_orders=related,
                symbol=symbol,
            )


def _quantity(order: SimOrder) -> Decimal:
    """Shares that are left; of a notional order as many as it was expected to buy."""
    if order.notional is not None:
        return (order.notional / order.estimate).quantize(_NINE_PLACES, rounding=ROUND_DOWN)
    return (order.quantity or Decimal(0)) - order.filled_quantity


def _check_bracket(new: NewOrder, price: Decimal) -> None:
    if new.side is Side.SELL:
        raise forbidden("account is not allowed to short")
    gain, loss = new.take_profit_price, new.stop_loss_price
    if gain is None or loss is None:
        raise unprocessable("bracket orders require take_profit.limit_price and stop_loss.stop_price")
    if gain <= loss:
        raise unprocessable("take_profit.limit_price must be > stop_loss.stop_price")
    base = new.limit_price or new.stop_price or price
    if loss > base - _CENT:
        raise unprocessable("stop_loss.stop_price must be <= base_price - 0.01", base_price=_plain(base))
    if gain < base + _CENT:
        raise unprocessable("take_profit.limit_price must be >= base_price + 0.01", base_price=_plain(base))
    if new.stop_loss_limit_price is not None and new.stop_loss_limit_price > loss:
        raise unprocessable("stop_loss.limit_price must be <= stop_loss.stop_price")


def _plain(number: Decimal) -> str:
    return format(number.normalize(), "f")
