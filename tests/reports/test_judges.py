"""Our figures against libraries that others wrote: equal to 1e-9. docs/statistics.md has the table of who judges what."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import empyrical
import numpy as np
import pandas as pd
import pytest
import scipy.stats

from app.backtest.statistics.benchmark import relate
from app.backtest.statistics.performance import daily_returns, drawdowns, measure, measure_calendar, monthly_returns
from app.backtest.statistics.trades import RoundTrip, trade_figures
from app.domain.bar import Floats

EQUAL = {"rel": 1e-9, "abs": 1e-12}
YEARS = (252.0, 365.0, 252.0 * 390)


def walk(
    seed: int, count: int, *, drift: float = 0.0004, deviation: float = 0.012
) -> tuple[Floats, Floats, pd.Series, pd.Series]:
    """Equity of a run and of its benchmark, and the returns of both by day; fat tails, some days without a move."""
    rng = np.random.default_rng(seed)
    market = drift + deviation * rng.standard_t(4, count)
    ours = 0.6 * market + 0.5 * deviation * rng.standard_t(5, count)
    ours[rng.random(count) < 0.1] = 0.0
    days = pd.bdate_range("2019-01-02", periods=count, tz="UTC")
    curves = [np.concatenate(([1e5], 1e5 * np.cumprod(1 + r))) for r in (ours, market)]
    return curves[0], curves[1], pd.Series(ours, index=days), pd.Series(market, index=days)


@pytest.fixture(params=[(1, 3), (2, 40), (3, 252), (4, 1500), (5, 4000)], ids=lambda p: f"{p[1]}-returns")
def sample(request: pytest.FixtureRequest) -> tuple[Floats, Floats, pd.Series, pd.Series]:
    return walk(*request.param)


@pytest.mark.parametrize("year", YEARS)
def test_figures_of_a_curve(sample: tuple[Floats, Floats, pd.Series, pd.Series], year: float) -> None:
    equity, _, returns, _ = sample
    ours = measure(equity, periods_per_year=year)
    judged = {
        "total_return": empyrical.cum_returns_final(returns),
        "annualized_return": empyrical.annual_return(returns, annualization=year),
        "volatility": empyrical.annual_volatility(returns, annualization=year),
        "sharpe_ratio": empyrical.sharpe_ratio(returns, annualization=year),
        "sortino_ratio": empyrical.sortino_ratio(returns, annualization=year),
        "max_drawdown": -empyrical.max_drawdown(returns),
        "calmar_ratio": empyrical.calmar_ratio(returns, annualization=year),
        "skewness": scipy.stats.skew(returns),
        "kurtosis": scipy.stats.kurtosis(returns, fisher=False),
    }
    for name, value in judged.items():
        assert getattr(ours, name) == pytest.approx(value, **EQUAL), name


def test_figures_beside_a_benchmark(sample: tuple[Floats, Floats, pd.Series, pd.Series]) -> None:
    equity, held, returns, market = sample
    ours = relate(equity, held, periods_per_year=252)
    assert ours.beta == pytest.approx(empyrical.beta(returns, market), **EQUAL)
    # empyrical compounds the intercept to a year, we multiply it, as Jensen's regression on yearly rates would.
    intercept = math.expm1(math.log1p(empyrical.alpha(returns, market, annualization=252)) / 252)
    assert ours.alpha == pytest.approx(intercept * 252, rel=1e-9, abs=1e-11)
    line = scipy.stats.linregress(market, returns)
    assert ours.alpha == pytest.approx(line.intercept * 252, **EQUAL)
    assert ours.correlation == pytest.approx(line.rvalue, **EQUAL)


def test_figures_of_days_and_months(sample: tuple[Floats, Floats, pd.Series, pd.Series]) -> None:
    equity, _, returns, _ = sample
    closes = [int(day.timestamp()) + 21 * 3600 for day in returns.index]
    known_at = np.array([closes[0] - 23_400, *closes])
    ours = measure_calendar(equity, known_at)
    assert ours.value_at_risk_95 == pytest.approx(-empyrical.value_at_risk(returns, 0.05), **EQUAL)
    assert ours.expected_shortfall_95 == pytest.approx(-empyrical.conditional_value_at_risk(returns, 0.05), **EQUAL)
    assert (ours.best_day, ours.worst_day) == (pytest.approx(returns.max(), **EQUAL), pytest.approx(returns.min(), **EQUAL))
    months = empyrical.aggregate_returns(returns, "monthly")
    assert monthly_returns(equity, known_at) == pytest.approx(months.to_numpy(), **EQUAL)
    assert ours.best_month == pytest.approx(months.max(), **EQUAL)


def test_days_of_a_minute_curve_are_those_of_pandas() -> None:
    """Minute bars around the clock: the last value of each day, a value at midnight belonging to the day that ended."""
    rng = np.random.default_rng(9)
    ends = pd.date_range("2024-02-27 00:01", periods=1440 * 5, freq="min", tz="UTC")
    equity = 1e4 * np.cumprod(1 + 1e-4 * rng.standard_normal(len(ends)))
    known_at = np.array([int(datetime(2024, 2, 27, tzinfo=UTC).timestamp()), *(int(at.timestamp()) for at in ends)])
    by_day = pd.Series(equity, index=ends).resample("1D", closed="right", label="left").last()
    expected = pd.concat([pd.Series([1e4]), by_day.dropna()]).pct_change().dropna()
    assert daily_returns(np.append(1e4, equity), known_at) == pytest.approx(expected.to_numpy(), **EQUAL)


GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())
TOLD = GOLDEN["told"]


def curve_of(returns: list[float]) -> Floats:
    return np.concatenate(([1.0], np.cumprod(1 + np.array(returns))))


def test_a_curve_as_quantstats_sees_it() -> None:
    equity, held = curve_of(GOLDEN["returns"]), curve_of(GOLDEN["market"])
    days = [date.fromisoformat(text) for text in GOLDEN["days"]]
    closes = [int(datetime(day.year, day.month, day.day, 21, tzinfo=UTC).timestamp()) for day in days]
    calendar = measure_calendar(equity, np.array([closes[0] - 23_400, *closes]))
    ours, relation = measure(equity), relate(equity, held, periods_per_year=252)
    for name in ("total_return", "volatility", "sharpe_ratio", "sortino_ratio", "max_drawdown"):
        assert getattr(ours, name) == pytest.approx(TOLD[name], **EQUAL), name
    for name in ("best_day", "worst_day", "best_month", "worst_month"):
        assert getattr(calendar, name) == pytest.approx(TOLD[name], **EQUAL), name
    assert (relation.alpha, relation.beta) == pytest.approx((TOLD["alpha"], TOLD["beta"]), **EQUAL)


def test_the_longest_drawdown_as_quantstats_sees_it() -> None:
    """It counts the days under water themselves; we count from the high before them to the value that regains it."""
    equity, days = curve_of(GOLDEN["returns"]), [date.fromisoformat(text) for text in GOLDEN["days"]]
    high, end = max(drawdowns(equity), key=lambda stretch: stretch[1] - stretch[0])
    regained = equity[end] >= equity[high]
    last = days[end - 1 - regained]  # value i of the curve is that of day i - 1
    assert days[high].isoformat() == TOLD["longest_drawdown"]["start"]
    assert (last - days[high]).days + 1 == TOLD["longest_drawdown"]["days"]


def test_trades_as_quantstats_sees_them() -> None:
    opened = datetime(2024, 1, 2, tzinfo=UTC)
    trips = [
        RoundTrip(
            symbol="SPY", quantity=Decimal(1), entry_price=Decimal(1000), exit_price=Decimal(1000) + profit, opened_at=opened,
            closed_at=opened + timedelta(days=1), commissions=Decimal(0), profit=profit, return_fraction=float(profit / 1000),
            reason="sell_signal",
        )
        for profit in (Decimal(str(value)) for value in GOLDEN["profits"])
    ]  # fmt: skip
    ours = trade_figures(trips)
    assert ours.win_rate == pytest.approx(TOLD["win_rate"], **EQUAL)
    assert ours.profit_factor == pytest.approx(TOLD["profit_factor"], **EQUAL)
    assert ours.average_win == pytest.approx(TOLD["average_win"] / 1000, **EQUAL)
    assert ours.average_loss == pytest.approx(TOLD["average_loss"] / 1000, **EQUAL)
    expected = TOLD["win_rate"] * TOLD["average_win"] - (1 - TOLD["win_rate"]) * TOLD["average_loss"]
    assert ours.expectancy == pytest.approx(expected, **EQUAL)
