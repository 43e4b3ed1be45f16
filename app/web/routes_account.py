"""Money, holdings, and whether the venue can be reached."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from app.domain.bar import Snapshot
from app.domain.portfolio import Position
from app.web.answers import AccountAnswer, Connection, Positions
from app.web.blueprint import blueprint, services
from app.web.ports import Services
from app.web.wire import fields, to_wire

api = blueprint("account", "Money, holdings, the venue")


@api.get("/api/account/info", summary="Account", responses={200: AccountAnswer})
def account_info() -> dict[str, Any]:
    """Cash, equity and buying power as the venue reports them."""
    return fields(services().alpaca.account()) | {"mode": services().settings.trading_mode.value}


@api.get("/api/positions", summary="Holdings", responses={200: Positions})
def positions() -> dict[str, Any]:
    """All holdings with their newest prices."""
    return {"positions": priced_positions(services())}


@api.get("/api/test/connection", summary="Connection test", responses={200: Connection})
def test_connection() -> dict[str, Any]:
    """Ask the venue for account and clock, and say how long it took."""
    return fields(services().alpaca.test_connection())


def priced_positions(source: Services) -> list[dict[str, Any]]:
    """All holdings with their newest prices, by symbol."""
    held = source.alpaca.positions()
    snapshots: Mapping[str, Snapshot] = source.alpaca.snapshots(sorted(held)) if held else {}
    return [_priced(held[symbol], snapshots.get(symbol)) for symbol in sorted(held)]


def _priced(position: Position, snapshot: Snapshot | None) -> dict[str, Any]:
    wire = fields(position) | {
        "price": to_wire(snapshot.price) if snapshot else None,
        "price_at": to_wire(snapshot.priced_at) if snapshot else None,
        "market_value": None,
        "unrealized_gain": None,
        "unrealized_gain_fraction": None,
    }
    if wire["price"] is None:
        return wire
    price = Decimal(repr(wire["price"]))
    gain = position.unrealized(price)
    cost = position.average_entry_price * abs(position.quantity)
    return wire | {
        "market_value": to_wire(price * position.quantity),
        "unrealized_gain": to_wire(gain),
        "unrealized_gain_fraction": float(gain / cost) if cost else None,
    }
