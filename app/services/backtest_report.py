"""A finished run as plain JSON values: figures, curves, trades, benchmarks, and what was assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

import numpy as np

from app.backtest.benchmark import buy_and_hold
from app.backtest.driver import Grain, Run
from app.backtest.performance import SESSIONS_PER_YEAR, measure, trade_figures
from app.backtest.trades import RoundTrip
from app.domain.bar import BarSeries, Floats
from app.domain.instrument import cents
from app.runtime.calendar import Session
from app.services.backtest_request import BacktestRequest
from app.services.walk_forward import WINDOW_SESSIONS

INDEX = "SPY"


def report(
    request: BacktestRequest, run: Run, *, bars: Mapping[str, BarSeries], index: BarSeries | None, sessions: Sequence[Session]
) -> dict[str, Any]:
    """The answer to a backtest request. Money in US dollars, fractions as fractions; None where the data cannot tell."""
    closes = [int(session.closes_at.timestamp()) for session in sessions]
    cost = float(request.slippage_bps + request.commission_bps) / 10_000
    held = buy_and_hold(bars, closes, cost_fraction=cost)
    market = None if index is None else buy_and_hold({INDEX: index}, closes, cost_fraction=cost)
    return {
        "status": "completed",
        "performance": _performance(run),
        "benchmark": {"buy_and_hold": _benchmark(held), INDEX: _benchmark(market)},
        "equity_curve": _curve(run, held, market),
        "trades": [_trade(trip) for trip in run.round_trips],
        "decisions_by_reason": dict(run.reasons.most_common()),
        "alerts": run.alerts[:200],
        "span": {"start": sessions[0].day.isoformat(), "end": sessions[-1].day.isoformat(), "sessions": len(sessions)},
        "assumptions": _assumptions(request, run),
    }


def _performance(run: Run) -> dict[str, Any]:
    capital = float(run.plan.capital)
    equity = np.array([capital, *(float(s.equity) for s in run.sessions)])
    trips = run.round_trips
    figures = trade_figures([t.profit for t in trips], [t.return_fraction for t in trips])
    mean_equity, years = float(equity.mean()), len(run.sessions) / SESSIONS_PER_YEAR
    exposures = [float(s.positions_value / s.equity) for s in run.sessions if s.equity > 0]
    return (
        asdict(measure(equity))
        | asdict(figures)
        | {
            "initial_capital": capital,
            "final_equity": _money(run.sessions[-1].equity),
            # Half of all that was bought and sold, a year, over the mean equity.
            "turnover_per_year": float(run.traded_value) / 2 / mean_equity / years if mean_equity > 0 else None,
            "mean_exposure": float(np.mean(exposures)) if exposures else None,
            "max_exposure": max(exposures, default=None),
            "commissions": _money(run.commissions),
            "decisions": run.decisions,
            "orders": run.orders,
            "orders_refused_by_venue": run.refused,
            "fills": run.fills,
            "open_positions": run.open_positions,
        }
    )


def _benchmark(curve: Floats | None) -> dict[str, Any] | None:
    return None if curve is None else asdict(measure(curve))


def _curve(run: Run, held: Floats | None, market: Floats | None) -> list[dict[str, Any]]:
    capital = float(run.plan.capital)
    return [
        {
            "at": session.closes_at.isoformat(),
            "equity": _money(session.equity),
            "positions_value": _money(session.positions_value),
            "positions": session.positions,
            "trading_state": session.trading_state.name,
            "buy_and_hold": None if held is None else round(capital * float(held[i]), 2),
            INDEX: None if market is None else round(capital * float(market[i]), 2),
        }
        for i, session in enumerate(run.sessions, start=1)
    ]


def _trade(trip: RoundTrip) -> dict[str, Any]:
    return {
        "symbol": trip.symbol,
        "quantity": float(trip.quantity),
        "entry_price": float(trip.entry_price),
        "exit_price": float(trip.exit_price),
        "opened_at": trip.opened_at.isoformat(),
        "closed_at": trip.closed_at.isoformat(),
        "commissions": _money(trip.commissions),
        "profit": _money(trip.profit),
        "return": trip.return_fraction,
        "reason": trip.reason,
    }


def _assumptions(request: BacktestRequest, run: Run) -> dict[str, Any]:
    cycle = run.plan.cycle_seconds
    decided = {
        Grain.CYCLE: f"every {cycle} s of each session, from {cycle} s after the open",
        Grain.SESSION: f"once a session, {cycle} s after the open; an entry not filled by the next decision is cancelled",
    }
    models = {
        "retrain": f"retrained before every {WINDOW_SESSIONS} sessions on what was known then",
        "stored": "those in use, which know nothing of the span",
    }
    return {
        "seed": request.seed,
        "grain": request.grain.value,
        "decisions": decided[request.grain],
        "models": models[request.models],
        "prices_within_a_day": (
            "DERIVED: invented between open, high, low and close of the real daily bar, as a random walk would move. Fills at "
            "stops and limits are plausible, not real, and whatever real minutes hold beyond a random walk is missing."
        ),
        "slippage_bps": float(request.slippage_bps),
        "commission_bps": float(request.commission_bps),
        "commission_per_share": float(request.commission_per_share),
        "minimum_commission": float(request.minimum_commission),
        "fills": "whole orders, after the decision, never at a price it saw; both legs touched in a minute: the stop",
        "left_out": "dividends, interest on cash, market impact, taxes, symbols that stopped trading",
        "benchmark": "equal parts bought at the first open, held to the last close, the same slippage and commission_bps once",
    }


def _money(amount: Decimal) -> float:
    return float(cents(amount))
