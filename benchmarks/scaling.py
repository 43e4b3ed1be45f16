"""How a decision and a day of a backtest grow with the number of symbols: `python benchmarks/scaling.py [--out results.jsonl]`.

On generated daily bars, CPU milliseconds, medians: one decision as a live cycle makes it (its view, `decide` with the records),
one day of the driver (history and scores by symbol, decision, matching), one day of the compiled portfolio loop with and
without laying the bars out. The growth is the exponent between 500 and 10,000 symbols: 1 is proportional.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import Message, record

from app.backtest.bar_tape import BarTape
from app.backtest.compiled.portfolio import Market, trade_portfolio
from app.backtest.driver import Plan, first_risk, run
from app.domain.bar import BarSeries
from app.domain.forecast import Answer, Score
from app.domain.instrument import Instrument
from app.domain.panel import Panel
from app.engine.costs import CostModel
from app.engine.decide import decide
from app.engine.decision import Book, Context
from app.risk.limits import Policy, RiskLimits
from app.runtime.calendar import new_york_calendar

SIZES = (32, 500, 3_000, 10_000)
DAYS, DRIVEN_DAYS = 250, 5
POLICY = Policy(buy_threshold=0.2, sell_threshold=-0.2, confidence_threshold=0.0)
COLUMNS = ("view", "decide", "driver day", "loop day", "loop day and layout")


def panel_of(symbols: int) -> Panel:
    """Random daily bars."""
    draw = np.random.default_rng(3)
    sessions = new_york_calendar().between(date(2022, 1, 3), date(2030, 1, 1))[:DAYS]
    close = np.round(100.0 * np.exp(np.cumsum(0.016 * draw.standard_normal((symbols, DAYS)), axis=1)), 2)
    return Panel(
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


class Scores:
    """A score for every symbol, known in advance."""

    def forecast(self, bars: Mapping[str, BarSeries], at: datetime) -> dict[str, Answer]:
        """One symbol in fifty is wanted."""
        return {s: Score(symbol=s, score=float(not i % 50), votes={}, as_of=at, source="bench") for i, s in enumerate(bars)}


def milliseconds(work: Callable[[], Any], times: int) -> float:
    """CPU milliseconds of `work`, median of `times` after one."""
    work()
    spent = []
    for _ in range(times):
        started = time.process_time()
        work()
        spent.append(time.process_time() - started)
    return 1e3 * statistics.median(spent)


def measure(symbols: int) -> dict[str, float]:
    """Milliseconds by column."""
    panel = panel_of(symbols)
    sessions = new_york_calendar().between(date(2022, 1, 3), date(2030, 1, 1))[:DAYS]
    tape = BarTape(panel, sessions)
    plan = Plan(
        symbols=panel.symbols, capital=Decimal(1_000_000), limits=RiskLimits(), policy=POLICY,
        costs=CostModel(slippage_bps=Decimal(5)),
    )  # fmt: skip
    session, hours = tape.session(DAYS - 1), tape.sessions[-1]
    scores = Scores().forecast(session.history(tape.symbols, hours.closes_at), hours.closes_at)
    context = Context(
        account_id="bench", strategy="bench", cycle_id="1", instruments={s: Instrument(symbol=s) for s in tape.symbols}
    )
    book = Book(
        session=hours.day.isoformat(), cash=plan.capital, equity=plan.capital, previous_close_equity=plan.capital,
        buying_power=plan.capital, positions={}, open_orders=(), risk=first_risk(plan.capital, hours),
    )  # fmt: skip
    view = session.view(tape.symbols, hours.closes_at, scores)
    driven = BarTape(panel, sessions, start=sessions[-DRIVEN_DAYS].day)
    expected = np.where(np.random.default_rng(1).random(panel.close.shape) < 0.02, 1.0, 0.0)
    market = Market(tape, plan.symbols)
    return {
        "view": milliseconds(lambda: session.view(tape.symbols, hours.closes_at, scores), 9),
        "decide": milliseconds(lambda: decide(view, book, context, RiskLimits(), POLICY), 9),
        "driver day": milliseconds(lambda: run(plan, driven, Scores()), 3) / DRIVEN_DAYS,
        "loop day": milliseconds(lambda: trade_portfolio(plan, market, expected), 5) / DAYS,
        "loop day and layout": milliseconds(
            lambda: trade_portfolio(plan, Market(BarTape(panel, sessions), plan.symbols), expected), 3
        )
        / DAYS,
    }


def growth(found: Mapping[int, float]) -> float:
    """The exponent between 500 symbols and the most."""
    most = max(found)
    return float(np.log(found[most] / found[500]) / np.log(most / 500))


def main() -> None:
    """Print the curve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path)
    wish = parser.parse_args()
    rows: list[Message] = []
    print(f"{datetime.now(UTC):%Y-%m-%d} {'symbols':>8} {' '.join(f'{name:>20}' for name in COLUMNS)}")
    for symbols in SIZES:
        found = measure(symbols)
        rows.append({"workload": "scaling", "symbols": symbols, "milliseconds": found})
        record(rows[-1:], wish.out)
        print(f"{symbols:>19} {' '.join(f'{found[name]:20.3f}' for name in COLUMNS)}", flush=True)
    slopes = {name: growth({row["symbols"]: row["milliseconds"][name] for row in rows}) for name in COLUMNS}
    print(f"{'growth':>19} {' '.join(f'{slopes[name]:20.2f}' for name in COLUMNS)}")
    record([{"workload": "scaling", "growth": slopes}], wish.out)


if __name__ == "__main__":
    main()
