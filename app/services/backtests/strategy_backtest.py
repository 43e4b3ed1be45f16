"""A strategy of the catalog, or a user's own, on stored bars as they are: made ready once, run with any plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np

from app.backtest.bar_tape import BarTape
from app.backtest.compiled.portfolio import Market, trade_portfolio, unsupported
from app.backtest.driver import Plan, Progress, Run, run
from app.backtest.tape import Hours
from app.domain.bar import BarSeries
from app.services.strategies.shared_account import SharedAccount
from app.services.strategies.strategy_service import Chosen
from app.strategies.columns import sound
from app.strategies.forecaster import TapedForecaster
from app.strategies.forecasts import Forecasts
from app.strategies.sleeve_forecaster import SleeveForecaster

COMPILED, DRIVER = "compiled", "driver"


class StrategyBacktest:
    """bars: of one timeframe, by symbol. sessions: all that the bars cover. start: the first day traded. days: daily bars for
    volatility and ATR; None: made of the bars. forecasts: of the models, for a strategy that asks them."""

    def __init__(
        self,
        chosen: Chosen | SharedAccount,
        bars: Mapping[str, BarSeries],
        sessions: Sequence[Hours],
        *,
        start: date,
        days: Mapping[str, BarSeries] | None = None,
        forecasts: Forecasts | None = None,
    ) -> None:
        self._tape = BarTape(bars, sessions, start=start, days=days)
        parts = [one for one, _ in chosen.parts] if isinstance(chosen, SharedAccount) else [chosen]
        self._asked = {
            one.strategy.name: TapedForecaster(one.strategy, one.values, self._tape.panel, forecasts=forecasts) for one in parts
        }
        self._market: Market | None = None

    @property
    def sessions(self) -> Sequence[Hours]:
        """Those that are traded."""
        return self._tape.sessions

    def engine(self, plan: Plan) -> str:
        """Which of the two loops runs `plan`; both give the same trades."""
        return DRIVER if unsupported(plan, self._tape) else COMPILED

    def simulate(self, plan: Plan, progress: Progress) -> Run:
        """Trade the plan. progress(done, total, what) after each session, in the compiled loop at its end alone."""
        if self.engine(plan) == DRIVER:
            asked = SleeveForecaster(self._asked) if plan.sleeves else next(iter(self._asked.values()))
            return run(plan, self._tape, asked, progress=progress)
        if self._market is None or self._market.symbols != plan.symbols:
            self._market = Market(self._tape, plan.symbols)
        scores = [np.where(sound(self._tape.panel), one.score, np.nan) for one in self._asked.values()]
        ended = trade_portfolio(plan, self._market, np.stack(scores) if plan.sleeves else scores[0]).run()
        total = len(self.sessions)
        progress(total, total, self.sessions[-1].day.isoformat())
        return ended
