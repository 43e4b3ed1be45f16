"""An outcome made of random numbers, and what is stored of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from app.backtest.outcome import Outcome
from app.backtest.statistics.trades import RoundTrip
from app.domain.bar import BarSeries
from app.domain.records import BacktestRecord
from app.services.backtests.result import result_of

FIRST = datetime(2021, 3, 1, 21, tzinfo=UTC)
DAY = 86_400
VERDICT = {
    "level": "WARN",
    "reasons": ["12 closed trades are too few to judge by"],
    "checks": [{"name": "trades", "level": "WARN", "figure": 12, "threshold": 30, "sentence": "12 closed trades are too few"}],
}


def bars_of(symbol: str, count: int, *, seed: int = 5) -> BarSeries:
    rng = np.random.default_rng([seed, *symbol.encode()])
    close = 100 * np.exp(0.01 * rng.standard_normal(count).cumsum())
    known_at = int(FIRST.timestamp()) + DAY * np.arange(1, count + 1)
    return BarSeries(
        symbol=symbol, timeframe="1Day", timestamp=known_at - 23_400, known_at=known_at,
        open=close * 0.999, high=close * 1.01, low=close * 0.99, close=close, volume=np.full(count, 1e6),
    )  # fmt: skip


def trip(symbol: str, bars: BarSeries, first: int, last: int) -> RoundTrip:
    entry, leave = Decimal(f"{bars.close[first]:.2f}"), Decimal(f"{bars.close[last]:.2f}")
    profit = 10 * (leave - entry) - 2
    opened, closed = (datetime.fromtimestamp(int(bars.known_at[i]), UTC) for i in (first, last))
    return RoundTrip(
        symbol=symbol,
        quantity=Decimal(10),
        entry_price=entry,
        exit_price=leave,
        opened_at=opened,
        closed_at=closed,
        commissions=Decimal(2),
        profit=profit,
        return_fraction=float(profit / (10 * entry)),
        reason="stop_loss" if leave < entry else "sell_signal",
        entry_reason="buy_signal",
    )


def outcome_of(count: int = 300, *, symbols: tuple[str, ...] = ("AAPL", "BTC/USD"), **changes: Any) -> tuple[Outcome, dict]:
    bars = {symbol: bars_of(symbol, count) for symbol in symbols}
    rng = np.random.default_rng(11)
    equity = 1e5 * np.exp((0.0004 + 0.01 * rng.standard_normal(count)).cumsum())
    trips = [trip(s, bars[s], i, i + 3) for i in range(0, count - 4, 9) for s in symbols]
    values: dict[str, Any] = {
        "capital": 1e5,
        "starts_at": int((FIRST + timedelta(hours=12)).timestamp()),
        "known_at": bars[symbols[0]].known_at,
        "equity": equity,
        "positions_value": equity * rng.random(count),
        "positions": rng.integers(0, 3, count),
        "trips": trips,
        "fills": 2 * len(trips),
        "traded_value": 1e6,
        "commissions": 2.0 * len(trips),
        "slippage": 35.5,
        "benchmarks": {"buy_and_hold": None, "SPY": np.append(1.0, np.exp(0.01 * rng.standard_normal(count).cumsum()))},
        "risk_fraction": 0.05,
    }
    return Outcome(**(values | changes)), bars


def stored(count: int = 300, *, verdict: Any = None, strategy: str | None = None, **changes: Any) -> BacktestRecord:
    outcome, bars = outcome_of(count, **changes)
    result = result_of(outcome, bars=bars, assumptions={"slippage_bps": 2.0}, dataset="ab" * 32, verdict=verdict)
    result["span"] = {"start": "2021-03-01", "end": "2021-12-31", "sessions": count}
    params = {"symbols": list(bars), "days": count} | ({"strategy": strategy} if strategy else {})
    return BacktestRecord(backtest_id="b-1", created_at=FIRST, params=params, performance=result["performance"], result=result)
