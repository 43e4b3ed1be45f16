"""The rules that an order must meet at its account: permissions, position, wash trades, funds. Refusals in Alpaca's words."""

from __future__ import annotations

from decimal import Decimal

from app.domain.order import OrderClass, OrderType, Side
from app.simulator.accounts import session_rules
from app.simulator.accounts.account_state import AccountState
from app.simulator.accounts.ledger import SimOrder
from app.simulator.accounts.order_request import NewOrder
from app.simulator.accounts.sim_order import UNPRICED_MARGIN, Intent, Leg
from app.simulator.errors import forbidden, invalid, unprocessable

_CENT = Decimal("0.01")
_ZERO = Decimal(0)
# A short sale counts with at least 3 % more than the ask (Alpaca's rule for short orders).
_SHORT_MARGIN = Decimal("1.03")
_LIMITS = frozenset([OrderType.LIMIT, OrderType.STOP_LIMIT])


def accept(account: AccountState, new: NewOrder) -> list[SimOrder]:
    """The order that a request makes, then its legs. Raises ApiError; changes nothing in either case."""
    ledger = account.ledger
    if account.configuration.suspend_trade:
        raise forbidden("new orders are rejected by user request")
    check_client_id(account, new.client_order_id)
    if not account.market.knows(new.symbol):
        raise unprocessable(f'asset "{new.symbol[:20]}" not found')
    price = account.price(new.symbol)
    if price is None:
        raise unprocessable(f"asset {new.symbol} is not tradable")
    if new.fractional and not account.configuration.fractional_trading:
        raise forbidden("fractional trading is disabled by the account configuration")
    session_rules.check_window(account.market, account.now, new.time_in_force)
    intent = intent_of(account, new)
    order = _order(account, new, intent, price)
    check_position(account, order)
    check_levels(new, price)
    check_wash_trade(account, order)
    check_funds(account, order)
    sequence = len(ledger.orders)
    return [order, *(_leg(account, order, new, leg, sequence + 1 + i) for i, leg in enumerate(_legs(new)))]


def check_client_id(account: AccountState, client_order_id: str | None) -> None:
    """The sender's id is good once for ever."""
    if client_order_id is not None and client_order_id in account.ledger.by_client_id:
        raise invalid("client_order_id must be unique")


def intent_of(account: AccountState, new: NewOrder) -> Intent:
    """What the order would do to the position; refused when its sender says something else or its class forbids it."""
    held = account.ledger.position_quantity(new.symbol)
    if new.side is Side.BUY:
        intent = Intent.BUY_TO_CLOSE if held < 0 else Intent.BUY_TO_OPEN
    else:
        intent = Intent.SELL_TO_CLOSE if held > 0 else Intent.SELL_TO_OPEN
    if new.intent not in {None, intent}:
        raise unprocessable(f"position intent mismatch, inferred: {intent}, specified: {new.intent}")
    if new.order_class is OrderClass.OCO and intent.opens:
        raise unprocessable("oco orders must be exit orders")
    if new.order_class in {OrderClass.BRACKET, OrderClass.OTO} and not intent.opens:
        raise unprocessable(f"{new.order_class} orders must be entry orders")
    return intent


def check_levels(new: NewOrder, price: Decimal) -> None:
    """Protective prices must be on the right sides of each other and of the entry."""
    gain, loss = new.take_profit_price, new.stop_loss_price
    if new.order_class is OrderClass.OCO:
        sign, base = -new.side.sign, None
    else:
        sign, base = new.side.sign, new.limit_price or new.stop_price or price
    up, down = (">", "<") if sign > 0 else ("<", ">")
    edge = "-+" if sign > 0 else "+-"
    if gain is not None and loss is not None and (gain - loss) * sign <= 0:
        raise unprocessable(f"take_profit.limit_price must be {up} stop_loss.stop_price")
    beyond = new.stop_loss_limit_price
    if beyond is not None and loss is not None and (loss - beyond) * sign < 0:
        raise unprocessable(f"stop_loss.limit_price must be {down}= stop_loss.stop_price")
    if base is None:
        return
    if loss is not None and (base - loss) * sign < _CENT:
        raise unprocessable(f"stop_loss.stop_price must be {down}= base_price {edge[0]} 0.01", base_price=plain(base))
    if gain is not None and (gain - base) * sign < _CENT:
        raise unprocessable(f"take_profit.limit_price must be {up}= base_price {edge[1]} 0.01", base_price=plain(base))


def check_position(account: AccountState, order: SimOrder, *, freed: Decimal = _ZERO) -> None:
    """An order that reduces a position must find the shares; one that opens a position must be allowed to.

    freed: shares that an order to be replaced holds.
    """
    if order.intent.opens:
        _check_opening(account, order)
        return
    ledger, symbol = account.ledger, order.symbol
    owned, held = abs(ledger.position_quantity(symbol)), ledger.held_quantity(symbol) - freed
    if order.left <= owned - held:
        return
    related = [o.id for o in ledger.open_orders_of(symbol) if o.reserved_quantity]
    raise forbidden(
        f"insufficient qty available for order (requested: {plain(order.left)}, available: {plain(owned - held)})",
        available=plain(owned - held),
        existing_qty=plain(owned),
        held_for_orders=plain(held),
        related_orders=related,
        symbol=symbol,
    )


def check_wash_trade(account: AccountState, order: SimOrder, *, replaced: SimOrder | None = None) -> None:
    """An open order on the other side refuses an order, unless both have limits that do not meet. Orders of brackets, OCO and
    OTO and trailing stops are exempt."""
    if _exempt(order):
        return
    for other in account.ledger.open_orders_of(order.symbol):
        if (
            other.side is order.side
            or _exempt(other)
            or (replaced is not None and other.id == replaced.id)
            or _apart(order, other)
        ):
            continue
        kind = "limit" if other.type is OrderType.LIMIT else "market/stop"
        raise forbidden(
            "potential wash trade detected. use complex orders",
            existing_order_id=other.id,
            reject_reason=f"opposite side {kind} order exists",
        )


def check_funds(account: AccountState, order: SimOrder, *, freed: Decimal = _ZERO) -> None:
    """What opens a position must be paid by the buying power. freed: what an order to be replaced holds of it."""
    cost = order.reserved_cash
    power = account.power() + freed
    if order.intent.opens and cost > power:
        raise forbidden("insufficient buying power", buying_power=plain(max(power, _ZERO)), cost_basis=plain(cost))


def estimate(account: AccountState, symbol: str, side: Side, price: Decimal, stop: Decimal | None) -> Decimal:
    """The price that an order without a limit is expected to cost at most: money is reserved with it."""
    if side is Side.SELL:
        return (account.ask(symbol) or price) * _SHORT_MARGIN
    return max(price, stop or _ZERO)


def plain(number: Decimal) -> str:
    """A number in plain digits."""
    return format(number.normalize(), "f")


def _check_opening(account: AccountState, order: SimOrder) -> None:
    others = [o for o in account.ledger.open_orders_of(order.symbol) if o.intent.opens and o.side is not order.side]
    if order.side is Side.BUY:
        if others:
            raise forbidden("cannot open a long buy while a short sell order is open", related_orders=[o.id for o in others])
        return
    if not account.may_short():
        raise forbidden("account is not allowed to short")
    if order.quantity is None or order.quantity != order.quantity.to_integral_value():
        raise unprocessable("fractional orders cannot be sold short")
    if others:
        raise forbidden("cannot open a short sell while a long buy order is open", related_orders=[o.id for o in others])


def _exempt(order: SimOrder) -> bool:
    return order.order_class is not OrderClass.SIMPLE or order.type is OrderType.TRAILING_STOP


def _apart(one: SimOrder, other: SimOrder) -> bool:
    buy, sell = (one, other) if one.side is Side.BUY else (other, one)
    if buy.type not in _LIMITS or sell.type not in _LIMITS or buy.limit_price is None or sell.limit_price is None:
        return False
    return buy.limit_price < sell.limit_price


def _order(account: AccountState, new: NewOrder, intent: Intent, price: Decimal) -> SimOrder:
    ledger, sequence, now = account.ledger, len(account.ledger.orders), account.now
    client_id = new.client_order_id or ledger.name("client", sequence)
    order_id = ledger.name("order", client_id)
    works = session_rules.is_open(account.market, now, extended=new.extended_hours)
    guess = estimate(account, new.symbol, new.side, price, new.stop_price)
    if new.notional is not None:
        guess = _notional_estimate(account, new, price)
    return SimOrder(
        id=order_id,
        client_order_id=client_id,
        sequence=sequence,
        symbol=new.symbol,
        side=new.side,
        type=new.type,
        time_in_force=new.time_in_force,
        order_class=new.order_class,
        intent=intent,
        status="new" if works else "accepted",
        submitted_at=now,
        updated_at=now,
        active_from=now,
        quantity=new.quantity,
        notional=new.notional,
        limit_price=new.limit_price,
        stop_price=new.stop_price,
        trail_price=new.trail_price,
        trail_percent=new.trail_percent,
        extended_hours=new.extended_hours,
        estimate=guess,
        group_id=None if new.order_class is OrderClass.SIMPLE else order_id,
        hwm=price if new.type is OrderType.TRAILING_STOP else None,
        expires_at=session_rules.expiry(account.market, now, new.time_in_force, extended=new.extended_hours),
    )


def _notional_estimate(account: AccountState, new: NewOrder, price: Decimal) -> Decimal:
    """A notional sell holds a few more shares than its amount is worth now, if they are there: the price may fall."""
    notional = new.notional or _ZERO
    ledger = account.ledger
    available = ledger.position_quantity(new.symbol) - ledger.held_quantity(new.symbol)
    if new.side is Side.BUY or available <= 0:
        return price
    careful = price / UNPRICED_MARGIN
    return careful if notional / careful <= available else max(careful, min(price, notional / available))


def _legs(new: NewOrder) -> list[Leg]:
    if new.order_class is OrderClass.OCO:
        return [Leg.STOP_LOSS]
    gain, loss = new.take_profit_price is not None, new.stop_loss_price is not None
    return [leg for leg, there in ((Leg.TAKE_PROFIT, gain), (Leg.STOP_LOSS, loss)) if there]


def _leg(account: AccountState, parent: SimOrder, new: NewOrder, leg: Leg, sequence: int) -> SimOrder:
    gains = leg is Leg.TAKE_PROFIT
    client_id = account.ledger.name("client", parent.id, leg)
    stop_type = OrderType.STOP if new.stop_loss_limit_price is None else OrderType.STOP_LIMIT
    exits = parent.order_class is not OrderClass.OCO
    side = parent.side if not exits else Side.SELL if parent.side is Side.BUY else Side.BUY
    return SimOrder(
        id=account.ledger.name("order", client_id),
        client_order_id=client_id,
        sequence=sequence,
        symbol=parent.symbol,
        side=side,
        type=OrderType.LIMIT if gains else stop_type,
        time_in_force=parent.time_in_force,
        order_class=parent.order_class,
        intent=Intent.SELL_TO_CLOSE if side is Side.SELL else Intent.BUY_TO_CLOSE,
        status="held",
        submitted_at=parent.submitted_at,
        updated_at=parent.updated_at,
        active_from=parent.active_from,
        quantity=parent.quantity,
        limit_price=new.take_profit_price if gains else new.stop_loss_limit_price,
        stop_price=None if gains else new.stop_loss_price,
        group_id=parent.group_id,
        leg=leg,
        waiting=exits,
        expires_at=parent.expires_at,
    )
