"""A finished run of the driver as its result (see `app.services.backtests.result`), with what was assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from app.backtest.driver import Grain, Plan, Run
from app.backtest.outcome import Outcome
from app.backtest.statistics.benchmark import buy_and_hold
from app.backtest.statistics.trades import trade_figures
from app.backtest.tape import Hours
from app.domain.bar import BarSeries
from app.domain.panel import align
from app.services.backtests.request import BacktestRequest
from app.services.backtests.result import result_of
from app.services.research.retrained_models import WINDOW_SESSIONS

INDEX = "SPY"


def report(
    request: BacktestRequest,
    run: Run,
    *,
    bars: Mapping[str, BarSeries],
    index: BarSeries | None,
    sessions: Sequence[Hours],
    engine: str | None = None,
    asks_models: bool = True,
) -> dict[str, Any]:
    """The answer to a backtest request. Money in US dollars, fractions as fractions; None where the data cannot tell. engine:
    which loop ran a strategy on bars; None: it was the models alone. asks_models: whether forecasts were used."""
    closes = [int(session.closes_at.timestamp()) for session in sessions]
    cost = float(request.slippage_bps + request.commission_bps) / 10_000
    outcome = outcome_of(
        run,
        starts_at=int(sessions[0].opens_at.timestamp()),
        benchmarks={
            "buy_and_hold": buy_and_hold(bars, closes, cost_fraction=cost),
            INDEX: None if index is None else buy_and_hold({INDEX: index}, closes, cost_fraction=cost),
        },
    )
    result = result_of(
        outcome,
        bars=bars,
        assumptions=_assumptions(request, run) | ({} if engine is None else _on_bars(request, run, engine, asks_models)),
        dataset=align(bars).digest(),
        attribution=attribution_of(run, outcome),
        points={"trading_state": [session.trading_state.name for session in run.sessions]},
    )
    result["performance"] |= {"decisions": run.decisions, "orders": run.orders, "orders_refused_by_venue": run.refused}
    return result | {
        "decisions_by_reason": dict(run.reasons.most_common()),
        "alerts": run.alerts[:200],
        "span": {"start": sessions[0].day.isoformat(), "end": sessions[-1].day.isoformat(), "sessions": len(sessions)},
    }


def attribution_of(run: Run, outcome: Outcome) -> list[dict[str, Any]]:
    """A row for each strategy of a shared account, in the order in which they are asked. profit: of its fills and of what it
    holds at the end; those of all rows are the account's. contribution: over the capital. turnover_per_year, mean_exposure,
    max_exposure: as in `app.backtest.outcome.figures`, of the account's equity. The rest: of its closed trades."""
    years, mean_equity = len(outcome.equity) / outcome.year.periods, float(outcome.curve.mean())
    rows = []
    for part in run.attribution:
        with np.errstate(divide="ignore", invalid="ignore"):
            exposure = np.array([float(value) for value in part.values]) / outcome.equity
        known = exposure[np.isfinite(exposure)]
        trips = [trip for trip in run.round_trips if trip.strategy == part.strategy]
        rows.append(
            {
                "strategy": part.strategy,
                "budget": part.budget_fraction,
                "profit": float(part.profit),
                "contribution": float(part.profit) / outcome.capital,
                "fills": part.fills,
                "costs": float(part.commissions + part.slippage),
                "commissions": float(part.commissions),
                "turnover_per_year": float(part.traded_value) / 2 / mean_equity / years if mean_equity > 0 and years else None,
                "mean_exposure": float(known.mean()) if len(known) else None,
                "max_exposure": float(known.max()) if len(known) else None,
            }
            | asdict(trade_figures(trips))
        )
    return rows


def outcome_of(run: Run, *, starts_at: int, benchmarks: Mapping[str, Any]) -> Outcome:
    """The account of a run, session by session."""
    return Outcome(
        capital=float(run.plan.capital),
        starts_at=starts_at,
        known_at=np.array([int(session.closes_at.timestamp()) for session in run.sessions], dtype=np.int64),
        equity=np.array([float(session.equity) for session in run.sessions]),
        positions_value=np.array([float(session.positions_value) for session in run.sessions]),
        positions=np.array([session.positions for session in run.sessions], dtype=np.int64),
        trips=run.round_trips,
        fills=run.fills,
        traded_value=float(run.traded_value),
        commissions=float(run.commissions),
        slippage=float(run.slippage),
        open_positions=run.open_positions,
        benchmarks=benchmarks,
        risk_fraction=_first_stop(run.plan),
    )


def _first_stop(plan: Plan) -> float | None:
    """Distance of the stop that an entry is sent with, where it is the same for all."""
    policies = [sleeve.policy for sleeve in plan.sleeves]
    if len({policy.exits.stop_loss_fraction for policy in policies}) > 1:
        return None
    fraction = policies[0].exits.stop_loss_fraction if policies else plan.limits.stop_loss_fraction
    return None if any(policy.exits.atr_stop_multiple for policy in policies or [plan.policy]) else fraction


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
        "half_spread_bps": float(request.half_spread_bps),
        "impact_bps": float(request.impact_bps),
        "participation": None if request.participation is None else float(request.participation),
        "commission_bps": float(request.commission_bps),
        "commission_per_share": float(request.commission_per_share),
        "minimum_commission": float(request.minimum_commission),
        "fills": "whole orders, after the decision, never at a price it saw; both legs touched in a minute: the stop",
        "left_out": "dividends, interest on cash, market impact, taxes, symbols that stopped trading",
        "benchmark": "equal parts bought at the first open, held to the last close, the same slippage and commission_bps once",
    }


def _on_bars(request: BacktestRequest, run: Run, engine: str, asks_models: bool) -> dict[str, Any]:
    """What is otherwise where a strategy on bars was tested."""
    return (
        ({} if asks_models else {"models": "none"})
        | {
            "strategy": run.plan.strategy,
            "parameters": dict(request.parameters),
            "timeframe": request.timeframe,
            "engine": engine,
            "grain": "bar",
            "decisions": f"when a {request.timeframe} bar is complete; an entry not filled in the next bar is cancelled",
            "prices_within_a_day": "bars as they are; nothing is invented inside a bar",
            "fills": "in later bars than the decision's; of two levels touched in one bar the stop counts first",
        }
        | ({"budgets": {one.strategy: one.budget_fraction for one in run.plan.sleeves}} if run.plan.sleeves else {})
    )
