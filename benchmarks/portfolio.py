"""W3: 32 and 500 symbols over five years of days, the seven best of a given score, all risk rules; beside raptorbt.

`python benchmarks/portfolio.py [--rounds 3] [--out results.jsonl]`. The product runs the loop alone, on bars laid out once for
many runs, and a whole run with its layout. raptorbt knows stops and the cap on positions, no daily halt, drawdown or breakers.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
from side_by_side import Message, merged, peer, present, table, told

from app.backtest.bar_tape import BarTape
from app.backtest.compiled.portfolio import LASTING, Market, shared_by, tapes_of, trade_portfolio
from app.backtest.compiled.portfolio_loop import trade
from app.backtest.compiled.portfolio_terms import costs_of, steps_of
from app.backtest.driver import Plan, first_risk
from app.domain.panel import PRICES, Panel
from app.engine.arrays import rules_of, standing_numbers
from app.engine.costs import CostModel
from app.engine.rules import Venue
from app.risk.limits import Policy, RiskLimits
from app.runtime.calendar import new_york_calendar

DAYS, TOP, SEED = 1260, 7, 11


def panel_of(symbols: int) -> tuple[Panel, np.ndarray]:
    """Random walks of 1.6 % a day on the tick, and a score that turns over slowly; both of shape (n_symbols, n_days)."""
    draw = np.random.default_rng(SEED)
    close = (50.0 + np.arange(symbols) % 100)[:, None] * np.exp(
        np.cumsum(2e-4 + 0.016 * draw.standard_normal((symbols, DAYS)), 1)
    )
    opened = np.concatenate([close[:, :1], close[:, :-1]], axis=1)
    high = np.maximum(opened, close) * (1 + np.abs(draw.standard_normal(close.shape)) * 0.008)
    low = np.minimum(opened, close) * (1 - np.abs(draw.standard_normal(close.shape)) * 0.008)
    score = np.empty((symbols, DAYS))
    score[:, 0] = draw.standard_normal(symbols)
    for t in range(1, DAYS):
        score[:, t] = 0.9 * score[:, t - 1] + np.sqrt(0.19) * draw.standard_normal(symbols)
    sessions = new_york_calendar().between(date(2018, 1, 2), date(2030, 1, 1))[:DAYS]
    panel = Panel(
        symbols=tuple(f"S{i}" for i in range(symbols)),
        timeframe="1Day",
        timestamp=np.array([int(s.opens_at.timestamp()) for s in sessions]),
        known_at=np.array([int(s.closes_at.timestamp()) for s in sessions]),
        open=np.round(opened, 2),
        high=np.round(high, 2),
        low=np.round(low, 2),
        close=np.round(close, 2),
        volume=np.floor(np.exp(draw.normal(8.0, 0.5, close.shape))),
    )
    return panel, score


def picks_of(score: np.ndarray) -> np.ndarray:
    """The best of each day."""
    picked: np.ndarray = (score >= np.sort(score, axis=0)[-TOP]) & (score > 0)
    return picked


def product(symbols: int) -> None:
    """The contestant of the product, in a process of its own."""
    from measuring import measured

    panel, score = panel_of(symbols)
    expected = np.where(picks_of(score), score, -1.0)
    sessions = new_york_calendar().between(date(2018, 1, 2), date(2030, 1, 1))[:DAYS]
    plan = Plan(
        symbols=panel.symbols,
        capital=Decimal(1_000_000),
        limits=RiskLimits(),
        policy=Policy(buy_threshold=1e-9, sell_threshold=-0.5, confidence_threshold=0.0),
        costs=CostModel(slippage_bps=Decimal(5)),
    )
    market = Market(BarTape(panel, sessions), plan.symbols)
    steps = steps_of([plan.rules_of(symbol) for symbol in plan.symbols])
    if steps is None:
        raise SystemExit("the steps of the instruments are no powers of ten")
    arguments = (
        tapes_of(plan, market, expected, None), 0, 1e6, standing_numbers(first_risk(plan.capital, sessions[0])),
        Venue(0, LASTING), steps, costs_of(plan.costs), plan.limits, rules_of(shared_by(plan)), False,
    )  # fmt: skip
    work = float(symbols * DAYS)
    measured("product, the loop", "product", work, "symbol-bars", lambda: trade(*arguments), runs=25)
    whole = lambda: trade_portfolio(plan, market, expected)  # noqa: E731
    measured("product, a whole run", "product", work, "symbol-bars", whole, runs=25)


def main() -> None:
    """Rounds of all contestants, and a table for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    wish = parser.parse_args()
    if wish.only:
        product(wish.only)
        return
    with tempfile.TemporaryDirectory() as place:
        for symbols in (32, 500):
            panel, score = panel_of(symbols)
            data = Path(place) / f"{symbols}.npz"
            np.savez(data, time=panel.timestamp * 10**9, picks=picks_of(score), **{n: getattr(panel, n) for n in PRICES})
            figures: dict[str, list[Message]] = {}
            peers = present(("raptorbt",), f"W3, {symbols} symbols", wish.out)
            for _ in range(wish.rounds):
                rows = told([sys.executable, __file__, "--only", str(symbols)])
                for row in rows + [one for name in peers for one in peer(name, "portfolio", data)]:
                    figures.setdefault(row["name"], []).append(row)
            table(f"W3, {symbols} symbols", [merged(rounds) for rounds in figures.values()], wish.out)


if __name__ == "__main__":
    main()
