"""A request as it arrived at the exchange, and which arrivals a fault or a barrier is about."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs

from app.domain.errors import InvalidInput
from app.simulator.accounts.account import Account
from app.simulator.accounts.ledger import SimOrder

_METHODS = ("GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS")
_ORDER_PATH = re.compile(r"/v2/orders/([^/]+)\Z")
SELECTING = ("method", "path", "key_id", "symbol", "side", "client_order_id")


class Arrival:
    """One request of a client. account: whose it is, None for a key that no account has.

    symbol, side, client_order_id: of the order that the request places or names ("" where it names none).
    """

    def __init__(self, *, method: str, path: str, query: str, body: bytes, key_id: str, account: Account | None) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.body = body
        self.key_id = key_id
        self._account = account

    @property
    def places_order(self) -> bool:
        """Whether it is POST /v2/orders."""
        return self.method == "POST" and self.path == "/v2/orders"

    @property
    def order_id(self) -> str:
        """The order that the path names, or ""."""
        found = _ORDER_PATH.match(self.path)
        return found[1].lower() if found else ""

    @property
    def client_order_id(self) -> str:
        """The sender's id of the order placed, replaced, looked up or cancelled."""
        return self._named.client_order_id if self._named else self._field("client_order_id")

    @property
    def symbol(self) -> str:
        """The order's symbol, in upper case."""
        return self._named.symbol if self._named else self._field("symbol").upper()

    @property
    def side(self) -> str:
        """buy or sell."""
        return self._named.side.value if self._named else self._field("side").lower()

    @cached_property
    def _named(self) -> SimOrder | None:
        if self._account is None or not self.order_id:
            return None
        return self._account.ledger.orders.get(self.order_id)

    def _field(self, name: str) -> str:
        value = self._fields.get(name)
        return value if isinstance(value, str) else ""

    @cached_property
    def _fields(self) -> Mapping[str, Any]:
        if not self.body:
            return {name: values[0] for name, values in parse_qs(self.query).items()}
        try:
            content = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Which arrivals are meant; "" means any. path: exact, with {names} for one segment each, or a glob (* and ?).

    symbol, side and client_order_id (a glob) look at the order that the request places or names.
    """

    method: str = ""
    path: str = ""
    key_id: str = ""
    symbol: str = ""
    side: str = ""
    client_order_id: str = ""

    def matches(self, arrival: Arrival) -> bool:
        """Whether `arrival` is one of them."""
        return (
            self.method in {"", arrival.method}
            and (not self.path or re.fullmatch(_pattern(self.path), arrival.path) is not None)
            and self.key_id in {"", arrival.key_id}
            and self.symbol in {"", arrival.symbol}
            and self.side in {"", arrival.side}
            and (not self.client_order_id or fnmatchcase(arrival.client_order_id, self.client_order_id))
        )

    def shown(self) -> dict[str, str]:
        """Its fields that narrow something down."""
        return {name: getattr(self, name) for name in SELECTING if getattr(self, name)}


def parse_selector(fields: Mapping[str, Any]) -> Selector:
    """The selector in a request body. Raises InvalidInput."""
    given = {name: text(fields, name) for name in SELECTING}
    given["method"], given["symbol"], given["side"] = given["method"].upper(), given["symbol"].upper(), given["side"].lower()
    if given["method"] and given["method"] not in _METHODS:
        raise InvalidInput(f"method must be one of {', '.join(_METHODS)}")
    if given["path"] and not given["path"].startswith(("/", "*")):
        raise InvalidInput('path must begin with "/", such as /v2/orders, /v2/orders/{id} or /v2/stocks/*')
    if given["path"].startswith("/sim"):
        raise InvalidInput("the routes under /sim are never disturbed; name a route of the exchange such as /v2/orders")
    if given["side"] not in {"", "buy", "sell"}:
        raise InvalidInput("side must be buy or sell")
    return Selector(**given)


def text(fields: Mapping[str, Any], name: str, default: str = "") -> str:
    """A text field of a request body; InvalidInput when it is something else."""
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, str) or len(value) > 500:
        raise InvalidInput(f"{name} must be a text of at most 500 characters")
    return value


def _pattern(path: str) -> str:
    parts = re.split(r"(\{\w*\}|\*|\?)", path)
    wild = {"*": ".*", "?": "."}
    return "".join(
        wild.get(part) or ("[^/]+" if part.startswith("{") and part.endswith("}") else re.escape(part)) for part in parts
    )
