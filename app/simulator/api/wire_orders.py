"""Orders and positions as Alpaca's trading API shows them, and the rows of the exchange's own ledger."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from app.domain.order import Fill, OrderClass
from app.domain.portfolio import Position
from app.simulator.accounts.account import Account
from app.simulator.accounts.ledger import SimOrder
from app.simulator.wire import Json, asset_id, instant, money, text

_NINE_PLACES = Decimal("0.000000001")


def position(account: Account, held: Position) -> Json:
    """One row of GET /v2/positions; quantity, value and cost of a short position are negative."""
    price = account.price(held.symbol) or held.average_entry_price
    yesterday = _previous_close(account, held.symbol) or price
    cost, value, sign = held.quantity * held.average_entry_price, held.quantity * price, held.quantity / abs(held.quantity)
    gain, today = value - cost, (price - yesterday) * held.quantity
    return {
        "asset_id": asset_id(held.symbol),
        "symbol": held.symbol,
        "exchange": "NASDAQ",
        "asset_class": "us_equity",
        "asset_marginable": account.multiplier > 1,
        "qty": text(held.quantity),
        "qty_available": text(held.quantity - sign * account.ledger.held_quantity(held.symbol)),
        "avg_entry_price": text(held.average_entry_price.quantize(_NINE_PLACES)),
        "side": "long" if sign > 0 else "short",
        "market_value": money(value),
        "cost_basis": money(cost),
        "unrealized_pl": money(gain),
        "unrealized_plpc": _share(gain, abs(cost)),
        "unrealized_intraday_pl": money(today),
        "unrealized_intraday_plpc": _share((price - yesterday) * sign, yesterday),
        "current_price": text(price),
        "lastday_price": text(yesterday),
        "change_today": _share(price - yesterday, yesterday),
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
        "expires_at": instant(one.expires_at),
        "canceled_at": instant(one.canceled_at),
        "failed_at": instant(one.failed_at),
        "replaced_at": instant(one.replaced_at),
        "replaced_by": one.replaced_by,
        "replaces": one.replaces,
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
        "position_intent": one.intent.value,
        "time_in_force": one.time_in_force.value,
        "limit_price": text(one.limit_price),
        "stop_price": text(one.working_stop),
        "status": one.status,
        "extended_hours": one.extended_hours,
        "legs": [order(leg) for leg in legs] if legs else None,
        "trail_percent": text(one.trail_percent),
        "trail_price": text(one.trail_price),
        "hwm": text(one.hwm),
        "subtag": None,
        "source": None,
        **({} if one.group_id is None else {"group_id": one.group_id, "group_role": _role(one)}),
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


def _role(one: SimOrder) -> str:
    top = "take_profit" if one.order_class is OrderClass.OCO else "entry"
    return top if one.leg is None else one.leg.value


def _share(part: Decimal, whole: Decimal) -> str | None:
    return text((part / whole).quantize(_NINE_PLACES)) if whole else "0"


def _previous_close(account: Account, symbol: str) -> Decimal | None:
    """The close of the last session before the present one (during a session: yesterday; after it: still yesterday)."""
    market, now = account.market, account.second
    number = market.started(now)
    return account.price(symbol, market.closes(number - 1)) if number > 0 else None
