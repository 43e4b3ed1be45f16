"""An outcome as plain JSON values: what is stored, answered and drawn, the same for every engine.

It is bounded whatever the length of the backtest. Figures are computed on everything; curves and prices are thinned to
their extremes, and of many trades those that gained or lost most are kept. What was left out is told in `thinned`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from app.backtest.outcome import Outcome, figures
from app.backtest.statistics.performance import daily_returns, drawdown_curve, measure, monthly_returns
from app.backtest.statistics.periods import month_ends, month_names
from app.backtest.statistics.thinning import extremes
from app.backtest.statistics.trades import RoundTrip, excursion, trade_figures
from app.domain.bar import BarSeries, Floats
from app.domain.instrument import cents

CURVE_POINTS = 2_000
PRICE_POINTS = 400
MOST_TRADES = 5_000
MOST_CHARTS = 40
_BINS = 40


def result_of(
    outcome: Outcome,
    *,
    bars: Mapping[str, BarSeries],
    assumptions: Mapping[str, Any],
    dataset: str | None = None,
    attribution: Sequence[Mapping[str, Any]] = (),
    points: Mapping[str, Sequence[Any]] | None = None,
    verdict: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The result of a backtest. Money in account currency, fractions as fractions; None where the data cannot tell.

    bars: what was traded, for prices, MAE and MFE. dataset: digest of the data. attribution: a row for each strategy.
    points: further columns of the equity curve, each of shape (n_periods,).
    """
    shown = extremes(outcome.curve, CURVE_POINTS)
    shown = shown[shown > 0] - 1  # the capital is told once, in the figures
    trips = _largest(outcome.trips)
    return {
        "status": "completed",
        "performance": figures(outcome),
        "verdict": None if verdict is None else dict(verdict),
        "benchmark": {name: _benchmark(outcome, curve) for name, curve in outcome.benchmarks.items()},
        "equity_curve": _curve(outcome, shown.tolist(), points or {}),
        "monthly": _monthly(outcome),
        "returns_histogram": _histogram(daily_returns(outcome.curve, outcome.instants)),
        "exposure": _exposure(outcome),
        "trades": [_trade(trip, bars.get(trip.symbol), outcome.risk_fraction) for trip in trips],
        "by_symbol": _groups(outcome, "symbol"),
        "by_exit_reason": _groups(outcome, "reason"),
        "attribution": [dict(row) for row in attribution] or _groups(outcome, "strategy"),
        "prices": _prices(outcome, bars),
        "assumptions": dict(assumptions),
        "dataset": dataset,
        "span": {"start": _day(outcome.starts_at), "end": _day(int(outcome.known_at[-1]))},
        "thinned": {
            "equity_curve": {"kept": len(shown), "of": len(outcome.equity)},
            "trades": {"kept": len(trips), "of": len(outcome.trips)},
        },
    }


def _benchmark(outcome: Outcome, curve: Floats | None) -> dict[str, Any] | None:
    return None if curve is None else asdict(measure(curve, periods_per_year=outcome.year.periods))


def _curve(outcome: Outcome, shown: Sequence[int], points: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    drawdown = drawdown_curve(outcome.curve)[1:]
    return [
        {
            "at": _instant(int(outcome.known_at[i])),
            "equity": round(float(outcome.equity[i]), 2),
            "drawdown": float(drawdown[i]),
            "positions_value": round(float(outcome.positions_value[i]), 2),
            "positions": int(outcome.positions[i]),
        }
        | {name: column[i] for name, column in points.items()}
        | {
            name: None if curve is None else round(outcome.capital * float(curve[i + 1]), 2)
            for name, curve in outcome.benchmarks.items()
        }
        for i in shown
    ]


def _monthly(outcome: Outcome) -> list[dict[str, Any]]:
    """The return of each calendar month, the first and the last perhaps of a part of it."""
    returns = monthly_returns(outcome.curve, outcome.instants)
    names = month_names(outcome.known_at[month_ends(outcome.known_at)])
    return [
        {"year": year, "month": month, "return": float(value)}
        for (year, month), value in zip(names, returns.tolist(), strict=True)
    ]


def _histogram(returns: Floats) -> dict[str, Any] | None:
    """Number of days by return; what lies beyond the outermost edges is counted in the outermost bins."""
    if len(returns) < 2:
        return None
    low, high = (float(edge) for edge in np.quantile(returns, (0.005, 0.995)))
    if not high > low:
        return None
    counts, edges = np.histogram(np.clip(returns, low, high), bins=min(_BINS, max(5, len(returns) // 5)), range=(low, high))
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def _exposure(outcome: Outcome) -> dict[str, Any]:
    """How much was held; the curve of it is in `equity_curve` (positions_value over equity)."""
    known = outcome.exposure[np.isfinite(outcome.exposure)]
    shares = {
        f"percentile_{share}": float(np.percentile(known, share)) if len(known) else None for share in (5, 25, 50, 75, 95)
    }
    return {"mean": float(known.mean()) if len(known) else None, "max": float(known.max()) if len(known) else None} | shares


def _largest(trips: Sequence[RoundTrip]) -> list[RoundTrip]:
    if len(trips) <= MOST_TRADES:
        return list(trips)
    ranked = sorted(range(len(trips)), key=lambda i: abs(trips[i].profit), reverse=True)[:MOST_TRADES]
    return [trips[i] for i in sorted(ranked)]


def _trade(trip: RoundTrip, bars: BarSeries | None, risk_fraction: float | None) -> dict[str, Any]:
    gone = excursion(trip, bars) if bars is not None and len(bars) else None
    return {
        "symbol": trip.symbol,
        "strategy": trip.strategy,
        "quantity": float(trip.quantity),
        "entry_price": float(trip.entry_price),
        "exit_price": float(trip.exit_price),
        "opened_at": trip.opened_at.isoformat(),
        "closed_at": trip.closed_at.isoformat(),
        "holding_days": trip.holding_days,
        "commissions": money(trip.commissions),
        "profit": money(trip.profit),
        "return": trip.return_fraction,
        "r_multiple": trip.r_multiple(risk_fraction),
        "adverse": None if gone is None else gone.adverse,
        "favourable": None if gone is None else gone.favourable,
        "entry_reason": trip.entry_reason,
        "reason": trip.reason,
    }


def _groups(outcome: Outcome, by: str) -> list[dict[str, Any]]:
    """Figures of the trades that share a symbol, strategy or reason; the most profitable group first."""
    members: dict[str, list[RoundTrip]] = {}
    for trip in outcome.trips:
        members.setdefault(getattr(trip, by), []).append(trip)
    rows = []
    for name, trips in members.items():
        profit = sum((trip.profit for trip in trips), Decimal(0))
        rows.append(
            {by: name, "profit": money(profit), "contribution": float(profit) / outcome.capital}
            | {"commissions": money(sum((trip.commissions for trip in trips), Decimal(0)))}
            | asdict(trade_figures(trips))
        )
    return sorted(rows, key=lambda row: (-row["profit"], row[by]))


def _prices(outcome: Outcome, bars: Mapping[str, BarSeries]) -> dict[str, Any]:
    """Closes over the backtest, thinned, of the symbols with the most trades."""
    trades = dict.fromkeys(bars, 0)
    for trip in outcome.trips:
        trades[trip.symbol] = trades.get(trip.symbol, 0) + 1
    chosen = sorted((s for s in bars if trades[s]), key=lambda s: -trades[s])[:MOST_CHARTS]
    answer = {}
    for symbol in chosen:
        series, last = bars[symbol], int(outcome.known_at[-1])
        inside = (series.known_at >= outcome.starts_at) & (series.known_at <= last) & np.isfinite(series.close)
        close, known_at = series.close[inside], series.known_at[inside]
        kept = extremes(close, PRICE_POINTS)
        answer[symbol] = {"at": [_instant(at) for at in known_at[kept].tolist()], "close": close[kept].tolist()}
    return answer


def money(amount: Decimal) -> float:
    """`amount` in whole cents."""
    return float(cents(amount))


def _day(second: int) -> str:
    return datetime.fromtimestamp(second - 1, UTC).date().isoformat()


def _instant(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()
