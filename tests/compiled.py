"""Compiles what the suite needs into the cache, so that its workers, who start together, do not all compile the same.

`python -m tests.compiled loop` and `... rest` take about as long as each other: half a minute, and no time once it is done.
A signature that is missing here costs each worker its compilation, nothing else.
"""

from __future__ import annotations

import sys

import numpy as np

from app.backtest.bar_tape import BarTape
from app.backtest.compiled.instrument import Setup, simulate
from app.backtest.compiled.portfolio import Market, trade_portfolio
from app.backtest.compiled.sweep import sweep
from app.indicators.window import mean
from app.learning.features import feature_matrix
from app.strategies.catalog import CATALOG
from app.strategies.strategy import checked
from tests.backtest.panels import random_panel
from tests.backtest.test_bar_tape import plan_of
from tests.engine.worlds import Quote, book_of, decided
from tests.learning.series import random_walk


def loop() -> None:
    """The loop of the portfolio, with everything inlined into it."""
    panel, sessions = random_panel(1, 3, 60)
    known = np.ones_like(panel.close)
    trade_portfolio(plan_of(panel), Market(BarTape(panel, sessions, start=sessions[30].day), panel.symbols), known, known)


def rest() -> None:
    """The rules, the features, the kernel of sweeps and the sliding means."""
    decided({"AAPL": Quote()}, book_of())
    feature_matrix(random_walk(300))
    mean(np.arange(9.0), 3)
    panel, _ = random_panel(1, 1, 300)
    for name in ("sma_cross", "rsi"):
        values = checked(CATALOG[name], {})
        sweep(CATALOG[name], panel, [values], Setup(), marks=np.array([0, 299]), threads=1)
        simulate(CATALOG[name], panel, values, Setup())


if __name__ == "__main__":
    {"loop": loop, "rest": rest}[sys.argv[1]]()
