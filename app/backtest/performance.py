"""What a run was worth. All ratios are fractions (0.05 is 5 %); a year is 252 sessions; a figure that the data cannot give
(a deviation of one return, a win rate without trades) is None, never zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from app.domain.bar import Floats

SESSIONS_PER_YEAR = 252


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """Figures of one equity curve.

    total_return: last / first - 1. annualized_return: (last / first) ** (252 / sessions) - 1, compounding.
    volatility: sample standard deviation of session returns * sqrt(252). sharpe_ratio: mean session return over their
    sample standard deviation, * sqrt(252), against a risk-free rate of zero. sortino_ratio: the same over the root mean
    square of the negative returns. max_drawdown: the deepest fall below an earlier high, as a magnitude (0.2 is -20 %).
    calmar_ratio: annualized_return / max_drawdown.
    """

    total_return: float
    annualized_return: float | None
    volatility: float | None
    sharpe_ratio: float | None
    sortino_ratio: float | None
    max_drawdown: float
    calmar_ratio: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeFigures:
    """Figures of closed round trips. win_rate: share with a profit above zero, after commissions. profit_factor: sum of
    the profits over sum of the losses. average_return: mean return of a trip."""

    trades: int
    win_rate: float | None
    profit_factor: float | None
    average_return: float | None


def measure(equity: Sequence[float] | Floats) -> Performance:
    """equity: shape (n_sessions + 1,), the capital first, then each session's close; all above zero but perhaps the last."""
    curve = np.asarray(equity, dtype=np.float64)
    returns = session_returns(curve)
    total = float(curve[-1] / curve[0] - 1.0) if len(curve) else 0.0
    annualized, drawdown = annualized_return(total, len(returns)), max_drawdown(curve)
    deviation = float(np.std(returns, ddof=1)) if len(returns) > 1 else None
    year = math.sqrt(SESSIONS_PER_YEAR)
    return Performance(
        total_return=total,
        annualized_return=annualized,
        volatility=None if deviation is None else deviation * year,
        sharpe_ratio=_ratio(float(returns.mean()) * year, deviation) if len(returns) else None,
        sortino_ratio=_ratio(float(returns.mean()) * year, _downside(returns)) if len(returns) else None,
        max_drawdown=drawdown,
        calmar_ratio=_ratio(annualized, drawdown),
    )


def session_returns(equity: Floats) -> Floats:
    """Simple returns from one value to the next, shape (n - 1,)."""
    return equity[1:] / equity[:-1] - 1.0 if len(equity) > 1 else np.empty(0)


def annualized_return(total_return: float, sessions: int) -> float | None:
    """The yearly rate that compounds to `total_return` over `sessions`; None without sessions. A total loss is -1."""
    if sessions < 1:
        return None
    if total_return <= -1.0:
        return -1.0
    try:
        return math.expm1(math.log1p(total_return) * SESSIONS_PER_YEAR / sessions)
    except OverflowError:  # a windfall within a day or two, compounded for a year
        return None


def max_drawdown(equity: Floats) -> float:
    """The deepest fall below an earlier high, a magnitude; 0 for a curve that never falls."""
    if not len(equity):
        return 0.0
    return float(np.max(1.0 - equity / np.maximum.accumulate(equity)))


def trade_figures(profits: Sequence[Decimal], returns: Sequence[float]) -> TradeFigures:
    """profits: of each closed round trip, currency; returns: the same as fractions of what was paid."""
    won = sum((p for p in profits if p > 0), Decimal(0))
    lost = -sum((p for p in profits if p < 0), Decimal(0))
    return TradeFigures(
        trades=len(profits),
        win_rate=sum(p > 0 for p in profits) / len(profits) if profits else None,
        profit_factor=float(won / lost) if lost else None,
        average_return=math.fsum(returns) / len(returns) if returns else None,
    )


def _downside(returns: Floats) -> float | None:
    return float(np.sqrt(np.mean(np.minimum(returns, 0.0) ** 2))) if len(returns) > 1 else None


def _ratio(above: float | None, below: float | None) -> float | None:
    # Below 1e-12 a deviation is rounding error of a constant, not risk.
    return above / below if above is not None and below is not None and below > 1e-12 else None
