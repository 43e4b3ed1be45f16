"""The numbers the risk rules are made of. Named tuples of plain numbers, so that compiled code takes them as they are."""

from __future__ import annotations

from typing import NamedTuple

from app.domain.exits import ExitPolicy


class RiskLimits(NamedTuple):
    """Limits as fractions of equity unless the name says otherwise; all are magnitudes (0.05 is 5 %).

    headroom_fraction is taken off every entry size, so that a limit held at the decision still holds at the fill.
    price_collar_fraction is how far above the decision price an entry may pay (its limit price); exit_collar_fraction how
    far below a fresh price a limit sale may go.

    Volatilities are standard deviations of daily log returns. A holding's price more than `jump_multiple` of them from its
    last close (as logarithms), or more than `largest_jump_fraction`, is doubted; below `least_volatility_fraction` none is
    believed, `assumed_volatility_fraction` stands for an unknown one. A symbol at more than `symbol_volatility_multiple` of
    its usual volatility is not entered; when half of the symbols are at more than `market_volatility_multiple`, none is.
    max_stale_fraction: share of the symbols without a fresh price beyond which entries stop. Both shares need
    `least_symbols` symbols to mean anything.
    """

    max_exposure_fraction: float = 0.80
    max_positions: int = 7
    max_position_fraction: float = 0.10
    stop_loss_fraction: float = 0.05
    take_profit_fraction: float = 0.10
    max_daily_loss_fraction: float = 0.02
    flatten_daily_loss_fraction: float = 0.03
    max_drawdown_fraction: float = 0.20
    risk_per_trade_fraction: float = 0.01
    target_volatility_fraction: float = 0.0025
    headroom_fraction: float = 0.02
    price_collar_fraction: float = 0.005
    max_price_age_seconds: float = 900.0
    max_entries_per_day: int = 3
    halt_seconds: float = 86_400.0
    corroboration_seconds: float = 60.0
    equity_tolerance_fraction: float = 0.01
    exit_collar_fraction: float = 0.05
    jump_multiple: float = 8.0
    largest_jump_fraction: float = 0.25
    steady_tolerance_fraction: float = 0.02
    least_volatility_fraction: float = 0.01
    assumed_volatility_fraction: float = 0.025
    symbol_volatility_multiple: float = 5.0
    market_volatility_multiple: float = 3.0
    max_stale_fraction: float = 0.5
    least_symbols: int = 5
    breaker_hold_seconds: float = 600.0
    min_calls: int = 20
    max_error_fraction: float = 0.20
    good_probes: int = 3
    max_silence_seconds: float = 60.0
    max_clock_skew_seconds: float = 5.0


class Policy(NamedTuple):
    """What counts as a signal, when a holding is replaced and how it is left; all fractions.

    round_trip_cost_fraction: cost of selling one holding and buying another. rebalance_margin_fraction: advantage asked on top.
    exits: how holdings are left; the stop-loss and take-profit fractions in force are those of the limits.
    """

    buy_threshold: float = 0.005
    sell_threshold: float = -0.005
    confidence_threshold: float = 0.70
    round_trip_cost_fraction: float = 0.002
    rebalance_margin_fraction: float = 0.005
    exits: ExitPolicy = ExitPolicy()
