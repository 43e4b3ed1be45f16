"""What a cycle saw, as metrics: limits beside their readings, the age of prices, and how the forecasts fare."""

from __future__ import annotations

import math

import numpy as np

from app.domain.bar import Floats
from app.domain.forecast import Forecast
from app.engine.decision import Book, Decision, MarketView
from app.engine.recording import Inputs
from app.risk.limits import RiskLimits
from app.runtime import metrics
from app.services.risk.status import breakers
from app.services.trading.reconciliation import Reconciled


def observe_inputs(mode: str, inputs: Inputs, decision: Decision, books: Reconciled) -> None:
    """Observe all of it; changes nothing. mode: the venue's."""
    metrics.observe_books(mode, len(books.unexplained))
    ages = inputs.view.age_seconds[np.isfinite(inputs.view.age_seconds)]
    if len(ages):
        metrics.observe_prices(mode, newest=float(ages.min()), oldest=float(ages.max()))
    rows = [
        (row["breaker"], math.nan if row["reading"] is None else row["reading"], row["limit"])
        for row in breakers(decision.readings, inputs.limits)
    ]
    metrics.observe_limits(mode, [*rows, *book_limits(inputs.book, inputs.view, inputs.limits)])
    quality = forecast_quality(inputs.view)
    if quality is not None:
        hits, error_ratio, symbols = quality
        metrics.observe_forecast_quality(mode, hits=hits, error_ratio=error_ratio, symbols=symbols)


def book_limits(book: Book, view: MarketView, limits: RiskLimits) -> list[tuple[str, float, float]]:
    """Name, reading and limit of what bounds the holdings; readings are NaN where equity or a holding's price is unknown.
    Fractions of equity but for `positions`, a number."""
    prices = dict(zip(view.symbols, view.price.tolist(), strict=True))
    equity = float(book.equity)
    values = [float(position.quantity) * prices.get(symbol, math.nan) for symbol, position in book.positions.items()]
    shares = [value / equity for value in values] if equity > 0 else [math.nan]
    high_water = max(equity, float(book.risk.high_water_equity))
    return [
        ("positions", float(len(values)), float(limits.max_positions)),
        ("exposure", math.fsum(shares), limits.max_exposure_fraction),
        ("largest_position", float(np.max(shares)) if shares else 0.0, limits.max_position_fraction),
        ("drawdown", 1.0 - equity / high_water if equity > 0 else math.nan, limits.max_drawdown_fraction),
    ]


def forecast_quality(view: MarketView) -> tuple[float, float, int] | None:
    """How the models' forecasts of the present session compare with the returns since the last close, so far: the share with
    the right sign, the mean absolute error over that of forecasting no change, and the number of symbols. None where nothing
    can be compared: no model's forecast, or no price that moved."""
    if view.last_close is None:
        return None
    forecasts = [view.forecasts.get(symbol) for symbol in view.symbols]
    expected: Floats = np.array([one.daily_return if isinstance(one, Forecast) else math.nan for one in forecasts])
    with np.errstate(divide="ignore", invalid="ignore"):
        happened = view.price / view.last_close - 1.0
    kept = np.isfinite(expected) & np.isfinite(happened) & (happened != 0.0)
    if not kept.any():
        return None
    expected, happened = expected[kept], happened[kept]
    hits = float(np.mean(np.sign(expected) == np.sign(happened)))
    ratio = float(np.mean(np.abs(expected - happened)) / np.mean(np.abs(happened)))
    return hits, ratio, int(kept.sum())
