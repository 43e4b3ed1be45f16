"""A strategy as a `Forecaster`: the score of each symbol's newest bar, from a few bars (live) or out of a tape (backtest).

Both give the same scores: a strategy's newest score depends on the last `memory` bars alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from app.domain.bar import BarSeries, Floats
from app.domain.forecast import Answer, Forecast, Forecaster, NoForecast, Score
from app.domain.panel import Panel, align
from app.strategies.columns import sound
from app.strategies.forecasts import Forecasts, Hybrid, history
from app.strategies.strategy import Columns, Strategy, Values, checked, evaluated


class StrategyForecaster:
    """Scores from the last `memory` bars of each symbol. models: what a hybrid strategy asks for forecasts; it is given the
    same bars, so they have to be daily ones."""

    def __init__(self, strategy: Strategy, given: Values, *, models: Forecaster | None = None) -> None:
        self._strategy = strategy
        self._values = checked(strategy, given)
        self._models = models
        self._memory = strategy.memory(self._values)
        self._source = source(strategy, self._values)

    @property
    def memory(self) -> int:
        """How many bars of each symbol it needs."""
        return self._memory

    def forecast(self, bars: Mapping[str, BarSeries], at: datetime) -> dict[str, Answer]:
        """A Score of each symbol that has a bar at the newest time any symbol has one, NoForecast for the others. A strategy
        that fails says nothing about any symbol."""
        complete = {symbol: series.known_by(at) for symbol, series in bars.items()}
        newest = max((int(series.known_at[-1]) for series in complete.values() if len(series)), default=0)
        known = {symbol: _newest(series, self._memory) for symbol, series in complete.items()}
        counts = {symbol: len(series) for symbol, series in known.items()}
        if not any(len(series) and series.known_at[-1] == newest for series in known.values()):
            return {symbol: _no_bar(symbol, newest) if counts[symbol] else _too_few(symbol, 0, self._memory) for symbol in bars}
        strategy = self._strategy
        if isinstance(strategy, Hybrid):
            strategy = strategy.with_forecasts(self._asked(bars, at))
        try:
            panel = align(known)
            columns, score = evaluated(strategy, panel, self._values)
        except Exception as fault:  # noqa: BLE001 - what a user's own strategy raises must not end the cycle
            detail = f"{strategy.name}: {type(fault).__name__}: {fault}"
            return {symbol: NoForecast(symbol=symbol, code="strategy_failed", detail=detail) for symbol in bars}
        return _answers(panel, len(panel) - 1, columns, score, counts, self._memory, self._source)

    def _asked(self, bars: Mapping[str, BarSeries], at: datetime) -> Forecasts:
        answers = self._models.forecast(bars, at) if self._models is not None else {}
        return {
            symbol: history({int(answer.last_close_at.timestamp()): answer})
            for symbol, answer in answers.items()
            if isinstance(answer, Forecast)
        }


class TapedForecaster:
    """Scores of every bar of a panel, computed once; asked, it tells those of the newest bar complete by then."""

    def __init__(self, strategy: Strategy, given: Values, panel: Panel, *, forecasts: Forecasts | None = None) -> None:
        values = checked(strategy, given)
        if isinstance(strategy, Hybrid):
            strategy = strategy.with_forecasts(forecasts or {})
        self._panel = panel
        self._memory = strategy.memory(values)
        self._columns, self._score = evaluated(strategy, panel, values)
        self._counts = np.cumsum(sound(panel), axis=1)
        self._source = source(strategy, values)

    @property
    def score(self) -> Floats:
        """Shape (n_symbols, n_bars)."""
        return self._score

    def forecast(self, bars: Mapping[str, BarSeries], at: datetime) -> dict[str, Answer]:
        """As `StrategyForecaster` over the bars of the panel; `bars` only say which symbols are asked for."""
        newest = int(np.searchsorted(self._panel.known_at, int(at.timestamp()), side="right")) - 1
        if newest < 0:
            return {symbol: _too_few(symbol, 0, self._memory) for symbol in bars}
        counts = dict(zip(self._panel.symbols, self._counts[:, newest].tolist(), strict=True))
        found = _answers(self._panel, newest, self._columns, self._score, counts, self._memory, self._source)
        return {symbol: found.get(symbol) or _too_few(symbol, 0, self._memory) for symbol in bars}


def source(strategy: Strategy, values: Values) -> str:
    """The strategy and its parameters as people read them: sma_cross(fast=10, slow=30)."""
    return f"{strategy.name}({', '.join(f'{name}={value:g}' for name, value in values.items())})"


def _answers(
    panel: Panel, newest: int, columns: Columns, score: Floats, counts: Mapping[str, int], memory: int, named: str
) -> dict[str, Answer]:
    as_of = datetime.fromtimestamp(int(panel.known_at[newest]), UTC)
    there = sound(panel.slice(newest, newest + 1))[:, 0]
    answers: dict[str, Answer] = {}
    for row, symbol in enumerate(panel.symbols):
        said = float(score[row, newest])
        if not counts[symbol] or (counts[symbol] < memory and not np.isfinite(said) and there[row]):
            answers[symbol] = _too_few(symbol, counts[symbol], memory)
        elif not there[row]:
            answers[symbol] = _no_bar(symbol, int(panel.known_at[newest]))
        elif not np.isfinite(said):
            detail = f"{named} can say nothing: " + ", ".join(f"{name} {c[row, newest]:.6g}" for name, c in columns.items())
            answers[symbol] = NoForecast(symbol=symbol, code="not_finite", detail=detail)
        else:
            votes = {name: float(column[row, newest]) for name, column in columns.items()}
            answers[symbol] = Score(symbol=symbol, score=said, votes=votes, as_of=as_of, source=named)
    return answers


def _no_bar(symbol: str, at: int) -> NoForecast:
    detail = f"it has no sound bar complete at {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC, the newest there is"
    return NoForecast(symbol=symbol, code="no_bar", detail=detail)


def _too_few(symbol: str, count: int, memory: int) -> NoForecast:
    return NoForecast(symbol=symbol, code="too_few_bars", detail=f"{count} completed bars are known; {memory} are needed")


def _newest(bars: BarSeries, count: int) -> BarSeries:
    """The newest `count` sound bars."""
    recent = bars.last(count)
    if sound(recent).all():
        return recent
    kept = np.flatnonzero(sound(bars))[-count:]
    names = ("timestamp", "known_at", "open", "high", "low", "close", "volume")
    return replace(bars, **{name: getattr(bars, name)[kept] for name in names})
