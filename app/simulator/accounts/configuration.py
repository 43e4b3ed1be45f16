"""An account's settings, as GET and PATCH /v2/account/configurations show and change them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Alpaca's fields and its paper account's defaults.

    Enforced: no_shorting, suspend_trade, fractional_trading, max_margin_multiplier ("1", "2" or "4"). The pattern-day-trader
    checks ended in 2026 and are kept as stored words only, as is whatever concerns mail, options and the overnight session.
    """

    dtbp_check: str = "both"
    fractional_trading: bool = True
    max_margin_multiplier: str = "2"
    no_shorting: bool = False
    suspend_trade: bool = False
    trade_confirm_email: str = "all"
    pdt_check: str = "entry"
    ptp_no_exception_entry: bool = False
    max_options_trading_level: int | None = None
    disable_overnight_trading: bool = False
