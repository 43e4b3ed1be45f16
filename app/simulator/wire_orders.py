"""Orders and positions as Alpaca's trading API shows them, and the rows of the exchange's own ledger."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from app.domain.order import Fill
from app.domain.portfolio import Position
from app.simulator.account import Account
from app.simulator.ledger import SimOrder
from app.simulator.wire import Json, asset_id, instant, money, text


def position(account: Account, held: Position) -> Json:
    """One row of GET /v2/positions."""
    price = account.price(held.symbol) or held.average_entry_price
    yesterday = _previous_close(account, held.symbol) or price
    cost, value = held.quantity * held.average_entry_price, held.quantity * price
    gain, today = value - cost, (price - yesterday) * held.quantity
    return {
        "asset_id": asset_id(held.symbol),
        "symbol": held.symbol,
        "exchange": "NASDAQ",
        "asset_class": "us_equity",
        "asset_marginable": False,
        "qty": text(held.quantity),
        "qty_available": text(held.quantity - account.ledger.held_quantity(held.symbol)),
        "avg_entry_price": text(held.average_entry_price.quantize(Decimal("0.000000001"))),
        "side": "long",
        "market_value": money(value),
        "cost_basis": money(cost),
        "unrealized_pl": money(gain),
        "unrealized_plpc": text((gain / cost).quantize(Decimal("0.000000001"))) if cost else "0",
        "unrealized_intraday_pl": money(today),
        "unrealized_intraday_plpc": text((price / yesterday - 1).quantize(Decimal("0.000000001"))),
        "current_price": text(price),
        "lastday_price": text(yesterday),
        "change_today": text((price / yesterday - 1).quantize(Decimal("0.000000001"))),
    }


def order(one: SimOrder, legs: list[SimOrder] | None = None) -> Json:
    """An order; legs: its children when they are asked for."""
    return {
        "id": one.id,
        "client_order_id": one.client_order_id,
        "created_at": instant(one.submitted_at),
        "updated_at": instant(one.updated_at),
        "submitted_at": instant(one.submitted_at),
        "filled_at": instant(one.filled_at),
        "expired_at": instant(one.expired_at),
        "expires_at": instant(one.active_from),
        "canceled_at": instant(one.canceled_at),
        "failed_at": instant(one.failed_at),
        "replaced_at": None,
        "replaced_by": None,
        "replaces": None,
        "asset_id": asset_id(one.symbol),
        "symbol": one.symbol,
        "asset_class": "us_equity",
        "notional": text(one.notional),
        "qty": text(one.quantity),
        "filled_qty": text(one.filled_quantity),
        "filled_avg_price": text(one.filled_average_price),
        "order_class": one.order_class.value,
        "order_type": one.type.value,
        "type": one.type.value,
        "side": one.side.value,
        "position_intent": "buy_to_open" if one.side == "buy" else "sell_to_close",
        "time_in_force": one.time_in_force.value,
        "limit_price": text(one.limit_price),
        "stop_price": text(one.stop_price),
        "status": one.status,
        "extended_hours": False,
        "legs": [order(leg) for leg in legs] if legs else None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
        "subtag": None,
        "source": None,
        **({"group_id": one.parent_id or one.id, "group_role": one.leg or "entry"} if one.order_class == "bracket" else {}),
    }


def ledger_order(one: SimOrder) -> Json:
    """An order of GET /sim/ledger: as on the wire, with what only the exchange knows."""
    return {**order(one), "sequence": one.sequence, "parent_id": one.parent_id, "leg": one.leg, "triggered": one.triggered}


def ledger_fill(fill: Fill) -> Mapping[str, object]:
    """An execution of GET /sim/ledger."""
    return {
        "execution_id": fill.execution_id,
        "order_id": fill.venue_order_id,
        "symbol": fill.symbol,
        "side": fill.side.value,
        "quantity": text(fill.quantity),
        "price": text(fill.price),
        "commission": text(fill.commission),
        "filled_at": instant(fill.filled_at),
    }


def _previous_close(account: Account, symbol: str) -> Decimal | None:
    """The close of the last session before the present one (during a session: yesterday; after it: still yesterday)."""
    market, now = account.market, account.second
    number = market.started(now)
    return account.price(symbol, market.closes(number - 1)) if number > 0 else None
