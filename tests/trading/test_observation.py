"""What a cycle tells of its limits and forecasts."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from prometheus_client import REGISTRY

from app.domain.portfolio import Position
from app.domain.trading_state import RiskState, TradingState
from app.engine.decision import Book
from app.risk.limits import RiskLimits
from app.runtime import metrics
from app.services.trading.observation import book_limits, forecast_quality
from tests.engine.worlds import NOW, Quote, view_of


def seen(*pairs: tuple[float | None, float]):
    """A view of symbols with the forecast and the price of each, all closed at 100 before."""
    quotes = {f"S{i}": Quote(price=price, expected=expected, last_close=100.0) for i, (expected, price) in enumerate(pairs)}
    return view_of(quotes)


@pytest.mark.parametrize(
    ("pairs", "hits", "ratio", "symbols"),
    [
        ([(0.01, 102.0)], 1.0, 0.5, 1),
        ([(0.02, 102.0), (-0.01, 99.0)], 1.0, 0.0, 2),
        ([(0.01, 99.0)], 0.0, 2.0, 1),
        ([(0.01, 101.0), (-0.01, 101.0)], 0.5, 1.0, 2),
        # No forecast, an unmoved price and an unknown one do not count.
        ([(0.01, 102.0), (None, 90.0), (0.05, 100.0), (0.05, math.nan)], 1.0, 0.5, 1),
    ],
)
def test_forecast_quality(pairs, hits, ratio, symbols):
    found = forecast_quality(seen(*pairs))
    assert found is not None
    assert found[0] == hits
    assert found[1] == pytest.approx(ratio, abs=1e-12)
    assert found[2] == symbols


def test_nothing_to_compare_is_no_reading():
    assert forecast_quality(seen((None, 101.0))) is None
    assert forecast_quality(seen((0.01, 100.0))) is None
    assert forecast_quality(replace(seen((0.01, 101.0)), last_close=None)) is None


def book(equity: str, holdings: dict[str, str], high_water: str = "100000") -> Book:
    risk = RiskState(
        trading_state=TradingState.ACTIVE,
        cause="",
        actor="system",
        since=NOW,
        baseline_equity=Decimal(100_000),
        baseline_session="2024-03-05",
        high_water_equity=Decimal(high_water),
    )
    positions = {
        symbol: Position(symbol=symbol, quantity=Decimal(units), average_entry_price=Decimal(100), opened_at=NOW)
        for symbol, units in holdings.items()
    }
    return Book(
        session="2024-03-05",
        cash=Decimal(0),
        equity=Decimal(equity),
        previous_close_equity=Decimal(100_000),
        buying_power=Decimal(0),
        positions=positions,
        open_orders=(),
        risk=risk,
    )


def test_limits_of_the_book_and_what_is_used():
    limits = RiskLimits()
    rows = {
        name: (reading, limit)
        for name, reading, limit in book_limits(
            book("90000", {"S0": "100", "S1": "50"}), seen((0.0, 90.0), (0.0, 180.0)), limits
        )
    }
    assert rows["positions"] == (2.0, limits.max_positions)
    assert rows["exposure"] == (pytest.approx(0.2), limits.max_exposure_fraction)
    assert rows["largest_position"] == (pytest.approx(0.1), limits.max_position_fraction)
    assert rows["drawdown"] == (pytest.approx(0.1), limits.max_drawdown_fraction)


def test_what_is_unknown_is_no_number():
    rows = {name: reading for name, reading, _ in book_limits(book("0", {"S0": "1"}), seen((0.0, 90.0)), RiskLimits())}
    assert rows["positions"] == 1.0
    assert all(math.isnan(rows[name]) for name in ("exposure", "largest_position", "drawdown"))
    unpriced = {
        name: reading for name, reading, _ in book_limits(book("90000", {"S0": "1"}), seen((0.0, math.nan)), RiskLimits())
    }
    assert math.isnan(unpriced["exposure"])
    assert math.isnan(unpriced["largest_position"])
    empty = {name: reading for name, reading, _ in book_limits(book("90000", {}), seen(), RiskLimits())}
    assert (empty["exposure"], empty["largest_position"], empty["positions"]) == (0.0, 0.0, 0.0)
    assert np.isfinite(empty["drawdown"])


def test_a_reading_that_is_missing_keeps_its_last():
    labels = {"mode": "test-observation", "limit": "exposure"}
    metrics.observe_limits(labels["mode"], [("exposure", 0.5, 0.8)])
    metrics.observe_limits(labels["mode"], [("exposure", math.nan, 0.7)])
    assert REGISTRY.get_sample_value("alpha_trader_risk_reading", labels) == 0.5
    assert REGISTRY.get_sample_value("alpha_trader_risk_limit", labels) == 0.7
