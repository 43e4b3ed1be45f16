"""W3: a portfolio of daily bars, the seven best of a given score, all risk rules; symbol-bars per CPU second.

    python -m benchmarks.portfolio [--raptorbt PYTHON]

PYTHON: an interpreter with raptorbt 0.13.4 and numpy; it then runs the same bars and picks beside the product (stops and the
cap on positions, no daily halt, no drawdown or breaker rules) and the ratio is printed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from app.backtest.bar_tape import BarTape
from app.backtest.driver import Plan, first_risk
from app.backtest.portfolio import LASTING, Market, tapes_of, trade_portfolio
from app.backtest.portfolio_loop import trade
from app.backtest.portfolio_terms import costs_of, steps_of
from app.domain.panel import Panel
from app.engine.arrays import standing_numbers
from app.engine.costs import CostModel
from app.engine.rules import Venue
from app.risk.limits import Policy, RiskLimits
from app.runtime.calendar import new_york_calendar

DAYS, TOP, SEED = 1260, 7, 11
PEER = """
import json, sys, time, statistics, numpy as np, raptorbt as rb
d = np.load(sys.argv[1]); close, top = d["close"], d["top"]; z = np.zeros((close.shape[0], 1), bool)
before = np.hstack([z, top[:, :-1]]); ts = d["time"] * 10**9; C = np.ascontiguousarray
names = ("open", "high", "low", "close", "volume"); enter, leave = top & ~before, ~top & before
ins = [(ts, *[C(d[k][i]) for k in names], C(enter[i]), C(leave[i]), 1, 1.0, f"S{i}") for i in range(len(close))]
cfg = rb.BacktestConfig(initial_capital=1e6, fees=5e-4, max_positions=7)
cfg.set_fixed_stop(0.05); cfg.set_fixed_target(0.10)
rb.run_portfolio_backtest(ins, cfg); took = []
for _ in range(15):
    t = time.process_time(); rb.run_portfolio_backtest(ins, cfg); took.append(time.process_time() - t)
print(json.dumps(statistics.median(took)))
"""


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


def median_cpu(work: Callable[[], Any], times: int = 25) -> float:
    """CPU seconds of one call, the first left out."""
    work()
    took = []
    for _ in range(times):
        start = time.process_time()
        work()
        took.append(time.process_time() - start)
    return statistics.median(took)


def product(symbols: int) -> tuple[float, float, Panel, np.ndarray]:
    """(CPU seconds of the loop, of a whole run with its layout, the bars, the picks)."""
    panel, score = panel_of(symbols)
    best = score >= np.sort(score, axis=0)[-TOP]
    top = best & (score > 0)
    expected = np.where(top, score, -1.0)
    sessions = new_york_calendar().between(date(2018, 1, 2), date(2030, 1, 1))[:DAYS]
    tape = BarTape(panel, sessions)
    plan = Plan(
        symbols=panel.symbols,
        capital=Decimal(1_000_000),
        limits=RiskLimits(),
        policy=Policy(buy_threshold=1e-9, sell_threshold=-0.5, confidence_threshold=0.0),
        costs=CostModel(slippage_bps=Decimal(5)),
    )
    market = Market(tape, plan.symbols)
    steps = steps_of([plan.rules_of(symbol) for symbol in plan.symbols])
    if steps is None:
        raise SystemExit("the steps of the instruments are no powers of ten")
    arguments = (
        tapes_of(plan, market, expected, None), 0, 1e6, standing_numbers(first_risk(plan.capital, sessions[0])),
        Venue(0, LASTING), steps, costs_of(plan.costs), plan.limits, plan.policy, False,
    )  # fmt: skip
    return median_cpu(lambda: trade(*arguments)), median_cpu(lambda: trade_portfolio(plan, market, expected)), panel, top


def peer(python: str, panel: Panel, top: np.ndarray) -> float:
    """CPU seconds of raptorbt on the same bars."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "bars.npz"
        columns = {name: getattr(panel, name) for name in ("open", "high", "low", "close", "volume")}
        np.savez(path, time=panel.timestamp, top=top, **columns)
        said = subprocess.run([python, "-c", PEER, str(path)], check=True, capture_output=True, text=True)
    return float(json.loads(said.stdout))


def main() -> None:
    """Print one line per size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raptorbt", metavar="PYTHON")
    chosen = parser.parse_args()
    for symbols in (32, 500):
        loop, whole, panel, top = product(symbols)
        work = symbols * DAYS / 1e6
        line = f"{symbols} symbols x {DAYS} days: loop {work / loop:.1f} M symbol-bars/s, with layout {work / whole:.1f} M"
        if chosen.raptorbt:
            other = peer(chosen.raptorbt, panel, top)
            line += f"; raptorbt {work / other:.1f} M, ratio {other / loop:.1f} (with layout {other / whole:.1f})"
        print(line, flush=True)


if __name__ == "__main__":
    main()
