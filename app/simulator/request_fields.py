"""Reading the fields of JSON bodies: numbers as Decimal, words, ids; ApiError in Alpaca's words where they are wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from app.domain.instrument import Instrument
from app.domain.order import OrderClass, OrderType, Side, TimeInForce
from app.simulator.accounts.sim_order import NINE_PLACES, Intent
from app.simulator.errors import bad_request, invalid, unprocessable

MOST = Decimal(1_000_000_000)
_E = TypeVar("_E", Side, OrderType, TimeInForce, OrderClass, Intent)


def parse_json(body: bytes) -> Mapping[str, Any]:
    """The JSON object in `body`, numbers as Decimal. Raises ApiError 400 for anything else."""
    try:
        content = json.loads(body, parse_float=Decimal, parse_int=_integer, parse_constant=_constant)
        if b"\\u" in body:
            json.dumps(content, ensure_ascii=False, default=str).encode()  # half of a surrogate pair is no text
    except (ValueError, RecursionError, InvalidOperation):
        raise bad_request("request body format is invalid") from None
    if not isinstance(content, dict):
        raise bad_request("request body must be a JSON object")
    return content


def word(kind: type[_E], fields: Mapping[str, Any], name: str) -> _E | None:
    """A member of an enumeration, None when absent or empty."""
    value = fields.get(name)
    if value is None or value == "":
        return None
    try:
        return kind(str(value))
    except ValueError:
        shown = value if isinstance(value, str) and len(value) <= 40 else "value"
        raise invalid(f"invalid {name}: {shown}; this simulated exchange takes {', '.join(kind)}") from None


def required(kind: type[_E], fields: Mapping[str, Any], name: str) -> _E:
    """As `word`, refused when absent."""
    value = word(kind, fields, name)
    if value is None:
        raise invalid(f"{name} is required")
    return value


def number(fields: Mapping[str, Any], name: str) -> Decimal | None:
    """A JSON number or a number in text; None when absent or empty."""
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


def amount(fields: Mapping[str, Any], name: str) -> Decimal | None:
    """A number above zero with at most nine decimals."""
    value = number(fields, name)
    if value is not None and not 0 < value <= MOST:
        raise invalid(f"{name} must be > 0" if value <= 0 else f"{name} must be <= {MOST}")
    if value is not None and value != value.quantize(NINE_PLACES):
        raise invalid(f"{name} must have at most 9 decimal places")
    return value


def price(fields: Mapping[str, Any], name: str, *, of: str = "") -> Decimal | None:
    """A price above zero and on the tick (not sub-penny). of: the object that the field is in, for complaints."""
    value, shown = number(fields, name), f"{of}.{name}" if of else name
    if value is None:
        return None
    if not 0 < value <= MOST:
        raise invalid(f"{shown} must be > 0" if value <= 0 else f"{shown} must be <= {MOST}")
    if value % Instrument(symbol="").tick(value):
        raise unprocessable(f"invalid {shown} {value}. sub-penny increment does not fulfill minimum pricing criteria")
    return value


def boolean(fields: Mapping[str, Any], name: str) -> bool:
    """A boolean; absent is false."""
    value = fields.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise invalid(f"{name} must be true or false")


def client_order_id(value: object) -> str | None:
    """The sender's id, None when absent or empty."""
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
