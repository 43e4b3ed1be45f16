"""Account, activities, assets, clock and calendar as Alpaca's trading API shows them."""

from __future__ import annotations

from app.domain.order import Fill
from app.runtime.calendar import NEW_YORK, Session
from app.simulator.account import Account
from app.simulator.ledger import SimOrder
from app.simulator.wire import Json, asset_id, instant, money, text


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


def clock(account: Account) -> Json:
    """GET /v2/clock, in New York time as Alpaca sends it."""
    calendar, now = account.market.calendar, account.now
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


def account(account: Account) -> Json:
    """GET /v2/account of a cash account: buying power is cash that no open order holds."""
    ledger, equity = account.ledger, account.equity()
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
        "trading_blocked": account.trading_blocked,
        "transfers_blocked": False,
        "account_blocked": account.account_blocked,
        "trade_suspended_by_user": False,
        "created_at": instant(account.opened_at),
        "balance_asof": account.now.astimezone(NEW_YORK).date().isoformat(),
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
