"""Reading an order request: what Alpaca accepts, refused in its words, before the account is looked at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from app.domain.instrument import Instrument
from app.domain.order import OrderClass, OrderType, Side, TimeInForce
from app.simulator.errors import bad_request, invalid, unprocessable

_MOST = Decimal(1_000_000_000)
_NINE_PLACES = Decimal("0.000000001")
_E = TypeVar("_E", Side, OrderType, TimeInForce, OrderClass)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """A well-formed request. Exactly one of quantity and notional is set."""

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
    take_profit_price: Decimal | None = None
    stop_loss_price: Decimal | None = None
    stop_loss_limit_price: Decimal | None = None


def parse_json(body: bytes) -> Mapping[str, Any]:
    """The JSON object in `body`, numbers as Decimal. Raises ApiError 400 for anything else."""
    try:
        content = json.loads(body, parse_float=Decimal, parse_int=_integer, parse_constant=_constant)
    except (ValueError, RecursionError, InvalidOperation):
        raise bad_request("request body format is invalid") from None
    if not isinstance(content, dict):
        raise bad_request("request body must be a JSON object")
    return content


def parse_order(fields: Mapping[str, Any]) -> NewOrder:
    """A NewOrder, or ApiError 422 naming the first field that is wrong."""
    symbol = fields.get("symbol")
    if not isinstance(symbol, str) or not symbol:
        raise invalid("symbol is required")
    order_class = _word(OrderClass, fields, "order_class", default=OrderClass.SIMPLE)
    kind = _word(OrderType, fields, "type", default=OrderType.MARKET if fields.get("type") is None else None)
    order = NewOrder(
        symbol=symbol.upper(),
        side=_word(Side, fields, "side"),
        type=kind,
        time_in_force=_word(TimeInForce, fields, "time_in_force"),
        order_class=order_class,
        client_order_id=_client_order_id(fields.get("client_order_id")),
        quantity=_number(fields, "qty"),
        notional=_number(fields, "notional"),
        limit_price=_number(fields, "limit_price"),
        stop_price=_number(fields, "stop_price"),
        **(_protection(fields) if order_class is OrderClass.BRACKET else {}),
    )
    if fields.get("extended_hours") is not None and fields.get("extended_hours") is not False:
        raise unprocessable("extended hours are not supported by this simulated exchange")
    _check_amount(order)
    _check_prices(order)
    return order


def _check_amount(order: NewOrder) -> None:
    if (order.quantity is None) == (order.notional is None):
        raise invalid("qty or notional is required" if order.quantity is None else "only one of qty or notional is accepted")
    for name, amount in (("qty", order.quantity), ("notional", order.notional)):
        if amount is not None and (amount <= 0 or amount > _MOST):
            raise invalid(f"{name} must be > 0" if amount <= 0 else f"{name} must be <= {_MOST}")
        if amount is not None and amount != amount.quantize(_NINE_PLACES):
            raise invalid(f"{name} must have at most 9 decimal places")
    fractional = order.notional is not None or order.quantity != (order.quantity or Decimal(0)).to_integral_value()
    if not fractional:
        return
    if order.order_class is not OrderClass.SIMPLE:
        raise unprocessable("fractional orders must be simple orders")
    if order.time_in_force is not TimeInForce.DAY:
        raise unprocessable("fractional orders must be DAY orders")
    if order.notional is not None:
        if order.type is not OrderType.MARKET:
            raise unprocessable("notional orders must be market orders")
        if order.side is Side.SELL:
            raise unprocessable("notional sells are not supported by this simulated exchange; give qty")
        if order.notional < 1:
            raise unprocessable("notional amount must be >= 1.00")


def _check_prices(order: NewOrder) -> None:
    needs_limit = order.type in {OrderType.LIMIT, OrderType.STOP_LIMIT}
    needs_stop = order.type in {OrderType.STOP, OrderType.STOP_LIMIT}
    kind = order.type.replace("_", " ")
    for name, price, needed in (("limit", order.limit_price, needs_limit), ("stop", order.stop_price, needs_stop)):
        if needed and price is None:
            raise invalid(f"{kind} orders require a {name} price")
        if not needed and price is not None:
            raise invalid(f"{kind} orders must not have a {name} price")
    for name in ("limit_price", "stop_price", "take_profit_price", "stop_loss_price", "stop_loss_limit_price"):
        check_tick(name, getattr(order, name))


def check_tick(name: str, price: Decimal | None) -> None:
    """Refuse prices that are not above zero or not on the tick (sub-penny)."""
    if price is None:
        return
    if not 0 < price <= _MOST:
        raise invalid(f"{name} must be > 0" if price <= 0 else f"{name} must be <= {_MOST}")
    if price % Instrument(symbol="").tick(price):
        raise unprocessable(f"invalid {name} {price}. sub-penny increment does not fulfill minimum pricing criteria")


def _protection(fields: Mapping[str, Any]) -> dict[str, Decimal | None]:
    parts: dict[str, Mapping[str, Any]] = {}
    for name in ("take_profit", "stop_loss"):
        part = fields.get(name)
        if not isinstance(part, dict):
            raise unprocessable(f"bracket orders require {name}")
        parts[name] = part
    limit, stop = _number(parts["take_profit"], "limit_price"), _number(parts["stop_loss"], "stop_price")
    if limit is None:
        raise unprocessable("bracket orders require take_profit.limit_price")
    if stop is None:
        raise unprocessable("bracket orders require stop_loss.stop_price")
    return {
        "take_profit_price": limit,
        "stop_loss_price": stop,
        "stop_loss_limit_price": _number(parts["stop_loss"], "limit_price"),
    }


def _word(kind: type[_E], fields: Mapping[str, Any], name: str, *, default: _E | None = None) -> _E:
    value = fields.get(name)
    if value is None or value == "":
        if default is None:
            raise invalid(f"{name} is required")
        return default
    try:
        return kind(str(value))
    except ValueError:
        shown = value if isinstance(value, str) and len(value) <= 40 else "value"
        raise invalid(f"invalid {name}: {shown}; this simulated exchange takes {', '.join(kind)}") from None


def _number(fields: Mapping[str, Any], name: str) -> Decimal | None:
    value = fields.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, str) and len(value) <= 40:
        try:
            value = Decimal(value)
        except InvalidOperation:
            value = None
    if not isinstance(value, Decimal) or not value.is_finite() or abs(value.adjusted()) > 30:
        raise invalid(f"{name} is not a number")
    return value


def _client_order_id(value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise invalid("client_order_id must be a string")
    if len(value) > 128:
        raise invalid("client_order_id must be no more than 128 characters")
    return value


def _integer(text: str) -> Decimal:
    return Decimal(text)


def _constant(text: str) -> object:
    raise ValueError(text)
