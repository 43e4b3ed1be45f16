"""An SMA cross on real daily bars: kernel, plain class, driver and compiled portfolio make the same trades."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest

from app.backtest.bar_tape import BarTape
from app.backtest.compiled.instrument import Setup, simulate
from app.backtest.compiled.portfolio import Market, trade_portfolio
from app.domain.exits import ExitPolicy
from app.domain.order import Side
from app.domain.panel import Panel, align
from app.engine.costs import CostModel
from app.marketdata.files import load_bars
from app.runtime.calendar import new_york_calendar
from app.strategies.class_strategy import Bar, class_strategy
from app.strategies.sma_cross import SmaCross
from app.strategies.strategy import Values, checked, evaluated
from tests.backtest.test_kernel_engine import COLLAR, HEADROOM, POSITION, engine_trips, kernel_trips, plan_of, without_returns
from tests.real_data import WATCHLIST_DAILY, needs

VALUES = {"fast": 10, "slow": 40}
SETUP = Setup(
    costs=CostModel(slippage_bps=Decimal(3)), collar_fraction=COLLAR, fraction=POSITION * (1 - HEADROOM), quantity_step=1.0
)  # fmt: skip


class Cross:
    """The SMA cross as a person would write it who has never heard of arrays."""

    name, parameters, exits = "cross", SmaCross.parameters, ExitPolicy()

    def __init__(self, fast: int, slow: int) -> None:
        self.fast, self.closes, self.before = fast, deque(maxlen=slow), None

    def on_bar(self, bar: Bar, position: float) -> float | None:
        self.closes.append(bar.close)
        if len(self.closes) < self.closes.maxlen:
            return None
        closes = list(self.closes)
        above = np.mean(closes[-self.fast :]) - np.mean(closes)
        before, self.before = self.before, above
        if before is None:
            return None
        return 1.0 if before <= 0.0 < above else -1.0 if before >= 0.0 > above else 0.0

    @staticmethod
    def memory(values: Values) -> int:
        return int(values["slow"]) + 1


def portfolio_trips(panel: Panel, tape: BarTape, score: np.ndarray) -> list[tuple[int, int, float, float]]:
    """(entry bar, exit bar, units, entry price) of the compiled loop with every rule."""
    plan = plan_of(panel, SETUP)
    trips: list[tuple[int, int, float, float]] = []
    for one in trade_portfolio(plan, Market(tape, plan.symbols), score).executions():
        bar = int(np.searchsorted(panel.known_at, int(one.fill.filled_at.timestamp())))
        if one.fill.side is Side.BUY:
            trips.append((bar, -1, float(one.fill.quantity), float(one.fill.price)))
        else:
            trips[-1] = (trips[-1][0], bar, *trips[-1][2:])
    return trips


@pytest.mark.data
@needs(WATCHLIST_DAILY)
@pytest.mark.parametrize("symbol", ["SPY", "XOM", "NVDA"])
def test_four_ways_to_the_same_trades(symbol: str) -> None:
    panel = align(load_bars(WATCHLIST_DAILY, symbols=(symbol,)).bars)
    strategy = SmaCross()
    _, score = evaluated(strategy, panel, checked(strategy, VALUES))
    first, last = (datetime.fromtimestamp(int(panel.known_at[i]), UTC).date() for i in (0, -1))
    tape = BarTape(panel, new_york_calendar().between(first, last))
    log = simulate(class_strategy(Cross), panel, VALUES, SETUP).trades
    written = kernel_trips(panel, score, SETUP)
    assert list(zip(log.entry_bar, log.exit_bar, log.quantity, strict=True)) == [one[:3] for one in written]
    once_a_day = without_returns(panel, score, SETUP)
    expected = [one[:4] for one in kernel_trips(panel, once_a_day, SETUP)]
    assert len(expected) > 30
    for found in (engine_trips(panel, tape, once_a_day, SETUP), portfolio_trips(panel, tape, once_a_day)):
        assert [one[:3] for one in found] == [one[:3] for one in expected]
        assert [one[3] for one in found] == pytest.approx([one[3] for one in expected], rel=1e-8)
