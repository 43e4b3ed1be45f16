"""The body of POST /v2/orders: what Alpaca accepts, refused in its words, before the account is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from app.domain.order import OrderClass, OrderType, Side, TimeInForce
from app.simulator import request_fields as read
from app.simulator.accounts.sim_order import Intent
from app.simulator.errors import invalid, unprocessable
from app.simulator.request_fields import parse_json

__all__ = ["NewOrder", "check_terms", "parse_json", "parse_order"]

_LIMITS = frozenset([OrderType.LIMIT, OrderType.STOP_LIMIT])
_STOPS = frozenset([OrderType.STOP, OrderType.STOP_LIMIT])
_LASTING = frozenset([TimeInForce.DAY, TimeInForce.GTC])
_SENT_AT_ONCE = frozenset([OrderType.MARKET, OrderType.LIMIT])
_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """A well-formed request. Exactly one of quantity and notional is set. intent: what the sender says it is, if anything."""

    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    order_class: OrderClass
    client_order_id: str | None
    quantity: Decimal | None
    notional: Decimal | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    take_profit_price: Decimal | None = None
    stop_loss_price: Decimal | None = None
    stop_loss_limit_price: Decimal | None = None
    extended_hours: bool = False
    intent: Intent | None = None

    @property
    def fractional(self) -> bool:
        """Whether it is for a part of a share, or for an amount of money."""
        return self.quantity is None or self.quantity != self.quantity.to_integral_value()


def parse_order(fields: Mapping[str, Any]) -> NewOrder:
    """A NewOrder, or ApiError 422 naming the first field that is wrong."""
    symbol = fields.get("symbol")
    if not isinstance(symbol, str) or not symbol:
        raise invalid("symbol is required")
    order_class = read.word(OrderClass, fields, "order_class") or OrderClass.SIMPLE
    kind = read.word(OrderType, fields, "type") or OrderType.MARKET
    profit, loss, loss_limit = _protection(fields, order_class)
    limit = read.price(fields, "limit_price")
    order = NewOrder(
        symbol=symbol.upper(),
        side=read.required(Side, fields, "side"),
        type=kind,
        time_in_force=read.required(TimeInForce, fields, "time_in_force"),
        order_class=order_class,
        client_order_id=read.client_order_id(fields.get("client_order_id")),
        quantity=read.amount(fields, "qty"),
        notional=read.amount(fields, "notional"),
        limit_price=(profit or limit) if order_class is OrderClass.OCO else limit,
        stop_price=read.price(fields, "stop_price"),
        trail_price=read.price(fields, "trail_price"),
        trail_percent=read.amount(fields, "trail_percent"),
        take_profit_price=profit,
        stop_loss_price=loss,
        stop_loss_limit_price=loss_limit,
        extended_hours=read.boolean(fields, "extended_hours"),
        intent=read.word(Intent, fields, "position_intent"),
    )
    check_terms(order)
    return order


def check_terms(order: NewOrder) -> None:
    """Refuse terms that do not go together, whatever the account and the market are like."""
    _check_amount(order)
    _check_class(order)
    _check_prices(order)
    _check_force(order)


def _check_amount(order: NewOrder) -> None:
    if (order.quantity is None) == (order.notional is None):
        raise invalid("qty or notional is required" if order.quantity is None else "only one of qty or notional is accepted")
    if not order.fractional:
        return
    if order.order_class is not OrderClass.SIMPLE:
        raise unprocessable("fractional orders must be simple orders")
    if order.time_in_force is not TimeInForce.DAY:
        raise unprocessable("fractional orders must be DAY orders")
    if order.type is OrderType.TRAILING_STOP:
        raise unprocessable("fractional orders must be market, limit, stop or stop limit orders")
    if order.notional is not None:
        if order.type is not OrderType.MARKET:
            raise unprocessable("notional orders must be market orders")
        if order.notional < 1:
            raise unprocessable("notional amount must be >= 1.00")


def _check_prices(order: NewOrder) -> None:
    kind = order.type.replace("_", " ")
    for name, price, needed in (
        ("limit", order.limit_price, order.type in _LIMITS),
        ("stop", order.stop_price, order.type in _STOPS),
    ):
        if needed and price is None:
            raise invalid(f"{kind} orders require a {name} price")
        if not needed and price is not None:
            raise invalid(f"{kind} orders must not have a {name} price")
    trails = [trail for trail in (order.trail_price, order.trail_percent) if trail is not None]
    if order.type is OrderType.TRAILING_STOP:
        if len(trails) != 1:
            raise unprocessable("trailing stop orders must specify one of trail_percent or trail_price")
        if order.trail_percent is not None and order.trail_percent >= _HUNDRED:
            raise unprocessable("trail_percent must be < 100")
    elif trails:
        raise unprocessable("trail_percent and trail_price are only accepted with trailing stop orders")


def _check_class(order: NewOrder) -> None:
    name = order.order_class
    if name is OrderClass.SIMPLE:
        return
    if order.type is OrderType.TRAILING_STOP:
        raise unprocessable("trailing stop orders must be simple orders")
    if name is OrderClass.OCO and order.type is not OrderType.LIMIT:
        raise unprocessable("oco orders must be limit orders")
    if order.time_in_force not in _LASTING:
        raise unprocessable(f"{name} orders must be DAY or GTC orders")
    if order.extended_hours:
        raise unprocessable(f"{name} orders cannot be executed in extended hours")


def _check_force(order: NewOrder) -> None:
    force, kind = order.time_in_force, order.type.replace("_", " ")
    if order.extended_hours and (order.type is not OrderType.LIMIT or force not in _LASTING):
        raise unprocessable("extended hours order must be DAY or GTC limit orders")
    if force not in _LASTING and order.type not in _SENT_AT_ONCE:
        raise unprocessable(f"{kind} orders must be DAY or GTC orders")


def _protection(fields: Mapping[str, Any], order_class: OrderClass) -> tuple[Decimal | None, Decimal | None, Decimal | None]:
    """Take-profit price, stop-loss price and the stop-loss's limit, as the class of the order needs them."""
    parts = {name: fields.get(name) for name in ("take_profit", "stop_loss")}
    given = {name: part for name, part in parts.items() if part is not None}
    if order_class is OrderClass.SIMPLE:
        if given:
            raise unprocessable(f"simple orders must not have {next(iter(given))}")
        return None, None, None
    for name, part in given.items():
        if not isinstance(part, dict):
            raise unprocessable(f"{order_class} orders require {name}")
    if order_class is OrderClass.OTO and len(given) != 1:
        raise unprocessable("oto orders require either take_profit or stop_loss")
    if order_class is OrderClass.OCO and "take_profit" not in given and fields.get("limit_price") is not None:
        given["take_profit"] = {"limit_price": fields["limit_price"]}
    for name in parts:
        if order_class is not OrderClass.OTO and name not in given:
            raise unprocessable(f"{order_class} orders require {name}")
    gain, loss = given.get("take_profit"), given.get("stop_loss")
    limit = None if gain is None else read.price(gain, "limit_price", of="take_profit")
    stop = None if loss is None else read.price(loss, "stop_price", of="stop_loss")
    if gain is not None and limit is None:
        raise unprocessable(f"{order_class} orders require take_profit.limit_price")
    if loss is not None and stop is None:
        raise unprocessable(f"{order_class} orders require stop_loss.stop_price")
    return limit, stop, None if loss is None else read.price(loss, "limit_price", of="stop_loss")
