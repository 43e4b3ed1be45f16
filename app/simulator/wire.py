"""Domain to Alpaca's JSON: money as strings, times as RFC 3339, every field its models require."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from app.domain.order import Fill
from app.domain.portfolio import Position
from app.runtime.calendar import NEW_YORK, Session
from app.simulator.exchange import Exchange
from app.simulator.ledger import SimOrder
from app.simulator.market import Columns, OneBar, Price

_ASSETS = uuid.UUID("0a0f8a2d-6f1e-5d52-8b7f-1f2f5ddc1a02")
_TICK_FROM = 1.0
Json = dict[str, Any]


def text(number: Decimal | None) -> str | None:
    """A number as Alpaca writes it: plain digits, no trailing zeros."""
    return None if number is None else format(number.normalize(), "f")


def money(amount: Decimal) -> str:
    """An amount of dollars: at least two decimals, never an exponent."""
    rounded = amount.quantize(Decimal("0.000001"))
    whole, _, decimals = format(rounded, "f").partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"


def instant(at: datetime | None) -> str | None:
    """RFC 3339 in UTC."""
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def second(at: int) -> str:
    """RFC 3339 of whole seconds since 1970 UTC."""
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def asset_id(symbol: str) -> str:
    """The id of a symbol, the same in every replay."""
    return str(uuid.uuid5(_ASSETS, symbol))


def asset(symbol: str, *, tradable: bool) -> Json:
    """GET /v2/assets/{symbol}."""
    return {
        "id": asset_id(symbol),
        "class": "us_equity",
        "exchange": "NASDAQ",
        "symbol": symbol,
        "name": f"{symbol} (SIMULATED)",
        "status": "active",
        "tradable": tradable,
        "marginable": False,
        "maintenance_margin_requirement": 100,
        "margin_requirement_long": "100",
        "margin_requirement_short": "100",
        "shortable": False,
        "easy_to_borrow": False,
        "borrow_status": "not_available",
        "fractionable": True,
        "attributes": [],
    }


def clock(exchange: Exchange) -> Json:
    """GET /v2/clock, in New York time as Alpaca sends it."""
    calendar, now = exchange.market.calendar, exchange.now
    return {
        "timestamp": now.astimezone(NEW_YORK).isoformat(),
        "is_open": calendar.is_open(now),
        "next_open": calendar.next_open(now).astimezone(NEW_YORK).isoformat(),
        "next_close": calendar.next_close(now).astimezone(NEW_YORK).isoformat(),
    }


def session(day: Session) -> Json:
    """One row of GET /v2/calendar."""
    opens, closes = day.opens_at.astimezone(NEW_YORK), day.closes_at.astimezone(NEW_YORK)
    return {
        "date": day.day.isoformat(),
        "open": opens.strftime("%H:%M"),
        "close": closes.strftime("%H:%M"),
        "session_open": "0400",
        "session_close": "2000",
        "settlement_date": day.day.isoformat(),
    }


def account(exchange: Exchange, created_at: datetime) -> Json:
    """GET /v2/account of a cash account: buying power is cash that no open order holds."""
    ledger, equity = exchange.ledger, exchange.equity()
    cash, power = ledger.portfolio.cash, ledger.buying_power
    return {
        "id": ledger.account_id,
        "account_number": f"SIM{ledger.account_id[:8].upper()}",
        "status": "ACTIVE",
        "crypto_status": "INACTIVE",
        "currency": "USD",
        "cash": money(cash),
        "buying_power": money(power),
        "regt_buying_power": money(power),
        "non_marginable_buying_power": money(power),
        "options_buying_power": "0",
        "effective_buying_power": money(power),
        "bod_dtbp": "0",
        "portfolio_value": money(equity),
        "equity": money(equity),
        "last_equity": money(ledger.previous_close_equity),
        "long_market_value": money(equity - cash),
        "short_market_value": "0",
        "position_market_value": money(equity - cash),
        "initial_margin": money(equity - cash),
        "maintenance_margin": money(equity - cash),
        "last_maintenance_margin": "0",
        "sma": "0",
        "accrued_fees": "0",
        "pending_transfer_in": "0",
        "pending_transfer_out": "0",
        "multiplier": "1",
        "shorting_enabled": False,
        "trading_blocked": False,
        "transfers_blocked": False,
        "account_blocked": False,
        "trade_suspended_by_user": False,
        "created_at": instant(created_at),
        "balance_asof": exchange.now.astimezone(NEW_YORK).date().isoformat(),
    }


def position(exchange: Exchange, held: Position) -> Json:
    """One row of GET /v2/positions."""
    price = exchange.price(held.symbol) or held.average_entry_price
    yesterday = _previous_close(exchange, held.symbol) or price
    cost, value = held.quantity * held.average_entry_price, held.quantity * price
    gain, today = value - cost, (price - yesterday) * held.quantity
    return {
        "asset_id": asset_id(held.symbol),
        "symbol": held.symbol,
        "exchange": "NASDAQ",
        "asset_class": "us_equity",
        "asset_marginable": False,
        "qty": text(held.quantity),
        "qty_available": text(held.quantity - exchange.ledger.held_quantity(held.symbol)),
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
        "expires_at": None,
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
        "group_id": one.parent_id or (one.id if one.order_class == "bracket" else None),
        "group_role": (one.leg or "parent") if one.order_class == "bracket" else None,
    }


def activity_id(fill: Fill) -> str:
    """Sortable by time, ending in the execution's id."""
    return f"{fill.filled_at:%Y%m%d%H%M%S%f}"[:17] + f"::{fill.execution_id}"


def activity(fill: Fill, one: SimOrder, account_id: str) -> Json:
    """One FILL row of GET /v2/account/activities."""
    return {
        "id": activity_id(fill),
        "account_id": account_id,
        "activity_type": "FILL",
        "transaction_time": instant(fill.filled_at),
        "type": "fill",
        "price": text(fill.price),
        "qty": text(fill.quantity),
        "side": fill.side.value,
        "symbol": fill.symbol,
        "leaves_qty": "0",
        "order_id": fill.venue_order_id,
        "cum_qty": text(fill.quantity),
        "order_status": one.status,
        "execution_id": fill.execution_id,
        "commission": text(fill.commission),
    }


def bars(columns: Columns) -> list[str]:
    """Each bar as JSON text, written out by hand: listing is the exchange's bulk work.

    n (trades) and vw (average price) are estimates from volume and prices; the tape does not know them.
    """
    count = np.maximum(1, columns.volume // 100).astype(np.int64)
    average = np.round((columns.high + columns.low + columns.close) / 3.0, 4)
    stamps = np.datetime_as_string(columns.label.astype("datetime64[s]")).tolist()
    rows = zip(
        stamps, *(c.tolist() for c in columns[1:5]), columns.volume.astype(np.int64).tolist(), count.tolist(), average.tolist(),
        strict=True,
    )  # fmt: skip
    return [
        f'{{"t":"{t}Z","o":{o!r},"h":{h!r},"l":{lo!r},"c":{c!r},"v":{v},"n":{n},"vw":{vw!r}}}'
        for t, o, h, lo, c, v, n, vw in rows
    ]


def bar(one: OneBar | None) -> Json | None:
    """A single bar, the same numbers as in a list of `bars`."""
    if one is None:
        return None
    volume = int(one.volume)
    average = round((one.high + one.low + one.close) / 3.0 * 10_000.0) / 10_000.0
    return {
        "t": second(one.label),
        "o": one.open,
        "h": one.high,
        "l": one.low,
        "c": one.close,
        "v": volume,
        "n": max(1, volume // 100),
        "vw": average,
    }


def trade(price: Price) -> Json:
    """A latest trade."""
    return {
        "t": second(price.at),
        "x": "V",
        "p": price.price,
        "s": max(1, int(price.size)),
        "c": ["@"],
        "i": price.at,
        "z": "C",
    }


def quote(price: Price) -> Json:
    """A latest quote: one tick on either side of the newest trade."""
    tick = 0.01 if price.price > _TICK_FROM else 0.0001
    return {
        "t": second(price.at),
        "ax": "V",
        "ap": round(price.price + tick, 4),
        "as": 1,
        "bx": "V",
        "bp": round(max(price.price - tick, 0.0001), 4),
        "bs": 1,
        "c": ["R"],
        "z": "C",
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


def _previous_close(exchange: Exchange, symbol: str) -> Decimal | None:
    """The close of the last session before the present one (during a session: yesterday; after it: still yesterday)."""
    market, now = exchange.market, exchange.second
    number = market.started(now)
    return exchange.price(symbol, market.closes(number - 1)) if number > 0 else None
