"""What a curve was worth. All ratios are fractions (0.05 is 5 %); losses, drawdowns and tails are magnitudes (0.2 is -20 %).

A figure that the data cannot give (a deviation of one return, a drawdown ratio without a drawdown) is None, never zero. Every
figure is judged in tests/reports/test_judges.py by an established library; docs/statistics.md has the table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.backtest.statistics.periods import SECONDS_PER_DAY, SESSIONS_PER_YEAR, STOCK_YEAR, day_ends, month_ends
from app.domain.bar import Floats, Seconds

TAIL = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """Figures of one equity curve; P periods make a year, r are the simple returns from one value to the next.

    total_return: last / first - 1. annualized_return: (last / first) ** (P / periods) - 1, compounding (the CFA Institute's
    GIPS compound annual rate). volatility: sample standard deviation of r * sqrt(P). sharpe_ratio: mean of r over their sample
    standard deviation, * sqrt(P), against a risk-free rate of zero (Sharpe, "The Sharpe Ratio", 1994). sortino_ratio: the same
    over the root mean square of min(r, 0), all periods counted (Sortino and Price, 1994, target zero). max_drawdown: the
    deepest fall below an earlier high. calmar_ratio: annualized_return / max_drawdown over the whole span (Young, 1991, took
    36 months). drawdown_periods: the longest time from a high to the value that regains it, or to the end, in periods.
    is_under_water: whether the last value lies below an earlier one. skewness, kurtosis: third and fourth standardised
    moments of r, biased (population) ones, kurtosis 3 for a normal one. observations: number of returns.
    """

    total_return: float
    annualized_return: float | None
    volatility: float | None
    sharpe_ratio: float | None
    sortino_ratio: float | None
    max_drawdown: float
    calmar_ratio: float | None
    drawdown_periods: int
    is_under_water: bool
    skewness: float | None
    kurtosis: float | None
    observations: int
    periods_per_year: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarFigures:
    """Figures that need to know when. best_day, worst_day, best_month, worst_month: returns from one end of a day or calendar
    month to the next, the first from the beginning. value_at_risk_95: the 5 % quantile of the daily returns, linear between
    two, as a loss (historical simulation; J.P. Morgan/Reuters, RiskMetrics, 1996); expected_shortfall_95: the mean loss of the
    days at or beyond it (Acerbi and Tasche, 2002). Negative where even these days gained. drawdown_days: the longest time
    from a high to the value that regains it, or to the end, in calendar days.
    """

    best_day: float | None
    worst_day: float | None
    best_month: float | None
    worst_month: float | None
    value_at_risk_95: float | None
    expected_shortfall_95: float | None
    drawdown_days: float


def measure(equity: Sequence[float] | Floats, *, periods_per_year: float = STOCK_YEAR.periods) -> Performance:
    """equity: shape (n_periods + 1,), the capital first, then each period's close; all above zero but perhaps the last."""
    curve = np.asarray(equity, dtype=np.float64)
    returns = simple_returns(curve)
    total = float(curve[-1] / curve[0] - 1.0) if len(curve) else 0.0
    annualized, drawdown = annualized_return(total, len(returns), periods_per_year), max_drawdown(curve)
    deviation = float(np.std(returns, ddof=1)) if len(returns) > 1 else None
    year = math.sqrt(periods_per_year)
    third, fourth = _shape(returns)
    return Performance(
        total_return=total,
        annualized_return=annualized,
        volatility=None if deviation is None else deviation * year,
        sharpe_ratio=ratio(float(returns.mean()) * year, deviation) if len(returns) else None,
        sortino_ratio=ratio(float(returns.mean()) * year, _downside(returns)) if len(returns) else None,
        max_drawdown=drawdown,
        calmar_ratio=ratio(annualized, drawdown),
        drawdown_periods=max((end - start for start, end in drawdowns(curve)), default=0),
        is_under_water=bool(len(curve) and curve[-1] < curve.max()),
        skewness=third,
        kurtosis=fourth,
        observations=len(returns),
        periods_per_year=periods_per_year,
    )


def measure_calendar(equity: Floats, known_at: Seconds) -> CalendarFigures:
    """equity: shape (n + 1,), the capital first. known_at: of each value, the capital's included, shape (n + 1,)."""
    daily, monthly = daily_returns(equity, known_at), monthly_returns(equity, known_at)
    risk = -float(np.quantile(daily, TAIL)) if len(daily) > 1 else None
    worst = np.sort(daily)[: int((len(daily) - 1) * TAIL) + 1]
    seconds = max((int(known_at[end] - known_at[start]) for start, end in drawdowns(equity)), default=0)
    return CalendarFigures(
        best_day=float(daily.max()) if len(daily) else None,
        worst_day=float(daily.min()) if len(daily) else None,
        best_month=float(monthly.max()) if len(monthly) else None,
        worst_month=float(monthly.min()) if len(monthly) else None,
        value_at_risk_95=risk,
        expected_shortfall_95=None if risk is None else -float(worst.mean()),
        drawdown_days=seconds / SECONDS_PER_DAY,
    )


def simple_returns(equity: Floats) -> Floats:
    """Simple returns from one value to the next, shape (n - 1,)."""
    return equity[1:] / equity[:-1] - 1.0 if len(equity) > 1 else np.empty(0)


def daily_returns(equity: Floats, known_at: Seconds) -> Floats:
    """From one day's last value to the next day's, the first from the capital; both of shape (n + 1,), the capital first."""
    return simple_returns(np.append(equity[:1], equity[1:][day_ends(known_at[1:])]))


def monthly_returns(equity: Floats, known_at: Seconds) -> Floats:
    """As `daily_returns`, by calendar month."""
    return simple_returns(np.append(equity[:1], equity[1:][month_ends(known_at[1:])]))


def annualized_return(total_return: float, periods: int, periods_per_year: float = SESSIONS_PER_YEAR) -> float | None:
    """The yearly rate that compounds to `total_return` over `periods`; None without periods. A total loss is -1."""
    if periods < 1:
        return None
    if total_return <= -1.0:
        return -1.0
    try:
        return math.expm1(math.log1p(total_return) * periods_per_year / periods)
    except OverflowError:  # a windfall within a day or two, compounded for a year
        return None


def drawdown_curve(equity: Floats) -> Floats:
    """How far each value lies below the highest one up to it, a magnitude, shape of `equity`."""
    return 1.0 - equity / np.maximum.accumulate(equity) if len(equity) else np.empty(0)


def max_drawdown(equity: Floats) -> float:
    """The deepest fall below an earlier high, a magnitude; 0 for a curve that never falls."""
    return float(np.max(drawdown_curve(equity), initial=0.0))


def drawdowns(equity: Floats) -> list[tuple[int, int]]:
    """Every stretch under water: indices of the high and of the first value that regains it (the last value, if none does)."""
    below = np.concatenate(([False], equity < np.maximum.accumulate(equity), [False])) if len(equity) else np.zeros(2, bool)
    edges = np.diff(below.astype(np.int8))
    begins, ends = np.flatnonzero(edges == 1) - 1, np.minimum(np.flatnonzero(edges == -1), len(equity) - 1)
    return list(zip(begins.tolist(), ends.tolist(), strict=True))


def ratio(above: float | None, below: float | None) -> float | None:
    """above / below; None where either is unknown or nothing is divided by."""
    # Below 1e-12 a deviation is rounding error of a constant, not risk.
    return above / below if above is not None and below is not None and below > 1e-12 else None


def _shape(returns: Floats) -> tuple[float | None, float | None]:
    if len(returns) < 2:
        return None, None
    centred = returns - returns.mean()
    variance = float(np.mean(centred**2))
    if not variance > 1e-24:
        return None, None
    return float(np.mean(centred**3)) / variance**1.5, float(np.mean(centred**4)) / variance**2


def _downside(returns: Floats) -> float | None:
    return float(np.sqrt(np.mean(np.minimum(returns, 0.0) ** 2))) if len(returns) > 1 else None
