"""Figures against their closed forms."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.backtest.benchmark import buy_and_hold
from app.backtest.performance import annualized_return, max_drawdown, measure, trade_figures
from tests.backtest.markets import market

RETURNS = st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=60)


def curve(returns: list[float], first: float = 1e5) -> np.ndarray:
    return first * np.concatenate(([1.0], np.cumprod(1.0 + np.array(returns))))


def test_a_year_of_equal_gains() -> None:
    figures = measure(curve([0.001] * 252))
    assert figures.total_return == pytest.approx(1.001**252 - 1)
    assert figures.annualized_return == pytest.approx(figures.total_return)
    assert figures.max_drawdown == 0.0
    assert figures.sharpe_ratio is None and figures.sortino_ratio is None and figures.calmar_ratio is None


def test_alternating_returns() -> None:
    """+2 %, -1 % by turns: mean 0.5 %, sample deviation and downside in closed form."""
    figures = measure(curve([0.02, -0.01] * 50))
    deviation = 0.015 * math.sqrt(100 / 99)
    assert figures.volatility == pytest.approx(deviation * math.sqrt(252))
    assert figures.sharpe_ratio == pytest.approx(0.005 / deviation * math.sqrt(252))
    assert figures.sortino_ratio == pytest.approx(0.005 / (0.01 / math.sqrt(2)) * math.sqrt(252))
    assert figures.max_drawdown == pytest.approx(0.01)
    assert figures.annualized_return == pytest.approx((1.02 * 0.99) ** 126 - 1)
    assert figures.calmar_ratio == pytest.approx(figures.annualized_return / 0.01)


@pytest.mark.parametrize(
    ("equity", "depth"),
    [([100], 0.0), ([100, 110, 120], 0.0), ([100, 120, 90, 130, 117], 0.25), ([100, 50, 100, 40], 0.6), ([100, 0], 1.0)],
)
def test_drawdown_is_a_magnitude_from_the_highest_point_before(equity: list[float], depth: float) -> None:
    assert max_drawdown(np.array(equity, dtype=float)) == pytest.approx(depth)


@settings(deadline=None)
@given(RETURNS, st.floats(0.01, 1e6))
def test_scale_does_not_matter_and_bounds_hold(returns: list[float], scale: float) -> None:
    one, other = measure(curve(returns)), measure(curve(returns, 1e5 * scale))
    assert one.total_return == pytest.approx(other.total_return, abs=1e-9)
    assert 0.0 <= one.max_drawdown < 1.0
    assert one.max_drawdown >= -min(0.0, one.total_return) - 1e-12
    assert one.annualized_return is not None
    assert math.copysign(1, one.annualized_return) == math.copysign(1, one.total_return) or abs(one.total_return) < 1e-12


def test_what_cannot_be_known_is_none() -> None:
    assert measure([100.0]).annualized_return is None
    assert measure([100.0, 101.0]).sharpe_ratio is None
    assert annualized_return(-1.0, 10) == -1.0
    assert annualized_return(1e6, 1) is None
    nothing = trade_figures([], [])
    assert (nothing.trades, nothing.win_rate, nothing.profit_factor, nothing.average_return) == (0, None, None, None)


def test_trade_figures() -> None:
    figures = trade_figures([Decimal(30), Decimal(-10), Decimal(0), Decimal(-5)], [0.03, -0.01, 0.0, -0.005])
    assert figures.win_rate == 0.25 and figures.profit_factor == 2.0
    assert figures.average_return == pytest.approx(0.00375)
    assert trade_figures([Decimal(1)], [0.1]).profit_factor is None


def test_benchmark_is_close_over_open() -> None:
    bars, sessions = market(10)
    closes = [int(s.closes_at.timestamp()) for s in sessions]
    for symbol, series in bars.items():
        held = buy_and_hold({symbol: series}, closes)
        assert held is not None and len(held) == 11 and held[0] == 1.0
        assert held[-1] == pytest.approx(series.close[-1] / series.open[-10])
    together = buy_and_hold(bars, closes, cost_fraction=0.001)
    assert together is not None
    expected = np.mean([s.close[-1] / s.open[-10] for s in bars.values()])
    assert together[-1] == pytest.approx(expected * 0.999)


def test_benchmark_without_bars_is_none() -> None:
    bars, sessions = market(10)
    closes = [int(s.closes_at.timestamp()) for s in sessions]
    early = {"SPY": bars["SPY"].slice(0, 20)}
    assert buy_and_hold({}, closes) is None and buy_and_hold(early, closes) is None
