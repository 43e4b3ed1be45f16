"""The account, its settings and its activities as Alpaca's trading API shows them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from decimal import Decimal

from app.domain.order import Fill
from app.runtime.calendar import session_day
from app.simulator.accounts.account import Account
from app.simulator.accounts.configuration import Configuration
from app.simulator.accounts.ledger import Entry, Ledger
from app.simulator.wire import Json, instant, money, text


def account(account: Account) -> Json:
    """GET /v2/account: every field of the OpenAPI and of alpaca-py's model but those of the day-trading rule, gone in 2026."""
    ledger, margin, settings = account.ledger, account.margin(), account.configuration
    return {
        "id": ledger.account_id,
        "account_number": f"SIM{ledger.account_id[:8].upper()}",
        "status": "ACTIVE",
        "crypto_status": "INACTIVE",
        "currency": "USD",
        "cash": money(margin.cash),
        "buying_power": money(margin.buying_power),
        "regt_buying_power": money(margin.regt_buying_power),
        "non_marginable_buying_power": money(margin.non_marginable_buying_power),
        "options_buying_power": "0",
        "effective_buying_power": money(margin.buying_power),
        "bod_dtbp": "0",
        "portfolio_value": money(margin.equity),
        "equity": money(margin.equity),
        "last_equity": money(ledger.previous_close_equity),
        "long_market_value": money(margin.long_value),
        "short_market_value": money(margin.short_value),
        "position_market_value": money(margin.long_value + abs(margin.short_value)),
        "initial_margin": money(margin.initial_margin),
        "maintenance_margin": money(margin.maintenance_margin),
        "last_maintenance_margin": "0",
        "sma": "0",
        "accrued_fees": "0",
        "pending_reg_taf_fees": "0",
        "pending_transfer_in": "0",
        "pending_transfer_out": "0",
        "intraday_adjustments": "0",
        "multiplier": str(margin.multiplier),
        "shorting_enabled": margin.multiplier > 1 and not settings.no_shorting,
        "trading_blocked": account.trading_blocked,
        "transfers_blocked": False,
        "account_blocked": account.account_blocked,
        "trade_suspended_by_user": settings.suspend_trade,
        "options_approved_level": 0,
        "options_trading_level": 0,
        "created_at": instant(account.opened_at),
        "balance_asof": (ledger.closes[-1][0] if ledger.closes else session_day(account.opened_at)).isoformat(),
    }


def configuration(one: Configuration) -> Json:
    """GET /v2/account/configurations. There are no options here: a level that was never chosen is 0."""
    return {**asdict(one), "max_options_trading_level": one.max_options_trading_level or 0}


def activity_id(at: datetime, name: str) -> str:
    """Sortable by time, ending in the id of the execution or entry."""
    return f"{at:%Y%m%d%H%M%S%f}"[:17] + f"::{name}"


def fill(row_id: str, ledger: Ledger, one: Fill, filled: Decimal) -> Json:
    """A FILL row of GET /v2/account/activities. filled: shares that the order had got with this execution."""
    order = ledger.orders[one.venue_order_id]
    left = max((order.quantity or filled) - filled, Decimal(0))
    return {
        "id": row_id,
        "account_id": ledger.account_id,
        "activity_type": "FILL",
        "transaction_time": instant(one.filled_at),
        "type": "partial_fill" if left else "fill",
        "price": text(one.price),
        "qty": text(one.quantity),
        "side": one.side.value,
        "symbol": one.symbol,
        "leaves_qty": text(left),
        "order_id": one.venue_order_id,
        "cum_qty": text(filled),
        "order_status": "partially_filled" if left else "filled",
        "execution_id": one.execution_id,
        "commission": text(one.commission),
    }


def entry(row_id: str, ledger: Ledger, one: Entry) -> Json:
    """A row of GET /v2/account/activities that is no execution."""
    split = "FSPLIT" if (one.quantity or 0) >= 0 else "RSPLIT"
    shown = {
        "id": row_id,
        "account_id": ledger.account_id,
        "activity_type": one.activity_type,
        "activity_sub_type": {"DIV": "CDIV", "SPLIT": split}.get(one.activity_type),
        "date": one.day.isoformat(),
        "created_at": instant(one.at),
        "net_amount": text(one.net_amount),
        "description": one.description,
        "status": "executed",
        "currency": "USD",
        "symbol": one.symbol,
        "qty": text(one.quantity),
        "per_share_amount": text(one.per_share_amount),
    }
    return {name: value for name, value in shown.items() if value is not None}
