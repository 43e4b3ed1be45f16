"""Memory of a backtest of 32 symbols over a year of minute bars: `python benchmarks/memory.py [--out results.jsonl]`.

SMA cross on generated bars by the compiled portfolio loop, as `trader backtest --strategy` runs it. A bar is seven numbers of
eight bytes as read from the database; what is counted is the peak above what the process had before there were bars.
"""

from __future__ import annotations

import argparse
import resource
import time
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
from side_by_side import random_walk, record

from app.backtest.driver import Plan
from app.domain.bar import MINUTE, BarSeries
from app.engine.costs import CostModel
from app.risk.limits import Policy, RiskLimits
from app.runtime.calendar import Session, new_york_calendar
from app.services.backtests.strategy_backtest import StrategyBacktest
from app.services.strategies.strategy_service import StrategyService

SYMBOLS, YEAR = 32, 2023


def peak() -> float:
    """MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def minutes_of(sessions: list[Session]) -> np.ndarray:
    """The beginning of every minute of the sessions, seconds since 1970 UTC."""
    return np.concatenate([np.arange(int(s.opens_at.timestamp()), int(s.closes_at.timestamp()), 60) for s in sessions])


def market(at: np.ndarray, symbols: int) -> dict[str, BarSeries]:
    """Random walks, arrays of their own for each symbol."""
    found = {}
    for number in range(symbols):
        bars = random_walk(len(at), number)
        prices = {name: bars[name] for name in ("open", "high", "low", "close", "volume")}
        found[f"S{number}"] = BarSeries(symbol=f"S{number}", timeframe=MINUTE, timestamp=at.copy(), known_at=at + 60, **prices)
    return found


def backtest(bars: dict[str, BarSeries], sessions: list[Session]) -> int:
    """The number of its fills."""
    chosen = StrategyService(Path("nowhere")).choose("sma_cross", {})
    limits, policy = chosen.rules(RiskLimits(), Policy())
    plan = Plan(
        symbols=tuple(bars), capital=Decimal(1_000_000), limits=limits, policy=policy, costs=CostModel(slippage_bps=Decimal(5)),
        cycle_seconds=60,
    )  # fmt: skip
    return StrategyBacktest(chosen, bars, sessions, start=sessions[0].day).simulate(plan, lambda *_: None).fills


def main() -> None:
    """A short run to compile, then the year."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path)
    wish = parser.parse_args()
    sessions = new_york_calendar().between(date(YEAR, 1, 1), date(YEAR, 12, 31))
    backtest(market(minutes_of(sessions[:30]), 2), sessions[:30])
    before = peak()
    bars = market(minutes_of(sessions), SYMBOLS)
    held = sum(len(series) for series in bars.values())
    read, started = peak(), time.perf_counter()
    fills = backtest(bars, sessions)
    row = {
        "workload": "memory",
        "name": f"{SYMBOLS} symbols, minutes of {YEAR}",
        "bars": held,
        "panel_mib": held * 5 * 8 / 2**20,
        "read_mib": read - before,
        "peak_mib": round(peak()),
        "bytes_per_bar": (peak() - before) * 2**20 / held,
        "seconds": time.perf_counter() - started,
        "fills": fills,
    }
    print(
        f"{row['name']}: {held:,} symbol-bars, panel {row['panel_mib']:.0f} MiB; bars as read {row['read_mib']:.0f} MiB, peak "
        f"{row['peak_mib']} MiB, {row['bytes_per_bar']:.0f} bytes a symbol-bar; {row['seconds']:.1f} s, {fills:,} fills"
    )
    record([row], wish.out)


if __name__ == "__main__":
    main()
