"""Figures against their closed forms."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.backtest.statistics.benchmark import buy_and_hold, relate
from app.backtest.statistics.performance import annualized_return, drawdowns, max_drawdown, measure, measure_calendar
from app.backtest.statistics.periods import year_of
from app.backtest.statistics.thinning import extremes
from app.backtest.statistics.trades import RoundTrip, excursion, trade_figures
from app.domain.bar import BarSeries
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
    nothing = trade_figures([])
    assert (nothing.trades, nothing.win_rate, nothing.profit_factor, nothing.average_return) == (0, None, None, None)
    flat = measure([100.0] * 5)
    assert flat.skewness is None and flat.drawdown_periods == 0 and not flat.is_under_water
    assert measure_calendar(np.array([100.0]), np.array([0])).worst_day is None
    assert relate(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0]), periods_per_year=252).beta is None
    assert relate(curve([0.01] * 9), np.ones(10), periods_per_year=252).alpha is None


OPENED = datetime(2024, 1, 2, 21, tzinfo=UTC)


def trip(profit: int, *, hours: int = 24, entry: int = 100) -> RoundTrip:
    return RoundTrip(
        symbol="SPY",
        quantity=Decimal(10),
        entry_price=Decimal(entry),
        exit_price=Decimal(entry) + Decimal(profit) / 10,
        opened_at=OPENED,
        closed_at=OPENED + timedelta(hours=hours),
        commissions=Decimal(0),
        profit=Decimal(profit),
        return_fraction=profit / (10 * entry),
        reason="sell_signal",
    )


def test_trade_figures() -> None:
    figures = trade_figures([trip(30), trip(-10, hours=12), trip(0, hours=48), trip(-5)])
    assert figures.win_rate == 0.25 and figures.profit_factor == 2.0 and figures.expectancy == 3.75
    assert figures.average_return == pytest.approx(0.00375)
    assert figures.average_win == pytest.approx(0.03) and figures.average_loss == pytest.approx(0.0075)
    assert figures.average_holding_days == pytest.approx((1 + 0.5 + 2 + 1) / 4)
    assert trade_figures([trip(1)]).profit_factor is None


def test_r_is_profit_over_what_was_risked() -> None:
    assert trip(100).r_multiple(0.05) == pytest.approx(2.0)
    assert trip(-50).r_multiple(0.05) == pytest.approx(-1.0)
    assert trip(100).r_multiple(None) is None and trip(100).r_multiple(0.0) is None and trip(100).r_multiple(math.nan) is None


def test_excursions_come_from_whole_bars_inside_the_holding() -> None:
    """Bought in the first bar, sold in the fourth: their extremes may lie before and after the holding."""
    ends = np.array([int(OPENED.timestamp()) + 86_400 * i for i in range(4)], dtype=np.int64)
    flat = np.full(4, 100.0)
    bars = BarSeries(
        symbol="SPY", timeframe="1Day", timestamp=ends - 23_400, known_at=ends, open=flat, close=flat, volume=flat,
        low=np.array([50.0, 97.0, np.nan, 40.0]), high=np.array([200.0, 101.0, 104.0, 300.0]),
    )  # fmt: skip
    gone = excursion(trip(10, hours=72), bars)
    assert gone.adverse == pytest.approx(-0.03) and gone.favourable == pytest.approx(0.04)
    assert excursion(trip(-50, hours=24), bars).adverse == pytest.approx(-0.05)
    assert excursion(trip(-50, hours=24), bars).favourable == 0.0


@pytest.mark.parametrize(
    ("equity", "stretches"),
    [
        ([], []),
        ([100, 90], [(0, 1)]),
        ([100, 90, 100, 80, 70], [(0, 2), (2, 4)]),
        ([100, 120, 90, 110, 121, 119], [(1, 4), (4, 5)]),
        ([100, 100, 90, 95, 100, 100], [(1, 4)]),
    ],
)
def test_stretches_under_water(equity: list[float], stretches: list[tuple[int, int]]) -> None:
    found = drawdowns(np.array(equity, dtype=float))
    assert found == stretches
    figures = measure(np.array(equity, dtype=float))
    assert figures.drawdown_periods == max((b - a for a, b in stretches), default=0)


def seconds(first: str, step: int, count: int) -> np.ndarray:
    return int(np.datetime64(first, "s").astype(int)) + step * np.arange(count)


@pytest.mark.parametrize(
    ("known_at", "periods", "text"),
    [
        (np.array([], dtype=np.int64), 252, "252 sessions"),
        (np.array([int(s.closes_at.timestamp()) for s in market(40)[1]]), 252, "252 sessions"),
        (seconds("2024-01-02T00:00", 86_400, 60), 365, "365 days"),
        (seconds("2024-01-01T00:01", 60, 1440 * 15), 365 * 1440, "365 days of 1440 bars"),
        (seconds("2024-01-02T14:31", 60, 390), 252 * 390, "252 sessions of 390 bars"),
        (seconds("2024-01-05T21:00", 7 * 86_400, 30), 365.25 / 7, "365.25 days, one period in 7"),
    ],
)
def test_the_year_is_read_off_the_data(known_at: np.ndarray, periods: float, text: str) -> None:
    year = year_of(known_at)
    assert year.periods == pytest.approx(periods) and year.text == text


def test_a_market_that_never_closes_may_be_told() -> None:
    assert year_of(seconds("2024-01-02T00:01", 60, 1440), continuous=True).periods == 365 * 1440


@settings(deadline=None)
@given(st.integers(2, 5000), st.integers(4, 400), st.integers(0, 2**32))
def test_thinning_keeps_the_extremes(count: int, most: int, seed: int) -> None:
    values = np.random.default_rng(seed).standard_normal(count).cumsum()
    kept = extremes(values, most)
    assert len(kept) <= max(most, 4) and (np.diff(kept) > 0).all()
    assert kept[0] == 0 and kept[-1] == count - 1
    assert values[kept].min() == values.min() and values[kept].max() == values.max()
    assert len(kept) == count if count <= most else True


def test_annualisation_uses_the_periods_it_is_given() -> None:
    one, other = measure(curve([0.02, -0.01] * 50)), measure(curve([0.02, -0.01] * 50), periods_per_year=365)
    assert other.sharpe_ratio == pytest.approx(one.sharpe_ratio * math.sqrt(365 / 252))
    assert other.annualized_return == pytest.approx((1.02 * 0.99) ** (50 * 365 / 100) - 1)


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
