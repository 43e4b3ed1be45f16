"""How one decision grows with the number of symbols: `python -m benchmarks.scaling`.

One decision of the driver on daily bars: history and forecasts by symbol, view, `decide` with its records. CPU milliseconds,
median of ten after two; the prepared scores are no part of it.
"""

from __future__ import annotations

import statistics
import time
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np

from app.backtest.bar_tape import BarTape
from app.backtest.driver import first_risk
from app.domain.forecast import Score
from app.domain.instrument import Instrument
from app.domain.panel import Panel
from app.engine.decide import decide
from app.engine.decision import Book, Context
from app.risk.limits import Policy, RiskLimits
from app.runtime.calendar import new_york_calendar

DAYS = 150


def tape_of(symbols: int) -> BarTape:
    """Random daily bars."""
    draw = np.random.default_rng(3)
    sessions = new_york_calendar().between(date(2022, 1, 3), date(2030, 1, 1))[:DAYS]
    close = np.round(100.0 * np.exp(np.cumsum(0.016 * draw.standard_normal((symbols, DAYS)), axis=1)), 2)
    panel = Panel(
        symbols=tuple(f"S{i}" for i in range(symbols)),
        timeframe="1Day",
        timestamp=np.array([int(s.opens_at.timestamp()) for s in sessions]),
        known_at=np.array([int(s.closes_at.timestamp()) for s in sessions]),
        open=close,
        high=close * 1.01,
        low=close * 0.99,
        close=close,
        volume=np.full(close.shape, 1e5),
    )
    return BarTape(panel, sessions)


def decision_ms(symbols: int) -> tuple[float, float]:
    """CPU milliseconds of (the view, the decision)."""
    tape = tape_of(symbols)
    session, hours = tape.session(DAYS - 1), tape.sessions[-1]
    at, names = hours.closes_at, tape.symbols
    scores = {s: Score(symbol=s, score=0.0 if i % 50 else 1.0, votes={}, as_of=at, source="bench") for i, s in enumerate(names)}
    instruments = {s: Instrument(symbol=s) for s in names}
    context = Context(account_id="bench", strategy="bench", cycle_id="1", instruments=instruments)
    cash = Decimal(100_000)
    book = Book(
        session=hours.day.isoformat(), cash=cash, equity=cash, previous_close_equity=cash, buying_power=cash, positions={},
        open_orders=(), risk=first_risk(cash, hours),
    )  # fmt: skip
    policy = Policy(buy_threshold=0.2, sell_threshold=-0.2, confidence_threshold=0.0)
    views, decisions = [], []
    for _ in range(12):
        start = time.process_time()
        view = session.view(names, at, scores)
        between = time.process_time()
        decide(view, book, context, RiskLimits(), policy)
        views.append(between - start)
        decisions.append(time.process_time() - between)
    return 1e3 * statistics.median(views[2:]), 1e3 * statistics.median(decisions[2:])


def main() -> None:
    """Print the curve."""
    print(f"{datetime.now(UTC):%Y-%m-%d}: {'symbols':>8} {'view ms':>8} {'decide ms':>10} {'us per symbol':>14}")
    for symbols in (32, 500, 3_000, 10_000):
        view, decision = decision_ms(symbols)
        print(f"            {symbols:>8} {view:>8.2f} {decision:>10.2f} {1e3 * (view + decision) / symbols:>14.1f}", flush=True)


if __name__ == "__main__":
    main()
